use std::convert::Infallible;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::subscribers::Subscribers;

/// Time between two polls where listening is impossible.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Polls before another attempt to listen: doubled after each attempt that failed, up to this.
const MAX_POLLS: u32 = 60;
/// Silence after which a listening connection is checked, and with it for lost notifications; only if requests have used
/// the database meanwhile, so that subscribers alone do not keep it awake.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Limit on one query, and on the way of the probe.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Origin of notifications: the database, or a script in tests.
pub(super) trait Source {
    type Listener: Listener;

    /// Opens a connection that listens.
    async fn listen(&self) -> anyhow::Result<Self::Listener>;

    /// Notifies of an event of a user that does not exist, on another connection than the listening one.
    async fn send_probe(&self, id: Uuid) -> anyhow::Result<()>;

    /// Reads the numbers of users' last events.
    async fn last_numbers(&self, user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>>;

    fn was_used_within(&self, time: Duration) -> bool;
}

/// A connection that listens.
pub(super) trait Listener {
    /// Waits for a notification. Cancel-safe: the connection keeps notifications until they are taken.
    async fn next(&mut self) -> anyhow::Result<Notification>;

    /// Reads the numbers of users' last events on this connection.
    async fn last_numbers(&mut self, user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>>;
}

#[derive(Debug, PartialEq)]
pub(super) enum Notification {
    TodoEvent { user_id: Uuid, number: i64 },
    SessionRevoked,
    Unknown,
}

/// Serves subscribers until it is cancelled, in turns of two states: listening, for as long as that works, and polling.
pub(super) async fn run(source: &impl Source, subscribers: &Subscribers) -> Infallible {
    let mut polls = 1;
    loop {
        let Err(error) = listen(source, subscribers).await;
        let was_listening = subscribers.stop_listening();
        tracing::warn!(error = format!("{error:#}"), "can't listen for events; polling every second");
        polls = if was_listening { 1 } else { MAX_POLLS.min(polls * 2) };
        for _ in 0..polls {
            sleep(POLL_INTERVAL).await;
            match source.last_numbers(&subscribers.user_ids()).await {
                Ok(numbers) => announce(numbers, subscribers),
                Err(error) => tracing::debug!(error = format!("{error:#}"), "can't poll for events"),
            }
        }
    }
}

/// Listens until that fails.
async fn listen(source: &impl Source, subscribers: &Subscribers) -> anyhow::Result<Infallible> {
    let mut listener = source.listen().await?;
    // Events from before `LISTEN` were not announced.
    catch_up(&mut listener, subscribers).await?;
    // A pooler takes `LISTEN` and may even pass on what the same connection sends, or what arrives while that is busy, but
    // nothing else ever. Only a notification that another connection sends to an idle one proves that listening works.
    let probe = Uuid::new_v4();
    source.send_probe(probe).await?;
    // Not the subscribers' state, which a worker that is being aborted may still set.
    let mut is_listening = false;
    loop {
        let limit = if is_listening { CHECK_INTERVAL } else { QUERY_TIMEOUT };
        match timeout(limit, listener.next()).await {
            Ok(notification) => match notification? {
                // From here on nothing is missed; sessions that were revoked before still have to be looked for.
                Notification::TodoEvent { user_id, .. } if user_id == probe => {
                    tracing::debug!("listening for events");
                    is_listening = true;
                    subscribers.announce_revocations();
                }
                Notification::TodoEvent { user_id, number } => subscribers.announce_event(user_id, number),
                Notification::SessionRevoked if is_listening => subscribers.announce_revocations(),
                // Before the probe has arrived, subscribers poll for revocations anyway.
                Notification::SessionRevoked | Notification::Unknown => {}
            },
            Err(_) if !is_listening => {
                bail!("nothing arrives; DATABASE_DIRECT_URL must lead to the same database, past any pooler")
            }
            Err(_) if source.was_used_within(CHECK_INTERVAL) => catch_up(&mut listener, subscribers).await?,
            Err(_) => {}
        }
    }
}

async fn catch_up(listener: &mut impl Listener, subscribers: &Subscribers) -> anyhow::Result<()> {
    let numbers = listener.last_numbers(&subscribers.user_ids()).await?;
    announce(numbers, subscribers);
    Ok(())
}

fn announce(numbers: Vec<(Uuid, i64)>, subscribers: &Subscribers) {
    for (user_id, number) in numbers {
        subscribers.announce_event(user_id, number);
    }
}

#[cfg(test)]
mod tests;
