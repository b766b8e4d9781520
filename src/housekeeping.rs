//! Deletes expired rows and stores the times at which sessions were last used.
//!
//! Runs only shortly after requests, so that it never wakes a suspended database.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::MAX_ACCESS_TOKEN_TTL;
use crate::db;
use crate::models::{Expired, lock_expired};
use crate::state::AppState;

/// Delay after a request; work that arises meanwhile is done in the same run.
const DELAY: Duration = Duration::from_secs(5);
/// Interval between deletions of expired rows.
const EVERY: Duration = Duration::from_mins(10);
/// Time for which rows are kept beyond their expiry, as access tokens expire by the clocks of the processes.
const MARGIN: Duration = Duration::from_mins(5);

/// Runs until `shutdown`. What is left then is not stored: it would wake a suspended database up.
pub async fn run(state: AppState, shutdown: CancellationToken) {
    let mut swept: Option<Instant> = None;
    let next_run = async || {
        state.activity.notified().await;
        sleep(DELAY).await;
    };
    while shutdown.run_until_cancelled(next_run()).await.is_some() {
        log(state.auth.store_last_seen().await);
        if swept.is_none_or(|at| at.elapsed() >= EVERY) {
            swept = Some(Instant::now());
            log(delete_expired(&state).await);
        }
    }
}

fn log(result: Result<(), db::Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "housekeeping failed; retrying later");
    }
}

/// Deletes expired rows, unless another process is doing so.
pub async fn delete_expired(state: &AppState) -> Result<(), db::Error> {
    let settings = state.auth.settings();
    for (rows, age) in [
        (Expired::Sessions, Duration::ZERO),
        (Expired::RefreshTokens, settings.refresh_token_ttl),
        (Expired::SealedSuccessors, settings.refresh_reuse_window),
        (Expired::Revocations, MAX_ACCESS_TOKEN_TTL),
        (Expired::ThrottleBuckets, Duration::ZERO),
        (Expired::SecurityEvents, settings.security_event_retention),
        (Expired::TrashedTodos, state.todos.trash_retention),
        (Expired::TodoEvents, state.todos.todo_history_retention),
    ] {
        let batch = async || {
            let deleted = state.database.transaction(async |conn| {
                Ok(lock_expired(conn).await? && rows.delete(conn, age + MARGIN).await?)
            });
            deleted.await
        };
        while batch().await? {}
    }
    Ok(())
}
