//! Which deployment a command speaks with: probed, and its history begun.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{
    commands::cli::Deployment,
    database::books::{Books, DeadlineMover},
    history::{Contract, Event, FORMAT, Recorder},
    report::place::Place,
    target::{
        connection::Origin,
        deployment::{Keys, Target},
        dialect::Dialect,
        http2,
        probe::{self, Mover},
    },
};

/// Probes the deployment; nothing, once it has been said why, where it cannot be raced.
pub async fn target(
    deployment: &Deployment,
    http2: bool,
    run: &str,
    seed: u64,
    quiet: bool,
    place: Option<&Place>,
    mut mover: Option<Box<dyn Mover>>,
) -> Result<Option<(Target, Vec<String>)>> {
    if let Some(remote) = deployment.urls.iter().find(|url| !is_loopback(url))
        && !deployment.yes_this_deployment
    {
        bail!("{remote} is not on this machine: give --yes-this-deployment if it is yours to race");
    }
    let file = match &deployment.dialect {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?)
        }
        None => None,
    };
    if let Some(file) = &file {
        Dialect::default().overridden(file).map_err(|error| anyhow::anyhow!("the dialect is wrong: {error}"))?;
    }
    let keys = Keys { api_key: deployment.api_key.clone(), cron_secret: deployment.cron_secret.clone() };
    let timeout = Duration::from_secs(deployment.timeout_seconds.max(1));
    let mut probed = None;
    for url in &deployment.urls {
        let origin = Origin::parse(url).map_err(anyhow::Error::msg)?;
        if http2 && let Err(error) = http2::is_spoken(&origin, timeout).await {
            eprintln!("stockhold-harness: {url}: {error}");
            return Ok(None);
        }
        // The first instance is asked for everything, the others only whether they are there.
        if probed.is_some() {
            if let Err(error) = probe::answers(&origin, timeout).await {
                eprintln!("stockhold-harness: {url}: {error}");
                return Ok(None);
            }
            continue;
        }
        match probe::probe(&origin, &keys, timeout, run, file.as_deref(), mover.take()).await {
            Ok(found) => probed = Some(found),
            Err(error) => {
                eprintln!("stockhold-harness: {url}: {error}");
                return Ok(None);
            }
        }
    }
    let probed = probed.context("no --url was given")?;
    if !quiet {
        probed.found.iter().for_each(|found| eprintln!("  dialect: {found}"));
    }
    let recorder = match (&deployment.history, place) {
        (None, Some(place)) => Recorder::nameless(place.parent()),
        (history, _) => Recorder::start(history.as_deref()),
    };
    let recorder = recorder.context("the history file cannot be created")?;
    let target = Target::new(&deployment.urls, probed.dialect, keys, timeout, recorder).map_err(anyhow::Error::msg)?;
    let target = if http2 { target.over_http2() } else { target };
    target.recorder().record(&Event::Run {
        format: FORMAT,
        run: run.to_owned(),
        seed,
        instances: target.urls().to_vec(),
        contract: Contract::from(target.dialect()),
    });
    Ok(Some((target, probed.found)))
}

/// What moves deadlines for the probe, where the caller says how.
pub async fn mover(database_url: Option<&str>, expire_sql: Option<&str>) -> Result<Option<Box<dyn Mover>>> {
    let (Some(url), Some(sql)) = (database_url, expire_sql) else { return Ok(None) };
    let books = Books::open(url).await.map_err(anyhow::Error::msg)?;
    Ok(Some(Box::new(DeadlineMover { books, sql: sql.to_owned() })))
}

/// A run's id, part of the names of its items.
pub fn fresh_run() -> String {
    format!("{:08x}", fresh_seed() & 0xffff_ffff)
}

/// A seed that was not used before.
pub fn fresh_seed() -> u64 {
    let id = uuid::Uuid::now_v7().as_u128();
    // The low half of a version 7 id is random; six digits are enough to choose, and short enough to type.
    (id as u64) % 1_000_000_000
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
