use clap::Subcommand;

use super::on_database::on_database;
use super::print;
use super::serve::Backend;
use super::user::{bcrypt_rows, describe_remaining};
use crate::config::Config;
use crate::db::{Adoption, migrations};
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
    /// List all migrations, also those in the database that this version does not know
    Status,
    /// Convert the original system's table users in place, and run the other migrations
    Adopt,
}

pub(super) async fn migrate(config: &Config, action: Action) -> anyhow::Result<()> {
    on_database(config, async |backend| run(config, backend, action).await).await
}

async fn run(config: &Config, backend: &Backend, action: Action) -> anyhow::Result<()> {
    let connector = backend.direct_connector(config)?;
    match action {
        Action::Run => {
            let names = migrations::run(&connector).await?;
            for name in &names {
                print(&format!("ran {name}\n"))?;
            }
            if names.is_empty() {
                print("no migration is pending\n")?;
            }
        }
        Action::Revert => print(&format!("reverted {}\n", migrations::revert(&connector).await?))?,
        Action::Redo => match migrations::redo(&connector).await? {
            Some(name) => print(&format!("reverted and ran {name}\n"))?,
            None => print("no migration has been run\n")?,
        },
        Action::Adopt => {
            let mut adoption = Adoption::begin(&connector).await?;
            let (connection, created) = adoption.parts();
            let users = import::adopt(connection, created).await?;
            let bcrypt = bcrypt_rows(&AccountOverview::count_by_scheme(connection).await?);
            let names = adoption.finish().await?;
            print(&format!("adopted the table users with {users} user(s)\n{}", describe_remaining(bcrypt)))?;
            for name in names {
                print(&format!("ran {name}\n"))?;
            }
        }
        Action::Status => {
            for migration in migrations::status(&connector).await? {
                let state = if migration.applied { "applied" } else { "pending" };
                print(&format!("{state}  {}\n", migration.name))?;
            }
            for version in migrations::unknown(&connector).await? {
                print(&format!("unknown  {version}\n"))?;
            }
        }
    }
    Ok(())
}
