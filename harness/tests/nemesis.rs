//! Faults on purpose: a correct service holds through those that spare its memory, a service that forgets or does not come
//! back is found, and no process outlives the harness.
#![cfg(all(unix, feature = "race"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use stockhold_harness::internal::{
    check::{Breach, Verdict},
    control::Control,
    drive::{Options, RaceResult, Silent, find, race},
    history::Recorder,
    target::{Dialect, Fleet, Keys, Target},
};

const PORT: &str = "STOCKHOLD_CONTROL_PORT";
const WAIT: Duration = Duration::from_secs(20);

/// The service that the other tests start: this test alone, in a process of its own, with a port in its environment.
#[tokio::test]
async fn serve_the_control() {
    let Ok(port) = std::env::var(PORT) else { return };
    let control = Control::start(1, None).await.unwrap();
    let address = format!("127.0.0.1:{}", control.urls[0].port().unwrap());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let address = address.clone();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect(address).await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await
        });
    }
}

/// The command that starts it; `before` runs first.
fn command(before: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!("{before} {PORT}={{port}} exec '{}' --exact serve_the_control --nocapture", program.display())
}

fn fresh(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("stockhold-nemesis-{name}-{}", std::process::id()))
}

async fn struck(command: &str, faults: &[&str]) -> RaceResult {
    let fleet = Arc::new(Fleet::start(command, 1, None, WAIT).await.unwrap());
    let recorder = Recorder::start(None).unwrap();
    let target =
        Target::new(&fleet.urls(), Dialect::default(), Keys::default(), Duration::from_secs(10), recorder).unwrap();
    let options = Options { rounds: Some(2), fleet: Some(fleet), ..Options::new(1, "test") };
    let scenarios: Vec<_> = faults.iter().map(|fault| find(fault).unwrap()).collect();
    race(&target, &scenarios, &options, &mut Silent).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correct_service_holds_through_a_pause_lost_answers_and_a_delay() {
    let result = struck(&command(""), &["pause", "cut", "delay"]).await;
    let failures: Vec<_> = result.scenarios.iter().map(|row| (row.undecided.join("; "), row.failure.clone())).collect();
    assert_eq!(result.verdict, Verdict::Held, "{failures:?}");
    assert!(result.scenarios.iter().all(|row| !row.drawing.as_ref().unwrap().faults.is_empty()), "nothing is drawn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_forgets_what_it_acknowledged_is_broken() {
    let result = struck(&command(""), &["kill"]).await;
    assert_eq!(
        result.scenarios[0].failure.as_ref().map(|failure| failure.breach),
        Some(Breach::LosesWhatItAcknowledged)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_start_again_is_broken() {
    let once = fresh("once");
    let once_only = format!("test -e '{0}' && exit 9; touch '{0}';", once.display());
    let result = struck(&command(&once_only), &["kill"]).await;
    std::fs::remove_file(once).unwrap();
    let failure = result.scenarios[0].failure.as_ref().unwrap();
    assert_eq!(failure.breach, Breach::DoesNotRecover);
    assert!(failure.what.contains("exit status: 9"), "{}", failure.what);
}

#[tokio::test]
async fn a_service_that_does_not_start_is_told_with_what_it_said() {
    let why = Fleet::start("echo no licence >&2; exit 7", 1, None, WAIT).await.err().unwrap();
    assert!(why.contains("exit status: 7") && why.contains("no licence"), "{why}");
}

/// Ended by a signal that it cannot see, and by one that it can: the service and all its processes end too.
#[test]
fn no_service_outlives_the_harness() {
    for signal in ["KILL", "TERM"] {
        let ports = fresh("ports");
        let start = command(&format!("echo {{port}} >> '{}'; sleep 600 &", ports.display()));
        let mut harness = Command::new(env!("CARGO_BIN_EXE_stockhold-harness"))
            .args(["race", "--nemesis", "pause", "--quiet", "--start", &start])
            .args(["--instances", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + WAIT;
        let wait_for = |what: &dyn Fn() -> bool| {
            while !what() {
                assert!(Instant::now() < until, "not in time, before or after {signal}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let port = || std::fs::read_to_string(&ports).ok()?.lines().next()?.parse::<u16>().ok();
        let listens = || port().is_some_and(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_for(&listens);
        Command::new("kill").args([&format!("-{signal}"), &harness.id().to_string()]).status().unwrap();
        harness.wait().unwrap();
        wait_for(&|| !listens());
        std::fs::remove_file(&ports).unwrap();
    }
}
