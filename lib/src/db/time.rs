//! How long a request waited for the database.

use std::cell::Cell;
use std::time::Duration;

tokio::task_local! {
    /// Time spent on the database for the request at hand.
    static DATABASE_TIME: Cell<Duration>;
}

/// Runs a future and tells how long the operations inside it waited for the database.
pub async fn with_database_time<F: Future>(future: F) -> (F::Output, Duration) {
    DATABASE_TIME
        .scope(Cell::new(Duration::ZERO), async {
            let output = future.await;
            (output, DATABASE_TIME.with(Cell::get))
        })
        .await
}

/// Adds to the time of the request at hand what it waited for a statement that another task sent.
pub(crate) fn count_database_time(waited: Duration) {
    let _ = DATABASE_TIME.try_with(|time| time.set(time.get() + waited));
}
