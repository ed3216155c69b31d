//! What is raced: a fresh database with a mutant's schema, and two real service processes that reach it over wires with
//! the mutant's fault in them.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use url::Url;

use stockhold_harness::internal::{drive::find, target::Fleet};

use super::{
    Mutant,
    wire::{Plant, Wire},
};

/// Two are the smallest honest test: a mutex in memory protects one.
const PROCESSES: usize = 2;
/// Variables of this program's environment that would change what the service does: it is started without them.
const UNWANTED: [&str; 4] = ["API_KEYS", "CRON_SECRET", "DATABASE_POOLER", "DATABASE_MAX_CONNECTIONS"];
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// Where deployments are made, and what is left to be cleared away.
pub struct Grounds {
    admin_url: Url,
    serve: PathBuf,
    databases: Mutex<BTreeSet<String>>,
    /// Held while the server makes a database, which it goes on doing when nobody waits for it any more.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Grounds {
    /// Looks whether databases can be made there, and whether the service is there.
    pub async fn new(admin_url: &str, serve: PathBuf) -> Result<Self, String> {
        let admin_url: Url = admin_url.parse().map_err(|_| "the database URL is not a PostgreSQL URL".to_owned())?;
        if admin_url.host_str().is_none_or(str::is_empty) {
            return Err("the database URL names no host: a wire reaches the server over TCP".to_owned());
        }
        if !serve.is_file() {
            return Err(format!("there is no service at {}", serve.display()));
        }
        let grounds = Grounds { admin_url, serve, databases: Mutex::default(), making: Arc::default() };
        grounds.administer("select 1").await?;
        Ok(grounds)
    }

    async fn administer(&self, sql: &str) -> Result<(), String> {
        run(self.admin_url.as_str(), sql).await
    }

    async fn create_database(&self) -> Result<String, String> {
        let name = format!("stockhold_mutant_{}", uuid::Uuid::now_v7().simple());
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        let held = Arc::clone(&self.making).lock_owned().await;
        let (admin_url, sql) = (self.admin_url.clone(), format!("create database {name} template template0"));
        let made = tokio::spawn(async move {
            let made = run(admin_url.as_str(), &sql).await;
            drop(held);
            made
        });
        made.await.map_err(|error| error.to_string())??;
        Ok(name)
    }

    async fn drop_database(&self, name: &str) -> Result<(), String> {
        self.administer(&format!("drop database if exists {name} with (force)")).await?;
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        Ok(())
    }

    /// Drops every database that is left, however the trials ended.
    pub async fn clear(&self) -> Result<(), String> {
        let _made = self.making.lock().await;
        let left: Vec<String> = self.databases.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        for name in left {
            self.drop_database(&name).await?;
        }
        Ok(())
    }

    fn url(&self, database: &str) -> Url {
        let mut url = self.admin_url.clone();
        url.set_path(database);
        url
    }

    fn server(&self) -> String {
        format!("{}:{}", self.admin_url.host_str().unwrap_or_default(), self.admin_url.port().unwrap_or(5432))
    }

    /// Starts a mutant's deployment.
    pub async fn start(&self, mutant: &Mutant) -> Result<Deployment, String> {
        let database = self.create_database().await?;
        let plant = Arc::new(Plant::new(mutant));
        let mut deployment = Deployment {
            urls: Vec::new(),
            database_url: self.url(&database).to_string(),
            plant,
            database,
            services: Vec::new(),
            wires: Vec::new(),
            fleet: None,
        };
        if find(mutant.scenario).is_some_and(|scenario| scenario.needs.fleet) {
            return self.start_fleet(mutant, deployment).await;
        }
        for number in 0..PROCESSES {
            let (wire, database_url) = self.wired(&deployment).await?;
            let first = number == 0;
            let (process, url) = self.start_process(&database_url, mutant.coalescing, first).await?;
            deployment.urls.push(url);
            deployment.services.push(process);
            deployment.wires.push(wire);
            for sql in mutant.schema.iter().filter(|_| first) {
                run(&deployment.database_url, sql).await?;
            }
        }
        Ok(deployment)
    }

    /// The database, through a wire with the fault in it.
    async fn wired(&self, deployment: &Deployment) -> Result<(Wire, Url), String> {
        let wire = Wire::lay(self.server(), Arc::clone(&deployment.plant)).await.map_err(|error| error.to_string())?;
        let mut database_url = self.url(&deployment.database);
        // Neither can fail on a URL that has a host.
        let _ = (database_url.set_host(Some("127.0.0.1")), database_url.set_port(Some(wire.port)));
        database_url.set_query(Some("sslmode=disable"));
        Ok((wire, database_url))
    }

    /// Starts the processes so that the harness can make them fail.
    async fn start_fleet(&self, mutant: &Mutant, mut deployment: Deployment) -> Result<Deployment, String> {
        let (wire, database_url) = self.wired(&deployment).await?;
        let serve = self.serve.display().to_string().replace('\'', r"'\''");
        let coalescing = if mutant.coalescing { "on" } else { "off" };
        let unset: String = UNWANTED.iter().map(|name| format!("-u {name} ")).collect();
        let command =
            format!("exec env {unset}HOST=127.0.0.1 COALESCING={coalescing} RUST_LOG=warn '{serve}' --migrate");
        let fleet = Fleet::start(&command, PROCESSES, Some(database_url.as_str()), START_TIME_MAX).await?;
        deployment.urls = fleet.urls();
        deployment.wires.push(wire);
        deployment.fleet = Some(Arc::new(fleet));
        Ok(deployment)
    }

    /// Starts the service on a port of the system's choice, which its log names.
    async fn start_process(&self, database_url: &Url, coalescing: bool, migrate: bool) -> Result<(Child, Url), String> {
        let mut command = Command::new(&self.serve);
        command.args(migrate.then_some("--migrate"));
        for unwanted in UNWANTED {
            command.env_remove(unwanted);
        }
        command.env("DATABASE_URL", database_url.as_str()).env("HOST", "127.0.0.1").env("PORT", "0");
        command.env("RUST_LOG", "info").env("COALESCING", if coalescing { "on" } else { "off" });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| format!("{} cannot start: {error}", self.serve.display()))?;
        let output = process.stdout.take().ok_or("the service has no output")?;
        let mut lines = BufReader::new(output).lines();
        let listening = async {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = line["address"].as_str() {
                    return Some(format!("http://{address}"));
                }
            }
            None
        };
        let address = timeout(START_TIME_MAX, listening).await.ok().flatten();
        let url = address.ok_or("the service ended, or did not say where it listens")?;
        // Its log is read on, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok((process, url.parse().map_err(|_| format!("{url} is no address"))?))
    }

    /// Ends the processes and drops the database.
    pub async fn stop(&self, mut deployment: Deployment) -> Result<(), String> {
        drop(deployment.fleet.take());
        for process in &mut deployment.services {
            process.kill().await.map_err(|error| format!("the service could not be ended: {error}"))?;
        }
        self.drop_database(&deployment.database).await
    }
}

/// A mutant that runs until it is stopped; its processes end with it even when it is only dropped.
pub struct Deployment {
    /// Where its instances listen.
    pub urls: Vec<Url>,
    /// Its database, past the wires.
    pub database_url: String,
    /// Its fault.
    pub plant: Arc<Plant>,
    database: String,
    services: Vec<Child>,
    wires: Vec<Wire>,
    /// Its processes, where the harness must be able to make them fail.
    pub fleet: Option<Arc<Fleet>>,
}

async fn run(database_url: &str, sql: &str) -> Result<(), String> {
    let plain = |error: sqlx::Error| match error {
        sqlx::Error::Database(error) => format!("the database refused: {}", error.message()),
        sqlx::Error::Io(error) => format!("the database cannot be reached: {error}"),
        // The driver's own text may hold the URL, and with it the password.
        _ => "the database cannot be reached".to_owned(),
    };
    let mut connection = PgConnection::connect(database_url).await.map_err(plain)?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map_err(plain)?;
    connection.close().await.map_err(plain)
}
