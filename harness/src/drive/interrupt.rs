//! Being asked to stop: a race ends at once and keeps what it has seen.

use tokio::sync::watch;

/// Says whether the race shall stop. Cheap to clone; the default never does.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Option<watch::Receiver<bool>>,
}

/// Whoever holds it can stop the race.
pub struct Stop {
    ask: watch::Sender<bool>,
}

impl Interrupt {
    /// An interrupt and its other end.
    pub fn new() -> (Stop, Interrupt) {
        let (ask, asked) = watch::channel(false);
        (Stop { ask }, Interrupt { asked: Some(asked) })
    }

    /// Returns when the race shall stop, at once if it was asked before, never if nobody can ask.
    pub async fn asked(&self) {
        if let Some(asked) = &self.asked
            && asked.clone().wait_for(|asked| *asked).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Stop {
    /// Stops the race.
    pub fn stop(&self) {
        // A race that is over needs no stopping.
        let _ = self.ask.send(true);
    }
}
