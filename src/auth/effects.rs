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
        let user_of = |written: &Written<R>| written.user_id;
        let written = self.database.transaction_for_found(user_of, work).await?;
        Ok(self.publish(written).await)
    }

    /// Runs one idempotent statement on a user's account, and publishes its effects.
    pub(super) async fn write<R, F>(&self, user_id: Uuid, work: F) -> Result<R, db::Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let result = self.database.write_idempotent_for(user_id, work).await?;
        Ok(self.publish(Written::by(user_id, Vec::new(), result)).await)
    }

    /// Makes a committed write visible: this process refuses the ended sessions at once (others learn of them by the
    /// trigger's NOTIFY), and the cache drops the user. The database keeps replicas from serving the user until they have
    /// replayed the write.
    async fn publish<R>(&self, Written { result, user_id, ended }: Written<R>) -> R {
        self.revocations.add(ended);
        if let Some(user_id) = user_id {
            self.cache.invalidate_user(user_id).await;
        }
        result
    }
}
