//! The schema: it refuses what breaks a promise, belongs to nobody else, and may be applied twice.

use rstest::rstest;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use stockhold::{Config, CreateItem, Inventory, NewItem};
use uuid::Uuid;

use crate::common::{Fixture, admin_url, new_reservation, reserved, run};

const MIGRATION: &str = include_str!("../../../migrations/0001_stockhold.sql");

/// Table, change, the constraint that refuses it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("items", "bucket = (bucket + 1) % 65536", "item_bucket_is_its_ids"),
    ("items", "held_quantity = 11", "item_never_oversold"),
    ("items", "held_quantity = 5, confirmed_quantity = 6", "item_never_oversold"),
    ("items", "held_quantity = -1", "item_never_oversold"),
    ("items", "confirmed_quantity = -1", "item_never_oversold"),
    ("items", "total_quantity = 1000000001", "total_units_in_range"),
    ("items", "name = ''", "label_length"),
    ("items", "sku = ''", "label_length"),
    ("items", "metadata = '[]'", "metadata_is_object"),
    ("reservations", "bucket = (bucket + 1) % 65536", "reservation_bucket_is_its_ids"),
    ("reservations", "item_id = gen_random_uuid()", "ledger_of_reservation"),
    ("reservations", "quantity = 0", "units_in_range"),
    ("reservations", "customer_id = ''", "label_length"),
    ("reservations", "expires_at = created_at", "reservation_status_agrees_with_times"),
    ("reservations", "status = 'LOST'", "reservation_status_known"),
    ("reservations", "confirmed_quantity = 1", "reservation_returns_no_more_than_was_sold"),
    ("reservations", "returned_quantity = 1", "reservation_returns_no_more_than_was_sold"),
    ("reservations", "status = 'CONFIRMED', confirmed_quantity = 3", "reservation_status_agrees_with_times"),
    ("reservations", "confirmed_at = now()", "reservation_status_agrees_with_times"),
    ("reservations", "status = 'CANCELLED', expired_at = expires_at", "reservation_status_agrees_with_times"),
    ("reservations", "status = 'EXPIRED'", "reservation_status_agrees_with_times"),
    ("reservations", "status = 'EXPIRED', expired_at = now()", "reservation_status_agrees_with_times"),
    (
        "reservations",
        "status = 'CONFIRMED', confirmed_quantity = 3, confirmed_at = expires_at",
        "reservation_status_agrees_with_times",
    ),
    ("reservations", "status = 'CANCELLED', cancelled_at = expires_at", "reservation_status_agrees_with_times"),
    ("ledger", "bucket = -1", "ledger_of_item"),
    ("ledger", "version = 3", "ledger_one_row_per_version"),
    ("ledger", "version = 0", "ledger_starts_with_creation"),
    ("ledger", "kind = 'CREATED', reservation_id = null", "ledger_starts_with_creation"),
    ("ledger", "reservation_id = null", "ledger_starts_with_creation"),
    ("ledger", "kind = 'LOST'", "ledger_kind_known"),
    ("ledger", "quantity = 0", "ledger_never_oversold"),
    ("ledger", "reservation_id = gen_random_uuid()", "ledger_of_reservation"),
    ("ledger", "held_quantity = 11", "ledger_never_oversold"),
    ("ledger", "held_quantity = -1", "ledger_never_oversold"),
    ("ledger", "confirmed_quantity = -1", "ledger_never_oversold"),
];

/// No update can break this promise before it breaks another.
const UNKNOWN_ITEM: &str = "
    insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
    select (left(gen_random_uuid()::text, 32) || right(id::text, 4))::uuid, bucket, gen_random_uuid(), 'c', 1, now(),
        now() + interval '1 hour'
    from stockhold.items";

#[tokio::test]
async fn the_schema_refuses_what_breaks_a_promise() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    fixture.hold(item.id, 3, 600.0).await;
    fixture.hold(item.id, 3, 600.0).await;
    let mut connection = fixture.connection().await;
    for (table, change, constraint) in REFUSED {
        let filter = if *table == "ledger" { "where version = 2" } else { "" };
        let sql = format!("update stockhold.{table} set {change} {filter}");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(*constraint), "{table}: {change}");
    }
    let error = sqlx::raw_sql(UNKNOWN_ITEM).execute(&mut connection).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("reservation_of_item"));
}

/// The table above has a row for every check and foreign key there is, of the tables and of the domains.
#[tokio::test]
async fn every_constraint_is_tried() {
    let fixture = Fixture::new().await;
    let constraints: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint
         where connamespace = 'stockhold'::regnamespace and contype in ('c', 'f')
         except select unnest($1::text[])",
    )
    .bind(REFUSED.iter().map(|(_, _, constraint)| *constraint).chain(["reservation_of_item"]).collect::<Vec<_>>())
    .fetch_all(&mut fixture.connection().await)
    .await
    .unwrap();
    assert_eq!(constraints, Vec::<String>::new());
}

#[rstest]
#[case("CONFIRMED", "ledger_hold_ends_once")]
#[case("CANCELLED", "ledger_hold_ends_once")]
#[case("EXPIRED", "ledger_hold_ends_once")]
#[tokio::test]
async fn the_ledger_refuses_a_second_end_of_a_hold(#[case] kind: &str, #[case] constraint: &str) {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
    let sql = format!(
        "insert into stockhold.ledger values ('{0}', stockhold.bucket('{0}'), 4, '{1}', '{kind}', 3, 10, 0, 3, now())",
        item.id, hold.id
    );
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut fixture.connection().await).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint));
}

#[tokio::test]
async fn the_migration_may_run_again_and_at_the_same_time() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    fixture.hold(item.id, 3, 600.0).await;
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let inventory = fixture.inventory.clone();
            tokio::spawn(async move { inventory.migrate().await.unwrap() })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    assert_eq!(fixture.counters(item.id).await, (3, 0, 2));
    assert_eq!(fixture.inventory.health().await.unwrap().migration_version, Some(1));
}

/// Red when every start applies the migration: it waits for its lock on `items` behind the reader, and the reserve behind it.
#[tokio::test]
async fn a_start_beside_an_open_reader_delays_no_call() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let mut reader = fixture.connection().await;
    run(&mut reader, "begin; select * from stockhold.items").await;
    fixture.inventory.migrate().await.unwrap();
    fixture.hold(item.id, 1, 600.0).await;
    let locks =
        "select count(*) from pg_locks where relation = 'stockhold.items'::regclass and mode = 'AccessExclusiveLock'";
    let taken: i64 = sqlx::query_scalar(locks).fetch_one(&mut reader).await.unwrap();
    assert_eq!(taken, 0);
}

/// A migration that is missing gives way to the calls behind it, and is tried again until its lock is free.
#[tokio::test]
async fn a_migration_that_finds_its_tables_in_use_gives_way_and_ends() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let mut reader = fixture.connection().await;
    run(&mut reader, "delete from stockhold.migrations").await;
    run(&mut reader, "begin; select * from stockhold.items").await;
    let inventory = fixture.inventory.clone();
    let migrating = tokio::spawn(async move { inventory.migrate().await });
    let waits = "select exists (select from pg_locks where not granted and relation = 'stockhold.items'::regclass)";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut reader).await.unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    fixture.hold(item.id, 1, 600.0).await;
    assert!(!migrating.is_finished(), "the migration did not wait for the reader");
    run(&mut reader, "commit").await;
    migrating.await.unwrap().unwrap();
    assert_eq!(fixture.inventory.health().await.unwrap().migration_version, Some(1));
}

#[tokio::test]
async fn a_newer_database_is_one_line() {
    let fixture = Fixture::new().await;
    run(&mut fixture.connection().await, "insert into stockhold.migrations values (7, 'later')").await;
    let why = fixture.inventory.migrate().await.unwrap_err().to_string();
    assert_eq!(why, "the database has version 7 of the schema, and this program knows 1: use a newer program");
}

/// Starts of this program and of a later one, which knows one more migration, on a database that has neither.
#[tokio::test]
async fn two_versions_start_at_once() {
    const LATER: &str = "
        begin;
        select pg_advisory_xact_lock(hashtextextended('stockhold.migrations', 0));
        alter table stockhold.items add column if not exists later text;
        insert into stockhold.migrations (version, name) values (2, 'later') on conflict (version) do nothing;
        commit;";
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    for _ in 0..5 {
        run(&mut connection, "drop schema stockhold cascade").await;
        let mut starts = Vec::new();
        for _ in 0..4 {
            let inventory = fixture.another(1).await;
            starts.push(tokio::spawn(async move { inventory.migrate().await.map_err(|error| error.to_string()) }));
        }
        // As a program does: what another start made meanwhile is no failure, but a reason to look again.
        while sqlx::raw_sql(MIGRATION).execute(&mut connection).await.is_err() {
            run(&mut connection, "rollback").await;
        }
        run(&mut connection, LATER).await;
        for start in starts {
            if let Err(why) = start.await.unwrap() {
                let told = "the database has version 2 of the schema, and this program knows 1: use a newer program";
                assert_eq!(why, told);
            }
        }
        // The older program's statements go on working on the newer schema.
        let older = fixture.another(1).await;
        assert_eq!(older.health().await.unwrap().migration_version, Some(2));
        let new_item = NewItem::new("Ticket".parse().unwrap(), 1.try_into().unwrap());
        let CreateItem::Created(item) = older.create_item(new_item, None).await.unwrap() else { panic!("not created") };
        reserved(older.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_one_line() {
    let mut admin = PgConnection::connect(&admin_url()).await.unwrap();
    let database = format!("stockhold_test_{}", Uuid::now_v7().simple());
    run(&mut admin, &format!("create database {database} encoding 'LATIN1' locale 'C' template template0")).await;
    let url = crate::common::with_database(&admin_url(), &database);
    let inventory = Inventory::connect(&Config::new(url)).await.unwrap();
    let why = inventory.migrate().await.unwrap_err().to_string();
    assert!(why.contains("encoding is LATIN1"), "{why}");
    drop(inventory);
    run(&mut admin, &format!("drop database {database} with (force)")).await;
}

#[tokio::test]
async fn the_migration_is_one_transaction() {
    let code: Vec<&str> = MIGRATION.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).collect();
    assert_eq!((code.first(), code.last()), (Some(&"begin;"), Some(&"commit;")));
}

/// As on Supabase: an owner that is no superuser, and two API roles that must see nothing.
#[tokio::test]
async fn the_migration_runs_as_an_owner_and_grants_nothing() {
    let suffix = Uuid::now_v7().simple().to_string();
    let (role, database) = (format!("owner_{suffix}"), format!("stockhold_test_{suffix}"));
    let mut admin = PgConnection::connect(&admin_url()).await.unwrap();
    let can_create_roles: bool =
        sqlx::query_scalar("select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert!(can_create_roles, "DATABASE_URL's role must be able to create roles for this test");
    let known = |name: &'static str| {
        sqlx::query_scalar::<_, bool>("select exists (select from pg_roles where rolname = $1)").bind(name)
    };
    let mut api_roles = Vec::new();
    for name in ["anon", "authenticated"] {
        if !known(name).fetch_one(&mut admin).await.unwrap() {
            run(&mut admin, &format!("create role {name}")).await;
            api_roles.push(name);
        }
    }
    run(&mut admin, &format!("create role {role} login password 'secret'")).await;
    run(&mut admin, &format!("grant {role} to current_user")).await;
    run(&mut admin, &format!("create database {database} owner {role}")).await;

    let options = admin_url().parse::<PgConnectOptions>().unwrap();
    let options = options.database(&database).username(&role).password("secret");
    let mut owner = options.connect().await.unwrap();
    run(&mut owner, MIGRATION).await;
    // Whatever somebody granted by hand, a second run takes away.
    run(&mut owner, "grant usage on schema stockhold to anon; grant select on stockhold.items to anon").await;
    run(&mut owner, MIGRATION).await;

    let readable: Vec<String> = sqlx::query_scalar(
        "select rolname || ' ' || relname from pg_roles cross join pg_class
         where rolname in ('anon', 'authenticated') and relnamespace = 'stockhold'::regnamespace and relkind = 'r'
         and (has_schema_privilege(rolname, 'stockhold', 'usage')
             or has_table_privilege(rolname, pg_class.oid, 'select, insert, update, delete'))",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(readable, Vec::<String>::new());
    let open: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'stockhold'::regnamespace and relkind = 'r'
         and (not relrowsecurity or exists (select from pg_policy where polrelid = pg_class.oid))",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new());

    let url = sqlx::ConnectOptions::to_url_lossy(&options).to_string();
    let inventory = Inventory::connect(&Config::new(url)).await.unwrap();
    let item = inventory.create_item(crate::common::new_item(3), None).await.unwrap();
    assert!(matches!(item, stockhold::CreateItem::Created(_)), "row level security stops the owner");
    drop(inventory);
    owner.close().await.unwrap();
    run(&mut admin, &format!("drop database {database} with (force)")).await;
    run(&mut admin, &format!("drop role {role}")).await;
    for name in api_roles {
        run(&mut admin, &format!("drop role {name}")).await;
    }
}
