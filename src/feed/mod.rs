//! Announces changes of todos and revoked sessions to subscribers, whichever process made them.
//!
//! One connection past any pooler listens for the `NOTIFY` of triggers, only while there are subscribers. A notification
//! names a user and the number of the last event, or says that some session was revoked. Subscribers read the rest
//! themselves, so a lost or repeated notification loses or repeats nothing. The numbers are polled where `LISTEN` is
//! impossible, or its connection is lost.

mod postgres;
mod subscribers;
mod worker;

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::postgres::Postgres;
use self::subscribers::Subscribers;
pub use self::subscribers::{RevocationStatus, RevocationSubscriber, TodoSubscriber};
use crate::db::{Connector, Database};

/// The announcements of one database; cheap to clone.
#[derive(Clone)]
pub struct Feed {
    source: Arc<Postgres>,
    subscribers: Arc<Subscribers>,
}

impl Feed {
    /// Creates a feed that listens on a direct connection and polls through the pool.
    pub fn new(database: Database, direct: Connector) -> Self {
        Self { source: Arc::new(Postgres { database, direct }), subscribers: Arc::default() }
    }

    /// Subscribes to a user's events; must be called on a tokio runtime.
    pub fn subscribe_to_todos(&self, user_id: Uuid) -> TodoSubscriber {
        self.subscribers.add_todo_subscriber(user_id, || self.spawn_worker())
    }

    /// Subscribes to revocations of sessions; must be called on a tokio runtime.
    pub fn subscribe_to_revocations(&self) -> RevocationSubscriber {
        self.subscribers.add_revocation_subscriber(|| self.spawn_worker())
    }

    /// Returns true while there are subscribers.
    pub fn is_active(&self) -> bool {
        self.subscribers.is_active()
    }

    fn spawn_worker(&self) -> AbortOnDropHandle<()> {
        let source = Arc::clone(&self.source);
        let subscribers = Arc::clone(&self.subscribers);
        AbortOnDropHandle::new(tokio::spawn(
            async move { match worker::run(&*source, &subscribers).await {} },
        ))
    }
}
