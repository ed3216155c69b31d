//! Behind a real PgBouncer in transaction mode, without prepared statements: FACTS section 3.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use stockhold::item::Metadata;
use stockhold::reservation::IdempotencyKey;
use stockhold::{Config, Confirm, CreateItem, Inventory, NewItem, Pooling, Reserve};

use crate::common::{Fixture, new_reservation, reserved, send};

/// A pooler of the test's own, ended with this value.
struct PgBouncer {
    process: Child,
    folder: std::path::PathBuf,
    url: String,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// None, with a word, where PgBouncer is not installed. Between the choice of a free port and its use somebody else may take
/// it, so it is started until it stays.
async fn start_pgbouncer(fixture: &Fixture) -> Option<PgBouncer> {
    let program =
        ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
    let Some(program) = program else {
        println!("skipped: PgBouncer is not installed (Debian: apt-get install pgbouncer)");
        return None;
    };
    for _ in 0..5 {
        let mut pooler = launch(program, fixture);
        let started = Instant::now();
        while matches!(pooler.process.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(10) {
            if PgConnection::connect(&pooler.url).await.is_ok() {
                return Some(pooler);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("PgBouncer does not answer");
}

fn launch(program: &str, fixture: &Fixture) -> PgBouncer {
    let server = fixture.url.parse::<PgConnectOptions>().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = std::env::temp_dir().join(format!("stockhold-pgbouncer-{port}"));
    std::fs::create_dir_all(&folder).unwrap();
    let database = server.get_database().unwrap();
    let account = fixture.url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(account, _)| account);
    let password = account.and_then(|account| account.split_once(':')).map(|(_, password)| password);
    let password = password.map(|password| format!("password='{}'", decoded(password))).unwrap_or_default();
    let settings = format!(
        "[databases]\n{database} = host={} port={} dbname={database} user={} {password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = 8\nmax_client_conn = 200\nignore_startup_parameters = extra_float_digits\nunix_socket_dir =\n",
        server.get_host(),
        server.get_port(),
        server.get_username(),
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(program);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        use std::os::unix::process::CommandExt;
        // Like PostgreSQL, it refuses to run as root.
        if std::fs::metadata(&folder).unwrap().uid() == 0 {
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
            command.uid(65534).gid(65534);
        }
    }
    let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let url = server.clone().host("127.0.0.1").port(port).to_url_lossy().to_string();
    PgBouncer { process, folder, url }
}

/// What a URL says, with its percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(digits, 16).unwrap()));
        decoded.push_str(rest);
    }
    decoded
}

/// 64 clients over 8 server connections: a prepared statement would be missing, or another client's, within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_behind_a_transaction_pooler_end_as_they_do_without() {
    let fixture = Fixture::with_settings("alter database % set default_transaction_isolation = 'serializable'").await;
    let Some(pooler) = start_pgbouncer(&fixture).await else { return };
    let config = {
        let mut config = Config::new(&pooler.url);
        config.connections_max = 32;
        config.pooling = Pooling::Transaction;
        config
    };
    let inventories = [Inventory::connect(&config).await.unwrap(), Inventory::connect(&config).await.unwrap()];
    let items = [fixture.item(50).await.id, fixture.item(50).await.id];
    let clients: Vec<_> = (0..64)
        .map(|client: usize| {
            let inventory = inventories[client % 2].clone();
            let item_id = items[client / 2 % 2];
            send(async move {
                let mut confirmed_count = 0;
                for round in 0..12 {
                    let call = new_reservation(item_id, 1, if round % 3 == 0 { 0.01 } else { 60.0 });
                    let Reserve::Reserved(hold) = inventory.reserve(call, None).await.unwrap() else {
                        inventory.get_item(item_id).await.unwrap().unwrap();
                        continue;
                    };
                    match round % 3 {
                        0 => drop(inventory.expire(Default::default()).await.unwrap()),
                        1 => drop(inventory.cancel(hold.id).await.unwrap()),
                        _ => {
                            let outcome = inventory.confirm(hold.id, Default::default()).await.unwrap();
                            assert!(matches!(outcome, Confirm::Confirmed(_)), "{outcome:?}");
                            confirmed_count += 1;
                        }
                    }
                }
                (item_id, confirmed_count)
            })
        })
        .collect();
    let mut confirmed = std::collections::HashMap::new();
    for client in clients {
        let (item_id, count) = client.await.unwrap();
        *confirmed.entry(item_id).or_insert(0) += count;
    }
    for item_id in items {
        assert_eq!(fixture.counters(item_id).await.1, confirmed[&item_id]);
        assert!(confirmed[&item_id] > 0);
        fixture.check_books(item_id).await;
    }
}

/// Every kind of value, hostile ones among them, through literals and back through the text format.
#[tokio::test]
async fn values_come_back_as_they_were_sent_in_a_message() {
    let fixture = Fixture::new().await;
    let config = {
        let mut config = Config::new(&fixture.url);
        config.pooling = Pooling::Transaction;
        config
    };
    let inventory = Inventory::connect(&config).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let hostile =
        ['\'', '\\', '"', '$', '1', ';', '-', '\n', '\t', '\u{1F600}', 'é', '%', '{', '\u{1}', ' ', 'E', '/', '*', '?'];
    let text = |random: &mut fastrand::Rng| {
        let length = random.usize(1..200);
        let tail: String = (1..length).map(|_| *random.choice(&hostile).unwrap()).collect();
        format!("x{tail}")
    };
    let item = fixture.item(1_000_000).await;
    for _ in 0..200 {
        let metadata = serde_json::json!({ text(&mut random): [text(&mut random), 1.5, null, { "a": true }] });
        let name = text(&mut random).try_into().unwrap();
        let new_item = NewItem::new(name, random.i64(1..1_000_000_000).try_into().unwrap())
            .with_sku(text(&mut random).try_into().unwrap())
            .with_metadata(serde_json::from_value::<Metadata>(metadata).unwrap());
        let CreateItem::Created(created) = inventory.create_item(new_item.clone(), None).await.unwrap() else {
            panic!()
        };
        assert_eq!(created.name, new_item.name.as_str());
        assert_eq!(created.sku.as_deref(), new_item.sku.as_ref().map(|sku| sku.as_str()));
        assert_eq!(Some(&created.metadata), new_item.metadata.as_ref());
        assert_eq!(inventory.get_item(created.id).await.unwrap().unwrap().item, created);
        assert_eq!(fixture.inventory.get_item(created.id).await.unwrap().unwrap().item, created);

        let mut call = new_reservation(item.id, 1, random.f64() * 1_000.0 + 0.01);
        call.customer_id = text(&mut random).try_into().unwrap();
        let made = reserved(inventory.reserve(call.clone(), None).await.unwrap());
        assert_eq!(made.customer_id, call.customer_id.as_str());
        assert_eq!(fixture.inventory.get_reservation(made.id).await.unwrap(), Some(made));
    }
    // The same in a batch, whose calls are one literal.
    let before = inventory.coalesced();
    let mut calls = Vec::new();
    for number in 0..100 {
        let mut call = new_reservation(item.id, 1, random.f64() * 1_000.0 + 0.01);
        call.customer_id = text(&mut random).try_into().unwrap();
        calls.push((call, IdempotencyKey::try_from(format!("'\\\"$1;--{{{number}").as_str()).unwrap()));
    }
    let together = calls.iter().map(|(call, key)| inventory.reserve(call.clone(), Some(key.clone())));
    for ((call, key), outcome) in calls.iter().zip(futures::future::join_all(together).await) {
        let made = reserved(outcome.unwrap());
        assert_eq!(made.customer_id, call.customer_id.as_str());
        let replayed = fixture.inventory.reserve(call.clone(), Some(key.clone())).await.unwrap();
        assert_eq!(replayed, Reserve::Replayed(made));
    }
    let after = inventory.coalesced();
    assert!(after.call_count - before.call_count > 2 * (after.statement_count - before.statement_count), "{after:?}");
    assert!(inventory.audit(item.id).await.unwrap().unwrap().consistent);
    let query = stockhold::LedgerQuery::after(0, 10);
    let pages = (inventory.get_ledger(item.id, query).await, fixture.inventory.get_ledger(item.id, query).await);
    assert_eq!(pages.0.unwrap(), pages.1.unwrap());
    assert_eq!(inventory.health().await.unwrap().migration_version, Some(1));
}

#[test]
fn port_6543_is_a_transaction_pooler() {
    assert_eq!(Config::new("postgres://u:p@host:6543/db").pooling, Pooling::Transaction);
    assert_eq!(Config::new("postgres://u:p@host:5432/db").pooling, Pooling::Session);
}
