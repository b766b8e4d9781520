use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::Auth;
use crate::db;

/// A change of an account, with the effects that other requests must see at once.
pub(super) struct Change<R> {
    result: R,
    /// Sessions that the change has ended.
    ended: Vec<Uuid>,
    /// User whose row has changed or is gone, so that the cache must drop it.
    changed_user: Option<Uuid>,
    /// Owner of the written rows, whose later reads must show them; `None` if there are none.
    owner: Option<Uuid>,
}

impl<R> Change<R> {
    /// Creates a change that wrote nothing.
    pub(super) fn none(result: R) -> Self {
        Self { result, ended: Vec::new(), changed_user: None, owner: None }
    }

    /// Creates a change of a user's sessions alone.
    pub(super) fn sessions(owner: Uuid, ended: Vec<Uuid>, result: R) -> Self {
        Self { result, ended, changed_user: None, owner: Some(owner) }
    }

    /// Creates a change of a user's own row, which may end sessions as well.
    pub(super) fn user(id: Uuid, ended: Vec<Uuid>, result: R) -> Self {
        Self { result, ended, changed_user: Some(id), owner: Some(id) }
    }

    /// Creates the deletion of a user, after which nothing of theirs is left to read.
    pub(super) fn deletion(id: Uuid, ended: Vec<Uuid>, result: R) -> Self {
        Self { result, ended, changed_user: Some(id), owner: None }
    }
}

impl Auth {
    /// Runs a transaction on an account and publishes its effects. `owner` is the user if known beforehand: if the outcome
    /// is unknown, their next reads come from the primary's state, so that they show the change if it happened.
    pub(super) async fn transaction<R, F>(&self, owner: Option<Uuid>, work: F) -> Result<R, db::Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<Change<R>> + Clone,
    {
        let publish = async |change: Option<&Change<R>>| {
            let Some(change) = change else { return owner };
            self.publish(change).await;
            change.owner
        };
        Ok(self.database.transaction_for_owner(publish, work).await?.result)
    }

    /// Runs one idempotent statement on a user's row and invalidates the cache, also if the outcome is unknown.
    pub(super) async fn write_user<R, F>(&self, id: Uuid, work: F) -> Result<R, db::Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let written = self.database.write_idempotent_for(id, work).await;
        self.cache.invalidate_user(id).await;
        written
    }

    /// Makes a committed change visible: this process refuses the ended sessions at once, while others learn of them by the
    /// trigger's NOTIFY; and the cache drops the user.
    async fn publish<R>(&self, change: &Change<R>) {
        self.revocations.add(change.ended.iter().copied());
        if let Some(id) = change.changed_user {
            self.cache.invalidate_user(id).await;
        }
    }
}
