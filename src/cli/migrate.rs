use clap::Subcommand;

use super::serve::Backend;
use super::user::{bcrypt_rows, describe_remaining};
use super::{print, shutdown_on_signal};
use crate::config::Config;
use crate::db::migrations;
use crate::import;
use crate::models::AccountOverview;

/// Actions on migrations.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Action {
    /// Run pending migrations
    Run,
    /// Revert the last migration
    Revert,
    /// Revert the last migration and run it again
    Redo,
    /// List all migrations
    Status,
    /// Convert the original system's table users in place, and run the other migrations
    Adopt,
}

pub(super) async fn migrate(config: &Config, action: Action) -> anyhow::Result<()> {
    // A signal cancels the work and then stops the embedded PostgreSQL cleanly.
    let shutdown = shutdown_on_signal()?;
    let backend = Backend::attach_or_open(config).await?;
    let result = tokio::select! {
        result = run(config, &backend, action) => result,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    backend.close().await;
    result
}

async fn run(config: &Config, backend: &Backend, action: Action) -> anyhow::Result<()> {
    let connector = backend.direct_connector(config)?;
    match action {
        Action::Run => {
            let names = migrations::run(&connector).await?;
            for name in &names {
                print(&format!("ran {name}\n"));
            }
            if names.is_empty() {
                print("no migration is pending\n");
            }
        }
        Action::Revert => print(&format!("reverted {}\n", migrations::revert(&connector).await?)),
        Action::Redo => print(&format!("reverted and ran {}\n", migrations::redo(&connector).await?)),
        Action::Adopt => {
            migrations::set_up(&connector).await?;
            let mut connection = connector.connect().await?;
            let users = import::adopt(&mut connection).await?;
            let bcrypt = bcrypt_rows(&AccountOverview::count_by_scheme(&mut connection).await?);
            print(&format!("adopted the table users with {users} user(s)\n{}", describe_remaining(bcrypt)));
            migrations::run(&connector).await?.iter().for_each(|name| print(&format!("ran {name}\n")));
        }
        Action::Status => {
            for migration in migrations::status(&connector).await? {
                let state = if migration.applied { "applied" } else { "pending" };
                print(&format!("{state}  {}\n", migration.name));
            }
        }
    }
    Ok(())
}
