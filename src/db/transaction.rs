use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};

type Transactions = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// Does work in a transaction that begins with the statements `first`, and calls `on_done` before the commit.
///
/// Not `AsyncConnection::transaction`: that asks for a future that is `Send`, which no bound can say of an async
/// closure's.
pub(super) async fn in_transaction<R>(
    conn: &mut AsyncPgConnection,
    first: Option<&str>,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    on_done: impl FnOnce(),
) -> QueryResult<R> {
    Transactions::begin_transaction(conn).await?;
    let result = async {
        if let Some(statements) = first {
            conn.batch_execute(statements).await?;
        }
        work(conn).await
    };
    match result.await {
        Ok(result) => {
            on_done();
            Transactions::commit_transaction(conn).await?;
            Ok(result)
        }
        Err(error) => match Transactions::rollback_transaction(conn).await {
            // If the connection is lost, the first error says more.
            Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error),
            Err(rollback) => Err(rollback),
        },
    }
}
