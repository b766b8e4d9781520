//! The database's migrations, embedded in the binary; the diesel CLI runs the same ones from the folder.

use std::time::Duration;

use anyhow::{Context, anyhow};
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use tokio::time::timeout;

use super::Connector;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The advisory lock under which migrations run, so that processes that start together take turns.
/// Any number does as long as all versions agree on it; this one spells "todo-api" in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"todo-api");
/// How long to wait for another process's migrations, and for locks on tables.
const LOCK_LIMIT: Duration = Duration::from_mins(1);

/// A migration of this binary and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Folder name, such as `2026-11-23-090000_create_users`.
    pub name: String,
    /// Whether it has been run.
    pub applied: bool,
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

/// Runs what is pending and returns the names.
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

/// Runs the first migration alone, which makes helpers for the others, unless it has been run.
pub async fn set_up(connector: &Connector) -> anyhow::Result<()> {
    locked(connector, |harness| {
        if harness.applied_migrations().map_err(boxed)?.is_empty() {
            harness.run_next_migration(MIGRATIONS).map_err(boxed)?;
        }
        Ok(())
    })
    .await
}

/// All migrations of this binary in order.
///
/// Only reads, so that a start asks nothing of a role that may not create tables.
pub async fn status(connector: &Connector) -> anyhow::Result<Vec<Status>> {
    let mut connection = connector.connect_patiently().await?;
    let applied = timeout(LOCK_LIMIT, applied_versions(&mut connection)).await;
    let applied = applied.context("the list of migrations is locked")??;
    let all = all()?;
    let status = |migration: &dyn Migration<Pg>| Status {
        name: migration.name().to_string(),
        applied: applied.contains(&migration.name().version().to_string()),
    };
    Ok(all.iter().map(|migration| status(migration.as_ref())).collect())
}

/// Versions of migrations that the database has and this binary does not know.
pub async fn unknown(connector: &Connector) -> anyhow::Result<Vec<String>> {
    let mut connection = connector.connect().await?;
    let applied = timeout(LOCK_LIMIT, applied_versions(&mut connection)).await;
    let applied = applied.context("the list of migrations is locked")??;
    let known: Vec<_> = all()?.iter().map(|migration| migration.name().version().to_string()).collect();
    Ok(applied.into_iter().filter(|version| !known.contains(version)).collect())
}

async fn applied_versions(connection: &mut AsyncPgConnection) -> diesel::QueryResult<Vec<String>> {
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
    versions.load(connection).await
}

/// Works on a connection of its own that holds the lock; closing it frees the lock.
async fn locked<R: Send + 'static>(
    connector: &Connector,
    work: impl FnOnce(&mut Harness) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let mut connection = connector.connect_patiently().await?;
    let limit = LOCK_LIMIT.as_millis();
    // The role's limit is meant for requests; changing a large table takes as long as it takes.
    connection.batch_execute(&format!("SET lock_timeout = {limit}; SET statement_timeout = 0")).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
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
