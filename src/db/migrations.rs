//! The migrations, embedded in the binary; the diesel CLI runs the same ones from their folder.

use std::time::Duration;

use anyhow::{Context, anyhow};
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::time::timeout;

use super::{Connector, Error};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The advisory lock under which migrations run, so that processes that start together take turns.
/// The number is arbitrary but the same in all versions; it spells "todo-api" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"todo-api");
/// Time limit for another process's migrations, and for locks on tables.
const LOCK_LIMIT: Duration = Duration::from_mins(1);

/// A migration of this binary and its state in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Folder name, such as `2026-11-23-090000_create_users`.
    pub name: String,
    /// True if it has been run.
    pub applied: bool,
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

/// Runs the pending migrations and returns their names.
pub async fn run(connector: &Connector) -> anyhow::Result<Vec<String>> {
    locked(connector, |harness| {
        let versions = harness.run_pending_migrations(MIGRATIONS).map_err(boxed)?;
        versions.iter().map(name_of).collect()
    })
    .await
}

/// Reverts the last migration and returns its name.
pub async fn revert(connector: &Connector) -> anyhow::Result<String> {
    locked(connector, |harness| {
        let version = harness.revert_last_migration(MIGRATIONS).map_err(boxed)?;
        name_of(&version)
    })
    .await
}

/// Reverts the last migration, runs it again and returns its name.
pub async fn redo(connector: &Connector) -> anyhow::Result<String> {
    locked(connector, |harness| {
        let version = harness.revert_last_migration(MIGRATIONS).map_err(boxed)?;
        harness.run_next_migration(MIGRATIONS).map_err(boxed)?;
        name_of(&version)
    })
    .await
}

/// Runs the first migration alone, which creates helpers for the others, unless it has been run.
pub async fn set_up(connector: &Connector) -> anyhow::Result<()> {
    locked(connector, |harness| {
        if harness.applied_migrations().map_err(boxed)?.is_empty() {
            harness.run_next_migration(MIGRATIONS).map_err(boxed)?;
        }
        Ok(())
    })
    .await
}

/// Lists the migrations of this binary in order.
///
/// Only reads, so that a start works with a role that may not create tables.
pub async fn status(connector: &Connector) -> anyhow::Result<Vec<MigrationStatus>> {
    let mut connection = connector.connect_patiently().await?;
    let applied = timeout(LOCK_LIMIT, applied_versions(&mut connection)).await;
    let applied = applied.context("the list of migrations is locked")??;
    let all = all()?;
    let status = |migration: &dyn Migration<Pg>| MigrationStatus {
        name: migration.name().to_string(),
        applied: applied.contains(&migration.name().version().to_string()),
    };
    Ok(all.iter().map(|migration| status(migration.as_ref())).collect())
}

/// Lists the versions of migrations that the database has and this binary does not know.
pub async fn unknown(connector: &Connector) -> anyhow::Result<Vec<String>> {
    let mut connection = connector.connect().await?;
    let applied = timeout(LOCK_LIMIT, applied_versions(&mut connection)).await;
    let applied = applied.context("the list of migrations is locked")??;
    let known: Vec<_> = all()?.iter().map(|migration| migration.name().version().to_string()).collect();
    Ok(applied.into_iter().filter(|version| !known.contains(version)).collect())
}

async fn applied_versions(connection: &mut AsyncPgConnection) -> Result<Vec<String>, Error> {
    use diesel::QueryDsl;

    diesel::table! {
        __diesel_schema_migrations (version) {
            version -> Text,
        }
    }
    let table = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    ));
    if !table.get_result::<bool>(connection).await? {
        return Ok(Vec::new());
    }
    let versions = __diesel_schema_migrations::table.select(__diesel_schema_migrations::version);
    Ok(versions.load(connection).await?)
}

/// Does work on a connection that holds the lock; closing the connection frees it.
async fn locked<R: Send + 'static>(
    connector: &Connector,
    work: impl FnOnce(&mut Harness) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let mut connection = connector.connect_patiently().await?;
    let limit = LOCK_LIMIT.as_millis();
    // The role's limit is for requests; a change of a large table may take much longer.
    connection.batch_execute(&format!("SET lock_timeout = {limit}; SET statement_timeout = 0")).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
        .map_err(Error::from)
        .context("another process is running migrations")?;
    // The harness blocks its thread.
    tokio::task::spawn_blocking(move || work(&mut Harness::new(connection))).await?
}

fn all() -> anyhow::Result<Vec<Box<dyn Migration<Pg>>>> {
    let mut all = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(boxed)?;
    all.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(all)
}

fn name_of(version: &MigrationVersion<'_>) -> anyhow::Result<String> {
    let all = all()?;
    let migration = all.iter().find(|migration| migration.name().version() == *version);
    Ok(migration.map_or_else(|| version.to_string(), |migration| migration.name().to_string()))
}

fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow!(error)
}
