//! The programs under load, started here: the service, the Express baseline, a function. Each ends with its value.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use url::Url;

use stockhold_harness::internal::target::{Connection, Origin};

const READY_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running program that answers HTTP.
pub struct Program {
    process: Child,
    /// Where it answers.
    pub origin: Arc<Origin>,
}

/// How a program is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, and its arguments.
    pub command: Vec<String>,
    /// What its environment says beyond ours.
    pub environment: Vec<(String, String)>,
    /// The variable that tells it where to listen.
    pub port_variable: &'static str,
    /// A path that it answers when it is ready, and the status.
    pub ready_path: String,
    /// See `ready_path`.
    pub ready_status: u16,
    /// How often it is asked.
    pub poll: Duration,
    /// Where its output goes; nowhere without one.
    pub log: Option<PathBuf>,
}

impl Launch {
    /// The service on a database.
    pub fn serve(program: &Path, database_url: &str, connections_max: u32, log: Option<PathBuf>) -> Self {
        let environment = [
            ("DATABASE_URL", database_url.to_owned()),
            ("DATABASE_MAX_CONNECTIONS", connections_max.to_string()),
            // A pooler's port is recognised by its number, and a proxy has any.
            ("DATABASE_POOLER", "session".to_owned()),
        ];
        Launch {
            command: vec![program.display().to_string(), "--migrate".to_owned()],
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            port_variable: "PORT",
            ready_path: "/v1/health".to_owned(),
            ready_status: 200,
            poll: Duration::from_millis(20),
            log,
        }
    }

    /// The same, with one more variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it answers; also tells how long that took.
    pub async fn start(&self) -> Result<(Program, Duration), String> {
        let name = self.command.join(" ");
        let (path, arguments) = self.command.split_first().ok_or("no program")?;
        let port = free_port().map_err(|error| format!("no port is free: {error}"))?;
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).map_err(|error| error.to_string())?;
        let mut command = Command::new(path);
        command.args(arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        // With keys set, it would ask our calls for one; logs of every call would be measured too.
        for name in ["API_KEYS", "CRON_SECRET", "AWS_LAMBDA_RUNTIME_API", "HOST", "RUST_LOG"] {
            command.env_remove(name);
        }
        let log = self.log.as_deref().map(File::create).transpose().map_err(|error| format!("no log: {error}"))?;
        command.env(self.port_variable, port.to_string()).stdout(log.map_or_else(Stdio::null, Stdio::from));
        let started = Instant::now();
        let process = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        let mut program = Program { process, origin: Arc::new(Origin::parse(&url)?) };
        let request = program.origin.request("GET", &self.ready_path, &[], None);
        while started.elapsed() < READY_MAX {
            // A port that nobody listens on refuses at once.
            if is_ready(&program.origin, &request, self.ready_status).await {
                return Ok((program, started.elapsed()));
            }
            if let Ok(Some(status)) = program.process.try_wait() {
                return Err(format!("{name} ended before it was ready ({status})"));
            }
            tokio::time::sleep(self.poll).await;
        }
        Err(format!("{name} did not answer {} within {} s", self.ready_path, READY_MAX.as_secs()))
    }
}

impl Program {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop, and waits.
    pub async fn stop(mut self) {
        // There is no portable way to ask; where there is `kill`, it gives calls under way their time.
        let asked = Command::new("kill").arg(self.pid().to_string()).status().is_ok_and(|status| status.success());
        let begun = Instant::now();
        while asked && begun.elapsed() < STOP_MAX && matches!(self.process.try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn is_ready(origin: &Origin, request: &[u8], status: u16) -> bool {
    let ask = async { Connection::open(origin).await?.exchange(request).await };
    matches!(tokio::time::timeout(ANSWER_MAX, ask).await, Ok(Ok(response)) if response.status == status)
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
