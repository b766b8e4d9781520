use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};
use futures_util::FutureExt;

use super::statements::PIPELINED;

type Transactions = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// Does work in a transaction that begins with the statements `limits`, and calls `on_done` before the commit.
///
/// Not `AsyncConnection::transaction`: that asks for a future that is `Send`, which no bound can say of an async
/// closure's.
pub(super) async fn in_transaction<R>(
    conn: &mut AsyncPgConnection,
    limits: Option<&str>,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    on_done: impl FnOnce(),
) -> QueryResult<R> {
    begin(conn, limits).await?;
    let result = work(conn).await;
    if result.is_ok() {
        on_done();
    }
    end(conn, result).await
}

/// Begins a transaction with the statements `limits`.
pub(super) async fn begin(conn: &mut AsyncPgConnection, limits: Option<&str>) -> QueryResult<()> {
    Transactions::begin_transaction(conn).await?;
    if let Some(limits) = limits {
        send_ahead(conn, limits);
    }
    Ok(())
}

/// Ends a transaction: commits it if `result` is a success, and rolls it back otherwise.
pub(super) async fn end<R>(conn: &mut AsyncPgConnection, result: QueryResult<R>) -> QueryResult<R> {
    match result {
        Ok(result) => Transactions::commit_transaction(conn).await.map(|()| result),
        Err(error) => match Transactions::rollback_transaction(conn).await {
            // If the connection is lost, the first error says more.
            Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error),
            Err(rollback) => Err(rollback),
        },
    }
}

/// Does a read; with `limits`, in a transaction that begins with that statement, at the cost of no round trip: nothing waits
/// for the beginning or the end.
///
/// Not by the connection's transaction manager, which would; the read must not begin a transaction itself.
pub(super) async fn in_limits<R>(
    conn: &mut AsyncPgConnection,
    limits: Option<&str>,
    read: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
) -> QueryResult<R> {
    if let Some(limits) = limits {
        send_ahead(conn, &format!("BEGIN; {limits}"));
    }
    let result = read(conn).await;
    if limits.is_some() {
        send_ahead(conn, "COMMIT");
    }
    result
}

/// Sends statements without waiting for their end, right before those that follow (pipelining). If they fail, so do the
/// others: the transaction is aborted.
fn send_ahead(conn: &mut AsyncPgConnection, statements: &str) {
    // The first poll sends; the driver reads on when nothing waits for the answer.
    let _ = conn.batch_execute(&format!("{statements}{PIPELINED}")).now_or_never();
}
