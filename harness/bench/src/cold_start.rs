//! What a function costs before it answers for the first time: from the start of its process to its first answer.

use std::{path::Path, time::Duration};

use crate::{figures::Starts, program::Launch};

/// Starts a function so often that the median means something.
pub async fn measure(
    program: &Path,
    path: &str,
    database_url: &str,
    with_database: bool,
    count: usize,
) -> Result<Starts, String> {
    let name = program.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let size_bytes = std::fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?.len();
    let launch = Launch {
        command: vec![program.display().to_string()],
        environment: vec![("DATABASE_URL".to_owned(), database_url.to_owned())],
        port_variable: "VERCEL_DEV_PORT",
        ready_path: path.to_owned(),
        // A path that the function has not is answered without the database.
        ready_status: if with_database { 200 } else { 404 },
        poll: Duration::from_millis(1),
        log: None,
    };
    let mut times = Vec::new();
    for _ in 0..count {
        let (program, took) = launch.start().await?;
        times.push(took.as_secs_f64() * 1_000.0);
        drop(program);
    }
    times.sort_by(f64::total_cmp);
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    Ok(Starts {
        program: name,
        path: path.to_owned(),
        with_database,
        size_bytes,
        count,
        fastest_ms: at(0),
        median_ms: at(times.len() / 2),
        slowest_ms: at(times.len().saturating_sub(1)),
    })
}
