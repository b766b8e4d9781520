use std::time::Duration;

use anyhow::Context;
use diesel::pg::PgNotification;
use diesel_async::SimpleAsyncConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::worker::{Listener, Notification, QUERY_TIMEOUT, Source};
use crate::db::{Connector, Database, ListeningConnection};
use crate::models::TodoEvent;

/// The database as the source of notifications.
pub(super) struct Postgres {
    pub(super) database: Database,
    /// Leads past any pooler.
    pub(super) direct: Connector,
}

impl Source for Postgres {
    type Listener = ListeningConnection;

    async fn listen(&self) -> anyhow::Result<ListeningConnection> {
        let mut listening = self.direct.connect_to_listen().await?;
        let listen = listening.connection.batch_execute("LISTEN todo_events; LISTEN revoked_sessions");
        timeout(QUERY_TIMEOUT, listen).await??;
        Ok(listening)
    }

    async fn send_probe(&self, id: Uuid) -> anyhow::Result<()> {
        let notify = format!("SELECT pg_notify('todo_events', '{id} 0')");
        Ok(self.database.write(async |conn| conn.batch_execute(&notify).await).await?)
    }

    async fn last_numbers(&self, user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>> {
        Ok(self.database.read(async |conn| TodoEvent::last_numbers(conn, user_ids).await).await?)
    }

    fn was_used_within(&self, time: Duration) -> bool {
        self.database.was_used_within(time)
    }
}

impl Listener for ListeningConnection {
    async fn next(&mut self) -> anyhow::Result<Notification> {
        let notification = self.notifications.recv().await.context("the connection has ended")??;
        Ok(parse(&notification))
    }

    async fn last_numbers(&mut self, user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>> {
        Ok(timeout(QUERY_TIMEOUT, TodoEvent::last_numbers(&mut self.connection, user_ids)).await??)
    }
}

fn parse(notification: &PgNotification) -> Notification {
    if notification.channel == "revoked_sessions" {
        return Notification::SessionRevoked;
    }
    let event = notification.payload.split_once(' ').and_then(|(user_id, number)| {
        Some(Notification::TodoEvent { user_id: user_id.parse().ok()?, number: number.parse().ok()? })
    });
    event.unwrap_or(Notification::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_read_by_channel_and_payload() {
        let notification = |channel: &str, payload: &str| {
            parse(&PgNotification { process_id: 1, channel: channel.into(), payload: payload.into() })
        };
        let event = Notification::TodoEvent { user_id: Uuid::nil(), number: 7 };
        assert_eq!(notification("todo_events", "00000000-0000-0000-0000-000000000000 7"), event);
        assert_eq!(notification("revoked_sessions", ""), Notification::SessionRevoked);
        for payload in ["", "7", "x 7", "00000000-0000-0000-0000-000000000000 x"] {
            assert_eq!(notification("todo_events", payload), Notification::Unknown, "{payload}");
        }
    }
}
