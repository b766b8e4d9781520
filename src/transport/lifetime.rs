use std::time::Duration;

use futures_util::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::auth::Requester;
use crate::error::UnauthenticatedReason;
use crate::state::AppState;

/// Lifetime of a socket or stream without a token: long enough to log in.
pub(super) const ANONYMOUS_LIFETIME: Duration = Duration::from_mins(5);

/// Bound on the time that a socket or a stream over HTTP stays open: its token, its session and the shutdown.
pub(super) struct Lifetime {
    deadline: Instant,
    /// Reason to end at the deadline.
    reason: UnauthenticatedReason,
    /// Completes when the token's session ends.
    session_ended: BoxFuture<'static, ()>,
    shutdown: CancellationToken,
}

/// End of a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The token is missing or has expired, or its session has ended.
    Unauthenticated(UnauthenticatedReason),
    /// The service shuts down.
    Shutdown,
}

impl Lifetime {
    /// Creates a lifetime without a token.
    pub(super) fn anonymous(time: Duration, shutdown: CancellationToken) -> Self {
        let reason = UnauthenticatedReason::Missing;
        Self { deadline: Instant::now() + time, reason, session_ended: Box::pin(pending()), shutdown }
    }

    /// Creates the lifetime that a requester's token allows.
    pub(super) fn for_requester(requester: Requester, app: &AppState, shutdown: CancellationToken) -> Self {
        let Requester::User { identity, expires_at } = requester else {
            return Self::anonymous(ANONYMOUS_LIFETIME, shutdown);
        };
        let left = (expires_at - app.clock.now()).to_std().unwrap_or_default();
        let app = app.clone();
        Self {
            deadline: Instant::now() + left,
            reason: UnauthenticatedReason::Expired,
            session_ended: Box::pin(async move { app.auth.wait_until_revoked(identity.session_id).await }),
            shutdown,
        }
    }

    /// Waits for the end. Cancel-safe.
    pub(super) async fn ended(&mut self) -> End {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => End::Shutdown,
            () = &mut self.session_ended => End::Unauthenticated(UnauthenticatedReason::Revoked),
            () = sleep_until(self.deadline) => End::Unauthenticated(self.reason),
        }
    }
}
