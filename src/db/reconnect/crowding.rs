use std::time::Duration;

use tokio::time::Instant;

use crate::db::Error;
use crate::db::backoff::jittered;

/// First and longest delay before another attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// A server that is there but takes no more connections, and the back-off of all callers together.
#[derive(Debug, Default)]
pub(super) struct Crowding(Option<Crowded>);

#[derive(Debug)]
struct Crowded {
    until: Instant,
    delay: Duration,
    reason: String,
}

impl Crowding {
    /// Fails while the server is known to take no more connections; when the back-off has ended, one caller may try.
    pub(super) fn admit(&mut self) -> Result<(), Error> {
        let Some(crowded) = &mut self.0 else { return Ok(()) };
        if Instant::now() < crowded.until {
            return Err(Error::Crowded(crowded.reason.clone()));
        }
        crowded.until = Instant::now() + crowded.delay;
        Ok(())
    }

    /// Notes that the server has refused a connection.
    pub(super) fn note(&mut self, name: &str, reason: &str) {
        if self.0.is_none() {
            tracing::warn!(reason, "{name} takes no more connections; waiting for room");
        }
        let delay = self.0.as_ref().map_or(FIRST_DELAY, |crowded| LONGEST_DELAY.min(crowded.delay * 2));
        *self =
            Self(Some(Crowded { until: Instant::now() + jittered(delay), delay, reason: reason.to_owned() }));
    }

    /// Returns the server's words while it takes no more connections.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.as_ref().map(|crowded| crowded.reason.clone())
    }
}
