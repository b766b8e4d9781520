use async_graphql::{Context, ID, SimpleObject};
use uuid::Uuid;

use super::pages::{self, Connection, Edge};
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::models::{self, EventKind, Position};

/// Something that happened to an account. Look through these when something seems wrong.
#[derive(SimpleObject)]
pub(super) struct SecurityEvent {
    /// Identifier, a UUID.
    id: ID,
    /// What happened.
    kind: EventKind,
    /// When.
    created_at: DateTime,
    /// Where the client was, as far as is known.
    ip_address: Option<String>,
    /// What the client said it was.
    user_agent: Option<String>,
    /// In which session, which may have ended since.
    session_id: Option<ID>,
}

impl From<models::SecurityEvent> for SecurityEvent {
    fn from(event: models::SecurityEvent) -> Self {
        Self {
            id: event.id.into(),
            kind: event.kind,
            created_at: DateTime(event.created_at),
            ip_address: event.ip_address.map(|address| address.addr().to_string()),
            user_agent: event.user_agent,
            session_id: event.session_id.map(ID::from),
        }
    }
}

/// A page of what happened to a user's account.
pub(super) async fn security_events(
    ctx: &Context<'_>,
    user_id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<SecurityEvent, Edge<SecurityEvent>>, AppError> {
    let page = pages::page(first, after)?;
    let found = ctx.state()?.database.read_of(user_id, async |conn| {
        let asked = pages::asks_for_total(ctx);
        let total = if asked { models::SecurityEvent::count(conn, user_id).await? } else { 0 };
        Ok((models::SecurityEvent::list(conn, user_id, page).await?, total))
    });
    let (events, total) = found.await?;
    Ok(Connection::new(&page, events, total, |event| {
        pages::encode(Position { at: event.created_at, id: event.id })
    }))
}
