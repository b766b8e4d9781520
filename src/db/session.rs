use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use diesel::pg::PgNotification;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::Error;
use super::statements::instrumented;
use super::wire::{Failure, Observing, Wire};

/// Time limit for cancelling a statement.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);
/// Time limit for the end of a statement that has been cancelled.
const END_LIMIT: Duration = Duration::from_secs(1);
/// Time limit for the end of a statement whose caller is gone.
const SETTLE_LIMIT: Duration = Duration::from_millis(500);
/// Abandoned reads after which a session is closed: each may leave a prepared statement that the driver no longer knows.
const MAX_ABANDONED: usize = 32;
/// Time for which a connection that has been given up waits for the answers that are outstanding.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Time limit for the end of all sessions at the end of the process.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The tasks that drive the connections of this process.
static DRIVERS: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits until the sessions of this process have ended, for a moment: for the end of the process.
pub async fn wait_until_closed() {
    DRIVERS.close();
    if timeout(CLOSE_LIMIT, DRIVERS.wait()).await.is_err() {
        tracing::debug!("connections to the database were still open at the end");
    }
}

/// A connection, with what the driver keeps to itself. Dropped, it ends its session with the message Terminate.
pub(super) struct Session {
    pub(super) connection: AsyncPgConnection,
    pub(super) wire: Wire,
    pub(super) notifications: Notifications,
    cancellation: Cancellation,
    /// Number of reads that were abandoned on it.
    abandoned: usize,
    /// Tells the driver's task that the connection is given up.
    held: oneshot::Sender<()>,
}

/// A connection that listens.
pub struct ListeningConnection {
    /// The connection, for further statements.
    pub connection: AsyncPgConnection,
    /// Notifications of the channels that it listens on.
    pub notifications: Notifications,
    _held: oneshot::Sender<()>,
}

/// Notifications of a connection that listens, in the order of their arrival, and the error that ends it.
pub type Notifications = mpsc::UnboundedReceiver<Result<PgNotification, tokio_postgres::Error>>;

/// The way on which a statement is cancelled: that of its connection.
pub(super) enum Cancellation {
    Plain(CancelToken),
    Tls(CancelToken, MakeRustlsConnect),
    Unix(CancelToken, PathBuf),
}

impl Session {
    /// Begins a session on an open connection.
    ///
    /// diesel-async would drive the connection, too, but cut it off when it is dropped.
    pub(super) async fn begin<S, T>(
        client: Client,
        connection: Connection<S, T>,
        cancellation: Cancellation,
        wire: Wire,
    ) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, notifications) = mpsc::unbounded_channel();
        let (held, released) = oneshot::channel();
        DRIVERS.spawn(drive(connection, sender, wire.clone(), released));
        let connection = AsyncPgConnection::try_from(client).await;
        let connection = connection.map_err(|error| Error::beginning(error, &wire)).map(instrumented)?;
        Ok(Self { connection, wire, notifications, cancellation, abandoned: 0, held })
    }

    /// Keeps the connection alone, whose session then ends when its last statement has.
    pub(super) fn into_connection(self) -> AsyncPgConnection {
        let _ = self.held.send(());
        self.connection
    }

    /// Keeps the connection, whose statement is cancelled if the guard is dropped.
    pub(super) fn into_cancellable(self) -> (AsyncPgConnection, CancelOnDrop) {
        let _ = self.held.send(());
        (self.connection, CancelOnDrop(Some(self.cancellation)))
    }

    /// Keeps the connection and its notifications.
    pub(super) fn into_listening(self) -> ListeningConnection {
        ListeningConnection {
            connection: self.connection,
            notifications: self.notifications,
            _held: self.held,
        }
    }

    /// Waits up to [`SETTLE_LIMIT`] for the statement under way and for `reset`; returns true if the session can be reused.
    pub(super) async fn settle(&mut self, reset: &'static str) -> bool {
        self.abandoned += 1;
        // Answers come in order, so this one comes after that of the statement under way.
        self.abandoned <= MAX_ABANDONED
            && !self.connection.is_broken()
            && matches!(timeout(SETTLE_LIMIT, self.connection.batch_execute(reset)).await, Ok(Ok(())))
    }

    /// Cancels the statement under way and waits for its end.
    ///
    /// The connection has to stay open meanwhile: PgBouncer drops a cancel request for a client that is gone, and keeps
    /// its own connection busy until the statement has ended.
    pub(super) async fn cancel(&mut self) {
        self.cancellation.send().await;
        // Answers come in order, so this one comes after the statement's.
        if timeout(END_LIMIT, self.connection.batch_execute("")).await.is_err() {
            tracing::debug!("a cancelled statement did not end");
        }
    }
}

impl Cancellation {
    /// Sends a cancel request, within a limit.
    async fn send(&self) {
        if !matches!(timeout(CANCEL_LIMIT, self.attempt()).await, Ok(true)) {
            tracing::debug!("a statement could not be cancelled");
        }
    }

    async fn attempt(&self) -> bool {
        let wire = Wire::default();
        let sent = match self {
            Self::Plain(token) => token.cancel_query(Observing { tls: NoTls, wire }).await,
            Self::Tls(token, tls) => token.cancel_query(tls.clone()).await,
            Self::Unix(token, path) => match UnixStream::connect(path).await {
                Ok(stream) => token.cancel_query_raw(stream, NoTls).await,
                Err(_) => return false,
            },
        };
        sent.is_ok()
    }
}

/// Cancels a statement whose caller has gone, as at a shutdown: the server would go on with it, and with the lock.
pub(super) struct CancelOnDrop(Option<Cancellation>);

impl CancelOnDrop {
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some(cancellation) = self.0.take() else { return };
        // On a runtime of its own, as the other one is about to stop.
        let cancel = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(cancellation.send()))
        });
        let _ = cancel.join();
    }
}

/// Returns the path of a server's Unix socket.
pub(super) fn socket_in(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

/// Drives a connection until its client is dropped, and ends it with Terminate once the last answer has come.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    notifications: mpsc::UnboundedSender<Result<PgNotification, tokio_postgres::Error>>,
    wire: Wire,
    released: oneshot::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let messages = async {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(notification)) => {
                    let _ = notifications.send(Ok(PgNotification {
                        process_id: notification.process_id(),
                        channel: notification.channel().to_owned(),
                        payload: notification.payload().to_owned(),
                    }));
                }
                Ok(_) => {}
                Err(error) => {
                    // Before the connection is dropped, which fails the statements that wait.
                    wire.note_failure(failure(&error));
                    let _ = notifications.send(Err(error));
                    return;
                }
            }
        }
    };
    let given_up = async {
        match released.await {
            Ok(()) => std::future::pending().await,
            Err(_) => sleep(DRAIN_LIMIT).await,
        }
    };
    futures_util::future::select(std::pin::pin!(messages), std::pin::pin!(given_up)).await;
}

fn failure(error: &tokio_postgres::Error) -> Failure {
    let cause = std::error::Error::source(error);
    let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    Failure {
        reason: cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
        timed_out: io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut),
    }
}
