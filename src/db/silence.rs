//! Notices connections that are lost though nobody says so: the network goes on to take what is sent, and nothing comes back.
//!
//! Whoever waits for an answer for long asks the server on another connection whether it works on it at all. Slow work goes
//! on; what the server knows nothing of is given up long before its time limit.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::dialer::Dialer;
use super::{Connector, Error};

/// How long an answer may take before it is asked after it, and how long the answer to that may take.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// How long to wait before it is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the server has to have been idle to be believed: between two statements it is, too.
const IDLE: &str = "1 second";

/// The server's process behind a new connection. Only a session that begins with our settings has one of its own: a pooler
/// in transaction mode does not pass them on.
pub(super) async fn process_of(conn: &mut AsyncPgConnection, work: Duration) -> Result<Option<i32>, Error> {
    #[derive(QueryableByName)]
    struct Process {
        #[diesel(sql_type = Integer)]
        id: i32,
        #[diesel(sql_type = Nullable<BigInt>)]
        statement_timeout: Option<i64>,
    }
    let query = "SELECT pg_backend_pid() AS id,
        (SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout' AND source = 'client')
            AS statement_timeout";
    let process = timeout(SILENCE, diesel::sql_query(query).get_result::<Process>(conn)).await;
    let process = process.map_err(|_| Error::timeout("beginning a session"))??;
    let ours = i64::try_from(Connector::statement_limit(work).as_millis()).ok();
    Ok((process.statement_timeout == ours).then_some(process.id))
}

/// Returns once the server says that it does nothing for a connection of ours.
///
/// However many wait, one connection is opened for it at a time.
pub(super) async fn until_forgotten(dialer: &Dialer, asking: &Mutex<()>, process: i32) {
    loop {
        {
            let _turn = asking.lock().await;
            if matches!(timeout(SILENCE, is_forgotten(dialer, process)).await, Ok(Ok(true))) {
                return;
            }
        }
        sleep(AGAIN).await;
    }
}

/// Whether the server does nothing for a process. If so its session is ended: it may hold locks for which others wait.
async fn is_forgotten(dialer: &Dialer, process: i32) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Forgotten {
        #[diesel(sql_type = Bool)]
        forgotten: bool,
    }
    let mut conn = dialer.connect().await?;
    // A process that is not there any more works on nothing.
    let query = format!(
        "SELECT CASE
             WHEN activity.pid IS NULL THEN true
             WHEN state <> 'active' AND state_change < clock_timestamp() - interval '{IDLE}'
                 THEN pg_terminate_backend(activity.pid)
             ELSE false
         END AS forgotten
         FROM (SELECT $1 AS pid) AS ours LEFT JOIN pg_stat_activity AS activity
             ON activity.pid = ours.pid AND usename = current_user AND datname = current_database()"
    );
    let found: Forgotten = diesel::sql_query(query).bind::<Integer, _>(process).get_result(&mut conn).await?;
    Ok(found.forgotten)
}
