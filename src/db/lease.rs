use std::ops::{Deref, DerefMut};

use deadpool::managed::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use super::manager::Connections;
use super::session::Session;

/// A session on loan.
///
/// If it is dropped, its statement is cancelled and the session closed. The session of a read, which a client abandons by
/// disconnecting, returns to the pool instead if its statement ends soon, so that a disconnect costs no connection. Both happen on
/// a task that holds the session's place: abandoned work counts against the pool until the server is done with it.
pub(super) struct Lease<'pool> {
    loan: Option<Loan>,
    /// Statement that follows an abandoned read; `None` for writes, which are cancelled.
    reset: Option<&'static str>,
    closing: &'pool TaskTracker,
}

/// A session with its place among those that may be open at once.
pub(super) enum Loan {
    Pooled(Object<Connections>),
    /// Outside the pool, with a permit.
    Own(Box<Session>, OwnedSemaphorePermit),
}

impl<'pool> Lease<'pool> {
    pub(super) fn new(loan: Loan, closing: &'pool TaskTracker) -> Self {
        Self { loan: Some(loan), reset: None, closing }
    }

    /// Keeps the session if it is abandoned during a read: after `ROLLBACK` if the read runs `in_transaction`.
    pub(super) fn for_read(mut self, in_transaction: bool) -> Self {
        // Outside of a transaction PostgreSQL would log a warning.
        self.reset = Some(if in_transaction { "ROLLBACK" } else { "" });
        self
    }

    /// Returns the session; `None` only after the lease has ended.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        self.loan.as_deref_mut()
    }

    /// Gives a pooled session back, and closes any other.
    pub(super) fn give_back(mut self) {
        self.loan.take();
    }

    /// Cancels the statement under way, and closes the session.
    pub(super) fn cancel(mut self) {
        if let Some(loan) = self.loan.take() {
            self.finish(loan, None);
        }
    }

    /// Closes a session on which there is nothing to cancel.
    pub(super) fn discard(mut self) {
        if let Some(loan) = self.loan.take() {
            loan.close();
        }
    }
}

impl Lease<'_> {
    /// Gives a session back if it settles in time; otherwise, or without `reset`, cancels its statement and closes it.
    fn finish(&self, mut loan: Loan, reset: Option<&'static str>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return loan.close() };
        let finish = async move {
            if let Some(reset) = reset
                && loan.settle(reset).await
            {
                return;
            }
            loan.cancel().await;
            loan.close();
        };
        self.closing.spawn_on(finish, &runtime);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.finish(loan, self.reset);
        }
    }
}

impl Loan {
    fn close(self) {
        match self {
            Self::Pooled(object) => drop(Object::take(object)),
            Self::Own(session, permit) => drop((session, permit)),
        }
    }
}

impl Deref for Loan {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Pooled(object) => object,
            Self::Own(session, _) => session,
        }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Session {
        match self {
            Self::Pooled(object) => object,
            Self::Own(session, _) => session,
        }
    }
}
