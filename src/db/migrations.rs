//! The migrations, embedded in the binary; the diesel CLI runs the same ones from their folder.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use diesel::Connection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::time::timeout;

use super::session::CancelOnDrop;
use super::{Connector, Error, requirements};

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

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

/// A connection for diesel's migrations, which block; used on threads that may.
pub(super) type Harness = AsyncConnectionWrapper<AsyncPgConnection>;

/// Runs the pending migrations and returns their names; fails with the fix if the database or the role is not fit for
/// them.
pub async fn run(connector: &Connector) -> anyhow::Result<Vec<String>> {
    let (mut connection, guard) = lock(connector).await?;
    require_no_obstacle(&mut connection).await?;
    on_thread(connection, guard, |harness| {
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

/// Reverts the last migration, runs it again and returns its name, or `None` if none has been run.
///
/// Does what the diesel CLI does: both in one transaction unless the migration forbids it, and nothing about an earlier
/// migration that is pending.
pub async fn redo(connector: &Connector) -> anyhow::Result<Option<String>> {
    locked(connector, |harness| {
        let Some(last) = harness.applied_migrations().map_err(boxed)?.into_iter().next() else {
            return Ok(None);
        };
        let all = all()?;
        let migration = all.iter().find(|migration| migration.name().version() == last);
        let redo = |harness: &mut Harness| {
            let version = harness.revert_last_migration(MIGRATIONS).map_err(boxed)?;
            migration
                .map(|migration| harness.run_migration(migration.as_ref()))
                .transpose()
                .map_err(boxed)?;
            name_of(&version).map(Some)
        };
        if migration.is_some_and(|migration| !migration.metadata().run_in_transaction()) {
            redo(harness)
        } else {
            harness.transaction(redo)
        }
    })
    .await
}

/// Lists the migrations of this binary in order.
///
/// Only reads, so that a start works with a role that may not create tables.
pub async fn status(connector: &Connector) -> anyhow::Result<Vec<MigrationStatus>> {
    status_on(&mut connector.connect_patiently().await?).await
}

/// Like [`status`], on an open connection.
pub async fn status_on(connection: &mut AsyncPgConnection) -> anyhow::Result<Vec<MigrationStatus>> {
    let applied = timeout(LOCK_LIMIT, applied_versions(connection)).await;
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

/// Fails if something is in the way of pending migrations.
async fn require_no_obstacle(connection: &mut AsyncPgConnection) -> anyhow::Result<()> {
    let status = status_on(connection).await?;
    let pending: Vec<_> = status.iter().filter(|one| !one.applied).map(|one| one.name.as_str()).collect();
    if pending.is_empty() {
        return Ok(());
    }
    let judgements = requirements::judge(connection).await?;
    match requirements::obstacle(&judgements, &pending) {
        Some(obstacle) if obstacle.status == requirements::Status::Error => bail!("{obstacle}"),
        _ => Ok(()),
    }
}

/// Does work on a connection that holds the lock.
async fn locked<R: Send + 'static>(
    connector: &Connector,
    work: impl FnOnce(&mut Harness) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let (connection, guard) = lock(connector).await?;
    on_thread(connection, guard, work).await
}

async fn on_thread<R: Send + 'static>(
    connection: AsyncPgConnection,
    guard: CancelOnDrop,
    work: impl FnOnce(&mut Harness) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let done = tokio::task::spawn_blocking(move || work(&mut Harness::from(connection))).await;
    guard.disarm();
    done?
}

/// Opens a connection that holds the lock, if the database is fit for migrations; closing it frees the lock.
pub(super) async fn lock(connector: &Connector) -> anyhow::Result<(AsyncPgConnection, CancelOnDrop)> {
    let (mut connection, guard) = connector.open_patiently().await?.into_cancellable();
    requirements::require(&requirements::judge(&mut connection).await?, requirements::MIGRATIONS)?;
    let limit = LOCK_LIMIT.as_millis();
    // The role's limit is for requests; a change of a large table may take much longer.
    connection.batch_execute(&format!("SET lock_timeout = {limit}; SET statement_timeout = 0")).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await
        .map_err(Error::from)
        .context("another process is running migrations")?;
    Ok((connection, guard))
}

fn all() -> anyhow::Result<Vec<Box<dyn Migration<Pg>>>> {
    let mut all = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(boxed)?;
    all.sort_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(all)
}

pub(super) fn name_of(version: &MigrationVersion<'_>) -> anyhow::Result<String> {
    let all = all()?;
    let migration = all.iter().find(|migration| migration.name().version() == *version);
    Ok(migration.map_or_else(|| version.to_string(), |migration| migration.name().to_string()))
}

pub(super) fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow!(error)
}
