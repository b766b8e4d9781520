//! Deletes what has had its time and stores when sessions were last used; on the heels of requests only, so that a
//! database that sleeps while nobody asks is not woken.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use crate::auth::AccessTokens;
use crate::db;
use crate::http::Shutdown;
use crate::models::{Expired, Session, lock_expired};
use crate::state::AppState;

/// How long after a request: what comes meanwhile is done in one go.
const DELAY: Duration = Duration::from_secs(5);
/// How often rows are deleted.
const EVERY: Duration = Duration::from_mins(10);
/// How much longer than needed rows are kept: clocks differ.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Works until the service stops.
pub async fn run(state: AppState, shutdown: Shutdown) {
    let mut swept: Option<Instant> = None;
    loop {
        tokio::select! {
            () = state.traffic.notified() => {}
            () = shutdown.requested() => break,
        }
        tokio::select! {
            () = sleep(DELAY) => {}
            () = shutdown.requested() => break,
        }
        log(store_last_seen(&state).await);
        if swept.is_none_or(|at| at.elapsed() >= EVERY) {
            swept = Some(Instant::now());
            log(sweep(&state).await);
        }
    }
    log(store_last_seen(&state).await);
}

fn log(result: Result<(), db::Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "housekeeping failed; it is tried again later");
    }
}

/// Stores when sessions were last used.
pub async fn store_last_seen(state: &AppState) -> Result<(), db::Error> {
    let seen = state.last_seen.take(state.clock.now());
    if seen.is_empty() {
        return Ok(());
    }
    state.database.write_repeatably(async |conn| Session::seen(conn, &seen).await).await
}

/// Deletes what has had its time, unless another process is at it.
pub async fn sweep(state: &AppState) -> Result<(), db::Error> {
    let (now, settings) = (state.clock.now(), &state.auth);
    for (what, age) in [
        (Expired::Sessions, Duration::ZERO),
        (Expired::RefreshTokens, settings.refresh_token_lifetime),
        (Expired::SealedSuccessors, settings.refresh_reuse_window),
        (Expired::Revocations, AccessTokens::MAX_LIFETIME),
        (Expired::ThrottleBuckets, Duration::ZERO),
        (Expired::SecurityEvents, settings.security_event_retention),
        (Expired::TrashedTodos, state.todos.trash_retention),
        (Expired::TodoEvents, state.todos.todo_history_retention),
    ] {
        let before = now - age - MARGIN;
        let batch = async || {
            let deleted = state
                .database
                .transaction(async |conn| Ok(lock_expired(conn).await? && what.delete(conn, before).await?));
            deleted.await
        };
        while batch().await? {}
    }
    Ok(())
}
