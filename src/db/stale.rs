//! Gets rid of prepared statements that a migration made stale, behind a pooler.
//!
//! A connection of ours that has one is closed. A pooler in transaction mode, though, keeps prepared statements on its own
//! connections to the server and shares them between its clients, so a new client fails as the old one did, for as long as
//! the pooler keeps that connection: an hour by default. Ending those sessions at the server makes it open new ones.

use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::dialer::Dialer;
use super::silence::SILENCE;

/// When the sessions behind a pooler were last ended.
#[derive(Default)]
pub(super) struct Renewal(Mutex<Option<Instant>>);

impl Renewal {
    /// Ends the sessions behind the pooler that have nothing to do, unless that was done since a request began. Requests
    /// that fail together wait for the one that does it.
    pub(super) async fn since(&self, began: Instant, dialer: &Dialer) {
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last >= began) {
            return;
        }
        *last = Some(Instant::now());
        tracing::warn!("ending the pooler's idle sessions: their prepared statements are stale");
        let done = async { Ok::<_, super::Error>(end_idle(&mut dialer.connect().await?).await) };
        if !matches!(timeout(SILENCE, done).await, Ok(Ok(_))) {
            tracing::warn!(
                "the pooler's sessions could not be ended; statements may fail until it renews them itself"
            );
        }
    }
}

/// Only those of this role that this service has used, and at last the one that does it: that ends with an error.
async fn end_idle(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SELECT pg_terminate_backend(pid) FROM (
             SELECT pid FROM pg_stat_activity
             WHERE usename = current_user AND datname = current_database()
                 AND application_name = current_setting('application_name')
                 AND (state = 'idle' OR pid = pg_backend_pid())
             ORDER BY pid = pg_backend_pid() OFFSET 0
         ) AS sessions",
    )
    .await
}
