//! Migrations on a database that has tables of another system.

use anyhow::{Context, bail};
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use diesel_migrations::MigrationHarness;

use super::migrations::{Harness, MIGRATIONS, boxed, lock, name_of};
use super::session::CancelOnDrop;
use super::{Connector, Error};

/// Schema in which the migrations are run to see what they create.
const REHEARSAL: &str = "todo_api_rehearsal";

/// A transaction that takes a database over: all of it is done, or nothing. Dropping it reverts everything.
pub struct Adoption {
    connection: AsyncPgConnection,
    guard: CancelOnDrop,
    created: Created,
}

/// Objects that the migrations create, in alphabetical order, without diesel's own.
#[derive(Clone, Debug, Default)]
pub struct Created {
    /// Names of tables and indexes.
    pub relations: Vec<String>,
    /// Functions, such as `f(uuid, text)`.
    pub functions: Vec<String>,
}

impl Adoption {
    /// Begins the transaction, under the lock of the migrations. The first migration, which creates helpers for the others,
    /// has been run in it.
    pub async fn begin(connector: &Connector) -> anyhow::Result<Self> {
        let (mut connection, guard) = lock(connector).await?;
        AnsiTransactionManager::begin_transaction(&mut connection).await.map_err(Error::from)?;
        let (connection, created) = with_harness(connection, |harness| {
            require_create(harness)?;
            let created = rehearse(harness).context("cannot try the migrations in a schema of their own")?;
            if harness.applied_migrations().map_err(boxed)?.is_empty() {
                harness.run_next_migration(MIGRATIONS).map_err(boxed)?;
            }
            Ok(created)
        })
        .await?;
        Ok(Self { connection, guard, created })
    }

    /// Returns the connection, within the transaction, and what the migrations will create.
    pub fn parts(&mut self) -> (&mut AsyncPgConnection, &Created) {
        (&mut self.connection, &self.created)
    }

    /// Runs the pending migrations and commits; returns the names of the migrations.
    pub async fn finish(self) -> anyhow::Result<Vec<String>> {
        let (mut connection, names) = with_harness(self.connection, |harness| {
            let versions = harness.run_pending_migrations(MIGRATIONS).map_err(boxed)?;
            versions.iter().map(name_of).collect::<anyhow::Result<Vec<_>>>()
        })
        .await?;
        AnsiTransactionManager::commit_transaction(&mut connection).await.map_err(Error::from)?;
        self.guard.disarm();
        Ok(names)
    }
}

/// Runs migrations on a connection, on a thread that may block.
async fn with_harness<R: Send + 'static>(
    connection: AsyncPgConnection,
    work: impl FnOnce(&mut Harness) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<(AsyncPgConnection, R)> {
    tokio::task::spawn_blocking(move || {
        let mut harness = Harness::from(connection);
        let result = work(&mut harness)?;
        Ok((harness.into_inner(), result))
    })
    .await?
}

/// Fails if the role may not create the schema of the rehearsal.
fn require_create(harness: &mut Harness) -> anyhow::Result<()> {
    #[derive(QueryableByName)]
    struct Grant {
        #[diesel(sql_type = Text)]
        line: String,
    }
    let grants =
        "SELECT format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) AS line
        WHERE NOT has_database_privilege(current_database(), 'CREATE')";
    match diesel::sql_query(grants).load::<Grant>(harness)?.pop() {
        Some(Grant { line }) => {
            bail!("the role may not create a schema to try the migrations in\nfix: {line}")
        }
        None => Ok(()),
    }
}

/// Runs all migrations in a schema of their own, lists what they create there, and reverts it.
fn rehearse(harness: &mut Harness) -> anyhow::Result<Created> {
    #[derive(QueryableByName)]
    struct Object {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Text)]
        name: String,
    }
    let list = format!(
        "SELECT 'relation' AS kind, relname::text AS name FROM pg_class
             WHERE relnamespace = '{REHEARSAL}'::regnamespace AND relname NOT LIKE '%diesel\\_%'
         UNION ALL
         SELECT 'function', format('%s(%s)', proname, oidvectortypes(proargtypes)) FROM pg_proc
             WHERE pronamespace = '{REHEARSAL}'::regnamespace AND proname NOT LIKE 'diesel\\_%'
         ORDER BY name"
    );
    let mut created = Created::default();
    let rehearsal = harness.transaction(|harness| {
        harness.batch_execute(&format!("CREATE SCHEMA {REHEARSAL}; SET LOCAL search_path = {REHEARSAL}"))?;
        harness.run_pending_migrations(MIGRATIONS).map_err(boxed)?;
        for Object { kind, name } in diesel::sql_query(list).load::<Object>(harness)? {
            if kind == "relation" { created.relations.push(name) } else { created.functions.push(name) }
        }
        Err::<(), _>(anyhow::Error::from(diesel::result::Error::RollbackTransaction))
    });
    match rehearsal {
        Err(error) if error.is::<diesel::result::Error>() && !created.relations.is_empty() => Ok(created),
        Err(error) => Err(error),
        Ok(()) => Ok(created),
    }
}
