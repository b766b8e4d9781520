use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::Auth;
use crate::db;

/// Result of a write on an account, with the effects that every process has to see.
pub(super) struct Written<R> {
    pub(super) result: R,
    /// Owner of the written rows; `None` if nothing was written.
    pub(super) user_id: Option<Uuid>,
    /// Sessions that the write has ended.
    pub(super) ended: Vec<Uuid>,
}

impl<R> Written<R> {
    /// A write that changed nothing.
    pub(super) fn nothing(result: R) -> Self {
        Self { result, user_id: None, ended: Vec::new() }
    }

    /// A write on the user's rows that ended these sessions.
    pub(super) fn by(user_id: Uuid, ended: Vec<Uuid>, result: R) -> Self {
        Self { result, user_id: Some(user_id), ended }
    }
}

impl Auth {
    /// Runs a transaction on an account and publishes its effects.
    pub(super) async fn transaction<R, F>(&self, work: F) -> Result<R, db::Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<Written<R>> + Clone,
    {
        let written = self.database.transaction(work).await?;
        self.publish(written).await
    }

    /// Runs one statement on an account that can be repeated without harm, and publishes its effects.
    pub(super) async fn write<R, F>(&self, work: F) -> Result<R, db::Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<Written<R>> + Clone,
    {
        let written = self.database.write_repeatably(work).await?;
        self.publish(written).await
    }

    /// Makes a committed write visible: this process refuses the ended sessions at once (others learn of them by the
    /// trigger's NOTIFY), the cache drops the user, and replicas serve the user only once they have replayed the write.
    async fn publish<R>(&self, Written { result, user_id, ended }: Written<R>) -> Result<R, db::Error> {
        self.revocations.add(ended);
        if let Some(user_id) = user_id {
            self.cache.invalidate_user(user_id).await;
            self.database.note_write_of(user_id).await?;
        }
        Ok(result)
    }
}
