use async_graphql::{Context, Enum, ID, SimpleObject};
use uuid::Uuid;

use super::connections::{self, Connection, Extras, Selected};
use super::cursors::{ByTime, Cursors};
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::models::{self, Position};

/// A kind of security event.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
#[graphql(remote = "models::SecurityEventKind")]
enum SecurityEventKind {
    /// Account created.
    Registered,
    /// Login with the right password.
    LoginSucceeded,
    /// Login attempt with a wrong password.
    LoginFailed,
    /// Login refused because of too many attempts. Recorded once per throttled period.
    LoginThrottled,
    /// Session refreshed.
    SessionRefreshed,
    /// Refresh token reused after the reuse window, a sign of theft. Its session was ended.
    RefreshTokenReused,
    /// Password changed. All other sessions were ended.
    PasswordChanged,
    /// Email address changed.
    EmailChanged,
    /// Session ended by its user or by an operator.
    SessionRevoked,
    /// Account deleted.
    AccountDeleted,
}

/// An entry of the account's security log.
#[derive(SimpleObject)]
pub(super) struct SecurityEvent {
    /// Identifier, a UUID.
    pub(super) id: ID,
    /// Kind of event.
    kind: SecurityEventKind,
    /// Time of the event.
    created_at: DateTime,
    /// IP address of the client, if known.
    ip_address: Option<String>,
    /// `User-Agent` header of the client.
    user_agent: Option<String>,
    /// Session in which it happened. The session may have ended since.
    session_id: Option<ID>,
}

impl From<models::SecurityEvent> for SecurityEvent {
    fn from(event: models::SecurityEvent) -> Self {
        Self {
            id: event.id.into(),
            kind: event.kind.0.into(),
            created_at: DateTime(event.created_at),
            ip_address: event.ip_address.map(|address| address.addr().to_string()),
            user_agent: event.user_agent,
            session_id: event.session_id.map(ID::from),
        }
    }
}

/// Loads a page of a user's security events.
pub(super) async fn security_events(
    ctx: &Context<'_>,
    user_id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<SecurityEvent>, AppError> {
    let page = connections::parse_by_time(first, after)?;
    let selected = Selected::of(ctx, &page);
    let (events, extras) = ctx
        .state()?
        .database
        .read_for(user_id, async |conn| {
            let extras = Extras {
                total_count: if selected.total_count {
                    models::SecurityEvent::count(conn, user_id).await?
                } else {
                    0
                },
                has_more_behind: selected.has_more_behind
                    && models::SecurityEvent::are_behind(conn, user_id, page).await?,
            };
            Ok((models::SecurityEvent::list(conn, user_id, page).await?, extras))
        })
        .await?;
    Ok(Connection::new(&page, events, extras, |event| {
        ByTime.encode(&Position { at: event.created_at, id: event.id })
    }))
}

#[cfg(test)]
mod tests {
    use async_graphql::resolver_utils::EnumType;

    use super::*;
    use crate::models::TextEnum;

    #[test]
    fn each_kind_is_read_back_from_the_word_it_is_stored_as() {
        for item in SecurityEventKind::items() {
            let kind = models::SecurityEventKind::from(item.value);
            assert_eq!(kind.as_str(), item.name);
            assert_eq!(models::SecurityEventKind::parse(kind.as_str()), Some(kind));
        }
    }
}
