//! Tells subscribers that something happened to their todos, and sockets that a session has ended, in whichever process.
//!
//! While somebody listens, and only then, one connection past any pooler listens to what the triggers say with `NOTIFY`.
//! It says only whose events there are and how many, or that some session has ended; who listens reads the rest, so a lost
//! or doubled message loses or doubles nothing. Where `LISTEN` is impossible or the connection is lost, the numbers are
//! asked for instead.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::db::{Connector, Database};
use crate::models::TodoEvent;

/// How often the numbers are asked for where nobody tells them.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked whether something was missed, and with it whether the connection still lives; only while requests
/// use the database anyway, so that those who merely listen do not keep it awake.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How many polls there are at most before it is tried again to listen.
const MAX_POLLS: u32 = 60;

/// Where subscribers learn of events.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    database: Database,
    direct: Connector,
    listeners: Mutex<Listeners>,
    heard: watch::Sender<Heard>,
}

#[derive(Default)]
struct Listeners {
    /// The number of the last event that is known, for each user who listens.
    users: HashMap<Uuid, watch::Sender<i64>>,
    /// How many want to hear of sessions that end.
    ears: usize,
    /// Ends with the last listener.
    task: Option<AbortOnDropHandle<()>>,
}

impl Listeners {
    fn rest(&mut self) {
        if self.users.is_empty() && self.ears == 0 {
            self.task = None;
        }
    }
}

/// What is heard of sessions that end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// Whether it is told when one ends; if not, it has to be asked for.
    pub live: bool,
    /// When it was last told, or may have been missed before it was told.
    pub last: Option<Instant>,
}

impl Feed {
    /// A feed that listens on connections to the database itself, and asks through its pool.
    pub fn new(database: Database, direct: Connector) -> Self {
        let heard = watch::channel(Heard::default()).0;
        Self(Arc::new(Shared { database, direct, listeners: Mutex::default(), heard }))
    }

    /// Begins to listen for a user's events.
    pub fn listen(&self, user_id: Uuid) -> Subscriber {
        let shared = Arc::clone(&self.0);
        let mut listeners = shared.listeners();
        let number = listeners.users.entry(user_id).or_insert_with(|| watch::channel(0).0).subscribe();
        self.wake(&mut listeners);
        drop(listeners);
        Subscriber { shared, user_id, number }
    }

    /// Begins to listen for sessions that end.
    pub fn hear(&self) -> Ear {
        let mut listeners = self.0.listeners();
        listeners.ears += 1;
        self.wake(&mut listeners);
        Ear { shared: Arc::clone(&self.0), heard: self.0.heard.subscribe() }
    }

    fn wake(&self, listeners: &mut Listeners) {
        if listeners.task.is_none() {
            self.0.heard.send_replace(Heard::default());
            let task = tokio::spawn(run(Arc::clone(&self.0)));
            listeners.task = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Whether anybody listens.
    pub fn is_active(&self) -> bool {
        self.0.listeners().task.is_some()
    }
}

/// Somebody who listens, until it is dropped.
pub struct Subscriber {
    shared: Arc<Shared>,
    user_id: Uuid,
    number: watch::Receiver<i64>,
}

impl Subscriber {
    /// Returns once there may be events after one.
    pub async fn wait_beyond(&mut self, number: i64) {
        // The sender lives as long as this.
        let _ = self.number.wait_for(|last| *last > number).await;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners();
        if listeners.users.get(&self.user_id).is_some_and(|sender| sender.receiver_count() <= 1) {
            listeners.users.remove(&self.user_id);
        }
        listeners.rest();
    }
}

/// Somebody who listens for sessions that end, until it is dropped.
pub struct Ear {
    shared: Arc<Shared>,
    heard: watch::Receiver<Heard>,
}

impl Ear {
    /// What was heard last.
    pub fn heard(&mut self) -> Heard {
        *self.heard.borrow_and_update()
    }

    /// Returns once more was heard.
    pub async fn more(&mut self) {
        // The sender lives as long as this.
        let _ = self.heard.changed().await;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners();
        listeners.ears -= 1;
        listeners.rest();
    }
}

impl Shared {
    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on that there is an event.
    fn tell(&self, user_id: Uuid, number: i64) {
        if let Some(sender) = self.listeners().users.get(&user_id) {
            sender.send_if_modified(|last| number > std::mem::replace(last, number.max(*last)));
        }
    }

    /// Asks for the last events of those who listen.
    async fn look(&self, conn: &mut AsyncPgConnection) -> diesel::QueryResult<()> {
        let users: Vec<_> = self.listeners().users.keys().copied().collect();
        for (user_id, number) in TodoEvent::last_numbers(conn, &users).await? {
            self.tell(user_id, number);
        }
        Ok(())
    }
}

/// Listens, or else asks.
async fn run(shared: Arc<Shared>) {
    let mut polls = 1;
    loop {
        let mut heard = false;
        let ended = listen(&shared, &mut heard).await;
        shared.heard.send_modify(|heard| heard.live = false);
        if let Err(error) = ended {
            tracing::warn!(
                error = format!("{error:#}"),
                "can't listen for events; they are asked for every second"
            );
        }
        polls = if heard { 1 } else { MAX_POLLS.min(polls * 2) };
        for _ in 0..polls {
            sleep(POLL_EVERY).await;
            if let Err(error) = shared.database.read(async |conn| shared.look(conn).await).await {
                tracing::debug!(%error, "can't ask for events");
            }
        }
    }
}

/// Listens until that fails; `heard` tells whether it worked before.
async fn listen(shared: &Shared, heard: &mut bool) -> anyhow::Result<()> {
    let mut conn = shared.direct.connect().await?;
    let set_up = async {
        conn.batch_execute("LISTEN todo_events; LISTEN revoked_sessions").await?;
        // What happened before somebody listened.
        shared.look(&mut conn).await.map_err(anyhow::Error::from)
    };
    timeout(LIMIT, set_up).await??;
    // Nobody's. Another connection sends it, and only now: through a pooler what this one sends, or what comes while it is
    // busy, may well reach it, and nothing else ever does.
    let probe = format!("{} 0", Uuid::new_v4());
    let notify = format!("SELECT pg_notify('todo_events', '{probe}')");
    shared.database.write(async |conn| conn.batch_execute(&notify).await).await?;
    loop {
        let wait = if *heard { CHECK_EVERY } else { LIMIT };
        // Messages are kept while nobody takes them from the stream.
        let message = {
            let mut messages = pin!(conn.notifications_stream());
            timeout(wait, messages.next()).await
        };
        match message {
            Ok(Some(message)) => {
                let message = message?;
                let is_probe = message.payload == probe;
                *heard |= is_probe;
                if is_probe || *heard && message.channel == "revoked_sessions" {
                    shared.heard.send_replace(Heard { live: true, last: Some(Instant::now()) });
                }
                if let Some((user_id, number)) = parse(&message.payload) {
                    shared.tell(user_id, number);
                }
            }
            Ok(None) => bail!("the connection has ended"),
            Err(_) if *heard && !shared.database.was_used_within(CHECK_EVERY) => {}
            Err(_) if *heard => timeout(LIMIT, shared.look(&mut conn)).await??,
            // Poolers take LISTEN and pass nothing on.
            Err(_) => {
                bail!("nothing arrives; DATABASE_DIRECT_URL must lead to the same database, past any pooler")
            }
        }
    }
}

fn parse(payload: &str) -> Option<(Uuid, i64)> {
    let (user_id, number) = payload.split_once(' ')?;
    Some((user_id.parse().ok()?, number.parse().ok()?))
}
