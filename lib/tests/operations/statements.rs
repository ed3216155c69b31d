//! The statements as text and as plans: FACTS section 1 turned into rules that every `.sql` keeps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlparser::ast::SetExpr;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::common::{Fixture, run};

struct Text {
    name: &'static str,
    sql: &'static str,
    /// Values for `execute`, one for each parameter; they choose no plan, the generic one is asked for.
    values: &'static str,
}

macro_rules! text {
    ($name:literal, $values:literal) => {
        Text { name: $name, sql: include_str!(concat!("../../src/ops/", $name, ".sql")), values: $values }
    };
}

const ID: &str = "'01900000-0000-7000-8000-000000000001'";

const STATEMENTS: &[Text] = &[
    text!("create_item", "(ID, 'name', null, '{}', 5, 'key', '\\x00', 1)"),
    text!("get_item", "(ID, 1)"),
    text!("refuse", "(ID, '[\"key\"]', 1)"),
    text!("reserve", "(ID, ID, 'customer', 1, 600, 'key', '\\x00', 1)"),
    text!("reserve_batch", "(ID, '[]', 1)"),
    text!("return_units", "(ID, 1, 'key', '\\x00', 1)"),
    text!("settle", "(ID, 'confirm', 1)"),
    text!("reacquire", "(ID, 1)"),
    text!("settle_batch", "('[]', 1)"),
    text!("expire", "(100, '{}', null)"),
    text!("get_reservation", "(ID, 1)"),
    text!("get_ledger", "(ID, 0, 100, 1)"),
    text!("audit", "(ID, 1)"),
    text!("health", ""),
];

/// A statement without its comments, as its CTEs and what follows them.
struct Parsed {
    ctes: Vec<(String, String)>,
    last_select: String,
}

fn parse(sql: &str) -> Parsed {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let mut ctes: Vec<(String, String)> = Vec::new();
    let mut last_select = String::new();
    for line in lines {
        let head = line.strip_prefix("with ").unwrap_or(line);
        let head = head.strip_prefix("recursive ").unwrap_or(head);
        if let Some((name, _)) = head.split_once(" as ").filter(|_| head.ends_with('(') && !head.starts_with(' ')) {
            ctes.push((name.to_owned(), String::new()));
            last_select.clear();
        } else if line.starts_with(')') {
            last_select.clear();
        } else if let Some((_, body)) = ctes.last_mut() {
            body.push_str(line);
            body.push('\n');
            last_select.push_str(line);
            last_select.push('\n');
        }
    }
    // What follows the last CTE was counted to it as well.
    if let Some((_, body)) = ctes.last_mut() {
        body.truncate(body.len() - last_select.len());
    }
    Parsed { ctes, last_select }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').collect()
}

#[test]
fn every_statement_has_a_header_in_five_parts() {
    for Text { name, sql, .. } in STATEMENTS {
        let header: Vec<&str> = sql.lines().take_while(|line| line.starts_with("--")).collect();
        let first = header[0].trim_start_matches("-- ");
        assert!(first.ends_with('.') || first.ends_with(';') || header[1] == "--", "{name}: {first}");
        let mut parts = ["-- Parameters:", "-- Locks:", "-- Recheck:", "-- Outcomes:"].iter();
        let mut next = parts.next();
        for line in header {
            if next.is_some_and(|part| line.starts_with(part)) {
                next = parts.next();
            }
        }
        assert_eq!(next, None, "{name}: the header's parts, in their order");
    }
}

/// FACTS rows 1, 3, 4, 9, 10.
#[test]
fn every_statement_keeps_the_rules() {
    for Text { name, sql, .. } in STATEMENTS {
        let Parsed { ctes, last_select } = parse(sql);
        let code: String = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        assert!(!last_select.contains("stockhold."), "{name}: the last select reads a table:\n{last_select}");
        assert!(!code.contains("now()"), "{name}: now() is older than a wait");
        assert!(!code.contains("on conflict"), "{name}: on conflict do nothing hides the row it met");
        for (index, (cte, body)) in ctes.iter().enumerate() {
            let is_request = cte == "request" && index == 0;
            assert!(is_request || !body.contains('$'), "{name}: {cte} names a parameter");
            let writes = ["insert into", "update stockhold"].iter().any(|verb| body.trim_start().starts_with(verb));
            let read_later = ctes[index + 1..].iter().map(|(_, body)| body).chain([&last_select]);
            let read = read_later.into_iter().any(|text| words(text).contains(cte.as_str()));
            assert!(read || writes, "{name}: nothing reads {cte}");
            if body.contains("for no key update") {
                assert!(!body.contains("clock_timestamp"), "{name}: {cte} reads the clock before its lock");
                assert!(!body.contains("reservations.status"), "{name}: {cte} tests a state where it locks");
                let one_row = !body.contains("any (array(");
                assert!(one_row || body.contains("order by"), "{name}: {cte} locks several rows in no order");
            }
        }
        for table in ["items", "reservations", "ledger"] {
            let writers = ctes.iter().filter(|(_, body)| {
                let body = body.trim_start();
                body.starts_with(&format!("update stockhold.{table}"))
            });
            let writers: Vec<_> = writers.map(|(cte, _)| cte.as_str()).collect();
            // `reacquire` expires other holds than the one it confirms: that one is EXPIRED, they are PENDING.
            let allowed = if *name == "reacquire" && table == "reservations" { 2 } else { 1 };
            assert!(writers.len() <= allowed, "{name}: {table} is updated by {writers:?}");
        }
    }
}

/// CTEs that several statements share: equal to the letter in those named, so that a change of one is a change of all.
const SHARED: &[(&str, &[&str])] = &[
    ("expired_holds", &["reserve_batch", "reacquire"]),
    ("item", &["get_item", "audit"]),
    ("lapsed_total", &["refuse", "reserve_batch", "reacquire"]),
    ("locked_item", &["reserve_batch", "return_units", "settle", "reacquire"]),
    ("locked_reservation", &["return_units", "settle", "reacquire"]),
    ("reading", &["get_item", "refuse", "reserve_batch", "return_units", "reacquire", "audit"]),
    ("released", &["reserve_batch", "reacquire"]),
    ("seen_reservation", &["return_units", "settle", "reacquire"]),
];

#[test]
fn ctes_that_statements_share_are_equal_to_the_letter() {
    let statements: Vec<_> = STATEMENTS.iter().map(|text| (text.name, parse(text.sql).ctes)).collect();
    let names: BTreeSet<&str> = statements.iter().flat_map(|(_, ctes)| ctes).map(|(cte, _)| cte.as_str()).collect();
    for name in names {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (statement, ctes) in &statements {
            let bodies = ctes.iter().filter(|(cte, _)| cte == name);
            bodies.for_each(|(_, body)| groups.entry(body).or_default().push(statement));
        }
        let equal = groups.into_values().filter(|statements| statements.len() > 1 && name != "request");
        let shared: Vec<_> = SHARED.iter().filter(|(cte, _)| *cte == name).map(|(_, statements)| *statements).collect();
        assert_eq!(equal.collect::<Vec<_>>(), shared, "{name}");
    }
}

/// A limit that a reader may want to change stands in one place of each statement, and is the same in all.
#[test]
fn numbers_are_named_in_the_request() {
    for Text { name, sql, .. } in STATEMENTS {
        let Parsed { ctes, last_select } = parse(sql);
        for (cte, body) in ctes.iter().map(|(cte, body)| (cte.as_str(), body)).chain([("the end", &last_select)]) {
            let long =
                words(body).into_iter().find(|word| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_digit()));
            match (cte, long) {
                (_, None) => {}
                ("request", Some(number)) => assert_eq!(number, "200", "{name}"),
                (_, Some(number)) => panic!("{name}: {cte} names {number}"),
            }
        }
    }
}

/// What concerns no one item: the sweep's batch, and the schema.
const OF_NO_ITEM: &[&str] = &["expire", "health"];

/// One equality of the column's name with a parameter in the outermost `where` is what a router goes by.
#[test]
fn every_statement_of_one_item_names_its_bucket_for_a_router() {
    for Text { name, sql, .. } in STATEMENTS {
        // What the parser does not know: a weaker lock, and a function's rows with their number.
        let known = sql.replace("for no key update", "for update").replace("rows from (", "");
        let known = known.replace("(request.calls) as (", "(request.calls) as call (");
        let known = known.replace(") with ordinality as call", "");
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &known).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [sqlparser::ast::Statement::Query(query)] = &parsed[..] else { panic!("{name}: not one query") };
        let SetExpr::Select(select) = &*query.body else { panic!("{name}: the outermost query is no plain select") };
        let number = sql.split('$').filter_map(|piece| piece.chars().next()?.to_digit(10)).max();
        let expected = number.map(|number| format!("request.bucket = ${number}::INTEGER"));
        let found = select.selection.as_ref().map(ToString::to_string);
        let of_no_item = OF_NO_ITEM.contains(name);
        assert_eq!(found, expected.filter(|_| !of_no_item), "{name}");
        let request = &parse(sql).ctes[0].1;
        assert!(of_no_item || request.contains("::integer as bucket"), "{name}: {request}");
        for insert in sql.split("insert into stockhold.").skip(1) {
            let columns = insert.split(')').next().unwrap();
            assert!(words(columns).contains("bucket"), "{name} inserts into {columns}");
        }
    }
}

fn scans<'p>(plan: &'p Value, found: &mut Vec<(&'p str, &'p str)>) {
    if let (Some(node), Some(relation)) = (plan["Node Type"].as_str(), plan["Relation Name"].as_str()) {
        found.push((node, relation));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scans(child, found);
    }
}

/// Empty tables, tables big enough that a scan would be expensive, and the same with statistics.
#[tokio::test]
async fn no_statement_scans_a_table_that_grows_and_no_index_is_idle() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let indexes: Vec<String> =
        sqlx::query_scalar("select indexname::text from pg_indexes where schemaname = 'stockhold'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    // A unique index guards a promise, used or not.
    let unique: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_index join pg_class on oid = indexrelid
         where indisunique and relnamespace = 'stockhold'::regnamespace",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let fill = "
        insert into stockhold.items (id, bucket, name, metadata, total_quantity, created_at, updated_at)
        select id, stockhold.bucket(id), 'item', '{}', 1000000, now(), now()
        from (select gen_random_uuid() as id from generate_series(1, 2000)) as new_item;
        insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, confirmed_quantity, status,
            created_at, expires_at, confirmed_at, expired_at)
        select (left(gen_random_uuid()::text, 32) || right(items.id::text, 4))::uuid, bucket, items.id, 'customer', 1,
            case when number % 3 = 1 then 1 else 0 end,
            case when number % 3 = 0 then 'PENDING' when number % 3 = 1 then 'CONFIRMED' else 'EXPIRED' end,
            now() - interval '1 hour', now() - interval '1 minute',
            case when number % 3 = 1 then now() - interval '30 minutes' end,
            case when number % 3 = 2 then now() - interval '1 minute' end
        from stockhold.items cross join generate_series(1, 15) as number;
        insert into stockhold.ledger
        select id, bucket, 1, null, 'CREATED', 1000000, 1000000, 0, 0, now() from stockhold.items;
        insert into stockhold.ledger
        select item_id, bucket, 1 + row_number() over (partition by item_id order by id), id, 'RESERVED', 1, 1000000, 0, 0,
            now()
        from stockhold.reservations";
    run(&mut connection, "set plan_cache_mode = force_generic_plan").await;
    let mut used = BTreeSet::new();
    // A plan made on the day the tables were empty is kept while they grow: there, the setting of every session helps.
    run(&mut connection, "set enable_seqscan = off").await;
    for statistics in ["empty", "none", "fresh"] {
        if statistics == "none" {
            run(&mut connection, "set enable_seqscan = on").await;
            run(&mut connection, fill).await;
        }
        if statistics == "fresh" {
            run(&mut connection, "analyze stockhold.items, stockhold.reservations, stockhold.ledger").await;
        }
        for Text { name, sql, values } in STATEMENTS {
            let values = values.replace("ID", ID);
            let prepared = format!("{name}_{statistics}");
            run(&mut connection, &format!("prepare {prepared} as {sql}")).await;
            let explain = format!("explain (format json) execute {prepared}{values}");
            let plan: Value =
                sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_one(&mut connection).await.unwrap();
            let mut found = Vec::new();
            scans(&plan[0]["Plan"], &mut found);
            assert!(!found.is_empty(), "{name}: no table in the plan");
            for (node, relation) in found {
                assert!(node != "Seq Scan" || relation == "migrations", "{name}, statistics {statistics}: {relation}");
            }
            let plan = plan.to_string();
            let indexes: BTreeSet<String> =
                indexes.iter().filter(|index| plan.contains(&format!("\"{index}\""))).cloned().collect();
            if statistics != "empty" && ["reserve_batch", "refuse", "reacquire", "get_item"].contains(name) {
                assert!(
                    indexes.contains("reservation_pending_by_item"),
                    "{name}, statistics {statistics}: {indexes:?}"
                );
                assert!(!indexes.contains("reservation_pending_by_deadline"), "{name}: {indexes:?}");
            }
            if *name == "expire" {
                let bounded = r#""Index Cond":"((expires_at >= "#;
                assert!(plan.contains(bounded), "a sweep walks past what it has expired: {plan}");
            }
            used.extend(indexes);
        }
    }
    let idle: Vec<_> = indexes.iter().filter(|index| !used.contains(*index) && !unique.contains(index)).collect();
    assert!(idle.is_empty(), "no statement uses {idle:?}");
}
