use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Client;
use crate::models::{NewSecurityEvent, SecurityEventKind, TextColumn};

/// A security event that is about to be recorded.
pub(super) struct SecurityEntry<'a> {
    kind: SecurityEventKind,
    user_id: Option<Uuid>,
    session_id: Option<Uuid>,
    client: &'a Client,
    detail: Value,
}

impl<'a> SecurityEntry<'a> {
    pub(super) fn new(kind: SecurityEventKind, client: &'a Client) -> Self {
        Self { kind, user_id: None, session_id: None, client, detail: json!({}) }
    }

    pub(super) fn for_user(self, user_id: Uuid) -> Self {
        Self { user_id: Some(user_id), ..self }
    }

    pub(super) fn for_session(self, session_id: Uuid) -> Self {
        Self { session_id: Some(session_id), ..self }
    }

    pub(super) fn with_detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// Inserts the event; to be called in the transaction of the change that it records.
    pub(super) async fn record(self, conn: &AsyncPgConnection) -> QueryResult<()> {
        let event = NewSecurityEvent {
            user_id: self.user_id,
            kind: TextColumn(self.kind),
            ip_address: self.client.address(),
            user_agent: self.client.user_agent(),
            session_id: self.session_id,
            request_id: self.client.request_id(),
            detail: self.detail,
        };
        event.insert(conn).await
    }
}
