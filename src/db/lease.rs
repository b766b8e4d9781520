use std::ops::{Deref, DerefMut};

use deadpool::managed::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use super::manager::Connections;
use super::session::Session;

/// A session on loan. Dropped without a word, its statement is cancelled and it is closed, on a task that holds its place
/// meanwhile: work that has been given up counts until the server is done with it.
pub(super) struct Lease<'pool> {
    loan: Option<Loan>,
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
        Self { loan: Some(loan), closing }
    }

    /// Returns the session; `None` only after the lease has ended.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        self.loan.as_deref_mut()
    }

    /// Gives a pooled session back, and closes any other.
    pub(super) fn give_back(mut self) {
        self.loan.take();
    }

    /// Closes a session on which there is nothing to cancel.
    pub(super) fn discard(mut self) {
        if let Some(loan) = self.loan.take() {
            loan.close();
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(mut loan) = self.loan.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let cancel = async move {
                    loan.cancel().await;
                    loan.close();
                };
                self.closing.spawn_on(cancel, &runtime);
            }
            Err(_) => loan.close(),
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
