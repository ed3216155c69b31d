//! Which deployment a command speaks with: probed, and its history begun.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    commands::cli::{Deployment, Gated},
    database::{
        books::{Books, DeadlineMover},
        gate::Tables,
        stage::Stage,
    },
    history::{Contract, Event, FORMAT, Recorder},
    report::{exit_code::Exit, place::Place},
    target::{
        connection::Origin,
        deployment::{Header, Keys, Target},
        dialect::Dialect,
        fleet::Fleet,
        http2,
        pace::Pace,
        probe::{self, Asking, Backstage, Probed},
        trust::Trust,
    },
};

/// How long a service may take to accept connections after it was started.
const START_SECONDS: u64 = 60;

/// Starts the instances where the caller says how, and names where they are.
pub async fn started(deployment: &mut Deployment, gated: &Gated) -> Result<Option<Arc<Fleet>>> {
    let Some(command) = &deployment.start else { return Ok(None) };
    let wait = Duration::from_secs(deployment.wait_for.unwrap_or(START_SECONDS));
    let count = usize::from(deployment.instances);
    let fleet = Fleet::start(command, count, gated.database_url.as_deref(), wait).await.map_err(anyhow::Error::msg)?;
    deployment.urls = fleet.urls();
    // What accepts connections may still have to warm up.
    deployment.wait_for.get_or_insert(START_SECONDS);
    Ok(Some(Arc::new(fleet)))
}

/// Probes the deployment; where it cannot be raced, says why and how the program ends.
pub async fn target(
    deployment: &Deployment,
    http2: bool,
    run: &str,
    seed: u64,
    quiet: bool,
    place: Option<&Place>,
    backstage: Backstage,
) -> Result<Result<(Target, Vec<String>), Exit>> {
    if let Some(remote) = deployment.urls.iter().find(|url| !is_loopback(url))
        && !deployment.yes_this_deployment
    {
        bail!("{remote} is not on this machine: give --yes-this-deployment if it is yours to race");
    }
    let given = given(deployment)?;
    if let Some(path) = deployment.save_dialect.as_deref().filter(|path| path.exists()) {
        bail!("{} exists already", path.display());
    }
    let headers = deployment.headers.iter().map(|header| read_header(header)).collect::<Result<_>>()?;
    let keys = Keys { api_key: deployment.api_key.clone(), cron_secret: deployment.cron_secret.clone(), headers };
    let trust = match &deployment.cacert {
        _ if deployment.insecure => Trust::anybody(),
        Some(file) => Trust::authorities_of(file).map_err(anyhow::Error::msg)?,
        None => Trust::default(),
    };
    let origins = deployment.urls.iter().map(|url| Origin::trusting(url, &trust)).collect::<Result<Vec<_>, _>>();
    let origins = origins.map_err(anyhow::Error::msg)?;
    let timeout = Duration::from_secs(deployment.timeout_seconds.max(1));
    let pace = Pace::new(Duration::from_secs(deployment.max_time));
    let asking = |origin| Asking { origin, keys: &keys, wait: timeout, run, pace: &pace };
    let probed = match probed(deployment, &origins, http2, asking, given, backstage).await {
        Ok(probed) => probed,
        Err(why) => {
            eprintln!("stockhold-harness: {why}");
            return Ok(Err(if pace.is_exhausted().is_some() { Exit::Undecided } else { Exit::Unreachable }));
        }
    };
    if !quiet {
        probed.found.iter().for_each(|found| eprintln!("  dialect: {found}"));
    }
    if let Some(path) = &deployment.save_dialect {
        let text = probed.dialect.to_toml().map_err(anyhow::Error::msg)?;
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let recorder = match (&deployment.history, place) {
        (None, Some(place)) => Recorder::nameless(place.parent()),
        (history, _) => Recorder::start(history.as_deref()),
    };
    let recorder = recorder.context("the history file cannot be created")?;
    let target = Target::at(origins, probed.dialect, keys.clone(), timeout, recorder).map_err(anyhow::Error::msg)?;
    let target = target.at_the_pace_of(&pace);
    let target = if deployment.items.is_empty() { target } else { target.renaming_items() };
    let target = if http2 { target.over_http2() } else { target };
    target.recorder().record(&Event::Run {
        format: FORMAT,
        run: run.to_owned(),
        seed,
        instances: target.urls().to_vec(),
        contract: Contract::from(target.dialect()),
    });
    Ok(Ok((target, probed.found)))
}

/// The dialect file, over the assignment's own words.
fn given(deployment: &Deployment) -> Result<Dialect> {
    let Some(path) = &deployment.dialect else { return Ok(Dialect::default()) };
    let file = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Dialect::default().overridden(&file).map_err(|error| anyhow::anyhow!("the dialect is wrong: {error}"))
}

/// The first instance is asked for everything; the others, whether they are there and know what the first one made.
async fn probed<'p>(
    deployment: &Deployment,
    origins: &'p [Origin],
    http2: bool,
    asking: impl Fn(&'p Origin) -> Asking<'p>,
    given: Dialect,
    backstage: Backstage,
) -> Result<Probed, String> {
    let at = |origin: &Origin, error: String| format!("{}: {error}", origin.shown());
    for origin in origins {
        let Asking { wait, .. } = asking(origin);
        let until = Instant::now() + Duration::from_secs(deployment.wait_for.unwrap_or(0));
        while let Err(error) = probe::answers(origin, wait).await {
            if Instant::now() >= until {
                return Err(at(origin, error));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if http2 {
            http2::is_spoken(origin, wait).await.map_err(|error| at(origin, error))?;
        }
    }
    let (first, others) = origins.split_first().ok_or("no --url was given")?;
    let learns = deployment.dialect.is_none() || deployment.save_dialect.is_some();
    let probed = if learns {
        probe::probe(asking(first), given, backstage).await
    } else {
        probe::believe(asking(first), given, backstage).await
    };
    let probed = probed.map_err(|error| at(first, error))?;
    for other in others {
        probe::knows(asking(other), &probed.dialect, &probed.item).await.map_err(|error| at(other, error))?;
    }
    Ok(probed)
}

/// "NAME: VALUE", where a value that is `$VARIABLE` or `${VARIABLE}` is read from the environment.
fn read_header(text: &str) -> Result<Header> {
    let (name, value) = text.split_once(':').with_context(|| "a --header is \"NAME: VALUE\"".to_owned())?;
    let (name, value) = (name.trim(), value.trim());
    let token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    if name.is_empty() || !name.chars().all(token) {
        bail!("a --header begins with a name and a colon");
    }
    let variable = value.strip_prefix('$').map(|name| name.trim_start_matches('{').trim_end_matches('}'));
    let variable = variable
        .filter(|name| !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_'));
    let (value, shown) = match variable {
        None => (value.to_owned(), "…".to_owned()),
        Some(variable) => {
            let value = std::env::var(variable)
                .with_context(|| format!("the variable {variable} of --header {name} is not set"))?;
            (value, format!("${variable}"))
        }
    };
    if value.contains(|letter: char| letter.is_control()) {
        bail!("the value of --header {name} has a control character in it");
    }
    Ok(Header { name: name.to_owned(), value, shown })
}

/// What the caller does behind the API's back, for the probe.
pub async fn backstage(
    deployment: &Deployment,
    database_url: Option<&str>,
    expire_sql: Option<&str>,
) -> Result<Backstage> {
    let mut backstage = Backstage::default();
    if let (Some(url), Some(sql)) = (database_url, expire_sql) {
        let books = Books::open(url).await.map_err(anyhow::Error::msg)?;
        backstage.mover = Some(Box::new(DeadlineMover { books, sql: sql.to_owned() }));
    }
    if let Some(sql) = &deployment.stage_sql {
        let url = database_url.context("--stage-sql needs --database-url")?;
        let stage = Stage::open(url, sql, &deployment.items).await.map_err(anyhow::Error::msg)?;
        backstage.stager = Some(Box::new(stage));
    }
    Ok(backstage)
}

/// The statement that makes items, and the items it may use.
pub fn staging(deployment: &Deployment) -> Option<(String, Vec<String>)> {
    Some((deployment.stage_sql.clone()?, deployment.items.clone()))
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

/// The tables whose locks may be held: none without a database, or in one that is not on this machine and was not
/// vouched for.
pub fn tables(gated: &Gated) -> Option<Tables> {
    let url = gated.database_url.as_deref()?;
    (is_local(url) || gated.yes_this_database).then(|| Tables {
        items: gated.items_table.clone(),
        reservations: gated.reservations_table.clone(),
        item_id: gated.item_id_column.clone(),
        gate_sql: gated.gate_sql.clone(),
    })
}

fn is_local(database_url: &str) -> bool {
    let Ok(url) = url::Url::parse(database_url) else { return true };
    match url.host_str() {
        None | Some("" | "localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// What a printed `replay` needs besides the URLs to run as this command did. Secrets are named, not shown.
pub fn replay_flags(deployment: &Deployment, gated: &Gated) -> Vec<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let defaults = Tables::default();
    let mut flags = Vec::new();
    if let Some(command) = &deployment.start {
        flags.push(format!("--start {} --instances {}", quoted(command), deployment.instances));
    }
    if let Some(dialect) = &deployment.dialect {
        flags.push(format!("--dialect {}", quoted(&dialect.display().to_string())));
    }
    for header in &deployment.headers {
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        let shown = if value.trim().starts_with('$') { value.trim() } else { "…" };
        flags.push(format!("--header {}", quoted(&format!("{name}: {shown}"))));
    }
    if let Some(path) = &deployment.cacert {
        flags.push(format!("--cacert {}", quoted(&path.display().to_string())));
    }
    flags.extend(deployment.insecure.then(|| "--insecure".to_owned()));
    flags.extend(deployment.yes_this_deployment.then(|| "--yes-this-deployment".to_owned()));
    if gated.database_url.is_some() {
        flags.push("--database-url \"$DATABASE_URL\"".to_owned());
        for (flag, value, default) in [
            ("--items-table", &gated.items_table, &defaults.items),
            ("--reservations-table", &gated.reservations_table, &defaults.reservations),
            ("--item-id-column", &gated.item_id_column, &defaults.item_id),
        ] {
            if value != default {
                flags.push(format!("{flag} {}", quoted(value)));
            }
        }
        let statements = [
            ("--gate-sql", &gated.gate_sql),
            ("--expire-sql", &gated.expire_sql),
            ("--stage-sql", &deployment.stage_sql),
        ];
        flags.extend(deployment.items.iter().map(|item| format!("--item {}", quoted(item))));
        for (flag, value) in statements {
            flags.extend(value.as_ref().map(|value| format!("{flag} {}", quoted(value))));
        }
        flags.extend(gated.yes_this_database.then(|| "--yes-this-database".to_owned()));
    }
    flags
}
