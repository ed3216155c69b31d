//! Instances that the harness starts itself, so that it can end, pause and start them again: each a shell command in a
//! process group of its own, reached through a wire, and its database through another. Every process ends with the
//! harness, however that ends: the group's supervisor kills it when the pipe to the harness closes.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use url::Url;

use crate::target::wire::Wire;

/// Runs the command `$1`, and kills the whole process group when the pipe on descriptor 3 closes.
const SUPERVISOR: &str =
    r#"trap : TERM; exec 3<&0; (read -r line <&3; kill -KILL 0) & exec 3<&-; sh -c "$1" </dev/null"#;

/// What a service says last is told where it does not start.
const LINES_MAX: usize = 20;

/// How long a service may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Instances of one deployment.
pub struct Fleet {
    command: String,
    wait: Duration,
    instances: Vec<Instance>,
}

struct Instance {
    port: u16,
    front: Wire,
    back: Option<(Wire, String)>,
    process: Mutex<Option<Process>>,
}

struct Process {
    supervisor: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// What is sent to an instance's process group.
#[derive(Clone, Copy)]
enum Signal {
    End,
    Kill,
    Stop,
    Continue,
}

impl Fleet {
    /// Starts so many instances and waits until each accepts connections. `{port}` in the command is the instance's port,
    /// `{database_url}` the database's URL, through the instance's own wire; both are in its environment as `PORT` and
    /// `DATABASE_URL`.
    pub async fn start(
        command: &str,
        count: usize,
        database_url: Option<&str>,
        wait: Duration,
    ) -> Result<Self, String> {
        let mut fleet = Fleet { command: command.to_owned(), wait, instances: Vec::with_capacity(count) };
        for _ in 0..count {
            let port = free_port().map_err(|error| format!("no port is free: {error}"))?;
            let back = match database_url {
                Some(url) => Some(wired(url).await?),
                None => None,
            };
            let front = Wire::lay(format!("127.0.0.1:{port}")).await.map_err(|error| error.to_string())?;
            fleet.instances.push(Instance { port, front, back, process: Mutex::new(None) });
            let instance = fleet.instances.len() - 1;
            // One after the other: the first may migrate the database.
            fleet.run(instance).await?;
        }
        Ok(fleet)
    }

    /// Where the instances are reached.
    pub fn urls(&self) -> Vec<Url> {
        let url = |instance: &Instance| format!("http://127.0.0.1:{}/", instance.front.port).parse().ok();
        self.instances.iter().filter_map(url).collect()
    }

    /// How many instances there are.
    pub fn instance_count(&self) -> usize {
        self.instances.len()
    }

    /// The wire between clients and an instance.
    pub fn front(&self, instance: usize) -> &Wire {
        &self.instance(instance).front
    }

    /// The wire between an instance and the database, where the database's URL is known.
    pub fn back(&self, instance: usize) -> Option<&Wire> {
        self.instance(instance).back.as_ref().map(|(wire, _)| wire)
    }

    fn instance(&self, instance: usize) -> &Instance {
        &self.instances[instance % self.instances.len()]
    }

    /// Starts an instance, at its own port, and waits until it accepts connections.
    pub async fn run(&self, number: usize) -> Result<(), String> {
        let instance = self.instance(number);
        let port = instance.port;
        instance.process().replace(instance.spawn(&self.command)?);
        let until = Instant::now() + self.wait;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let (ended, said) = instance.state();
            let what = match ended {
                Some(code) => format!("ended with {code}"),
                None if Instant::now() >= until => format!("accepts no connection after {} s", self.wait.as_secs()),
                None => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            return Err(format!("instance {}, started at port {port}, {what}{said}", number + 1));
        }
        Ok(())
    }

    /// Ends an instance's processes at once, without asking.
    pub fn kill(&self, instance: usize) {
        if let Some(mut process) = self.instance(instance).process().take() {
            process.send(Signal::Kill);
            let _ = process.supervisor.wait();
        }
    }

    /// Stops an instance's processes where they are.
    pub fn pause(&self, instance: usize) {
        self.signal(instance, Signal::Stop);
    }

    /// Lets them go on.
    pub fn resume(&self, instance: usize) {
        self.signal(instance, Signal::Continue);
    }

    fn signal(&self, instance: usize, signal: Signal) {
        if let Some(process) = self.instance(instance).process().as_mut() {
            process.send(signal);
        }
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The command may hold a secret.
        write!(out, "Fleet({} instances)", self.instances.len())
    }
}

impl Instance {
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, command: &str) -> Result<Process, String> {
        let port = self.port.to_string();
        let mut command = command.replace("{port}", &port);
        let mut shell = Command::new("sh");
        shell.env("PORT", &port);
        if let Some((_, url)) = &self.back {
            command = command.replace("{database_url}", &format!("'{}'", url.replace('\'', r"'\''")));
            shell.env("DATABASE_URL", url);
        }
        shell.args(["-c", SUPERVISOR, "sh", &command]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let mut supervisor = shell.spawn().map_err(|error| format!("no shell can be started: {error}"))?;
        let said = Arc::default();
        if let Some(output) = supervisor.stdout.take() {
            listen(output, &said);
        }
        if let Some(output) = supervisor.stderr.take() {
            listen(output, &said);
        }
        Ok(Process { supervisor, said })
    }

    /// How it ended, if it did, and what it said last.
    fn state(&self) -> (Option<String>, String) {
        let mut process = self.process();
        let Some(process) = process.as_mut() else { return (None, String::new()) };
        let ended = process.supervisor.try_wait().ok().flatten().map(|status| status.to_string());
        if ended.is_some() {
            // Its last words may still be on their way.
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = process.said.lock().unwrap_or_else(PoisonError::into_inner);
        (ended, said.iter().map(|line| format!("\n    {line}")).collect())
    }
}

impl Process {
    fn send(&self, signal: Signal) {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal as Sent, kill_process_group};
            let sent = match signal {
                Signal::End => Sent::TERM,
                Signal::Kill => Sent::KILL,
                Signal::Stop => Sent::STOP,
                Signal::Continue => Sent::CONT,
            };
            if let Some(group) = i32::try_from(self.supervisor.id()).ok().and_then(Pid::from_raw) {
                // A group that has ended needs no signal.
                let _ = kill_process_group(group, sent);
            }
        }
        #[cfg(not(unix))]
        let _ = signal;
    }
}

impl Drop for Process {
    /// Asks the service to end, then ends it.
    fn drop(&mut self) {
        self.send(Signal::Continue);
        self.send(Signal::End);
        let until = Instant::now() + GRACE;
        while matches!(self.supervisor.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.send(Signal::Kill);
        let _ = self.supervisor.wait();
    }
}

/// Keeps the last lines, and reads on, so that the service never waits for a reader.
fn listen(output: impl std::io::Read + Send + 'static, said: &Arc<Mutex<VecDeque<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() == LINES_MAX {
                said.pop_front();
            }
            said.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    });
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A wire to the database's server, and the database's URL through it.
async fn wired(database_url: &str) -> Result<(Wire, String), String> {
    let mut url: Url = database_url.parse().map_err(|_| "the database URL is not a PostgreSQL URL".to_owned())?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("the database URL names no host: a wire reaches the server over TCP")?;
    let wire = Wire::lay(format!("{host}:{}", url.port().unwrap_or(5432))).await.map_err(|error| error.to_string())?;
    // Neither fails on a URL that has a host.
    let _ = (url.set_host(Some("127.0.0.1")), url.set_port(Some(wire.port)));
    Ok((wire, url.to_string()))
}
