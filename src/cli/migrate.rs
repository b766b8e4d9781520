use clap::Subcommand;

use super::print;
use super::serve::Backend;
use crate::config::Config;
use crate::db::migrations;
use crate::http::Shutdown;

/// What to do with the migrations.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Action {
    /// Run those that are pending
    Run,
    /// Revert the last one
    Revert,
    /// Revert the last one and run it again
    Redo,
    /// List them all
    Status,
}

/// Does it, on the database that `serve` would use.
pub(super) async fn migrate(config: &Config, action: Action) -> anyhow::Result<()> {
    // A signal ends the work, and then the service's own PostgreSQL in order.
    let shutdown = Shutdown::on_signal()?;
    let backend = Backend::open(config).await?;
    let result = tokio::select! {
        result = act(config, &backend, action) => result,
        () = shutdown.requested() => Err(anyhow::anyhow!("stopped before it was done")),
    };
    backend.close().await;
    result
}

async fn act(config: &Config, backend: &Backend, action: Action) -> anyhow::Result<()> {
    let connector = backend.direct_connector(config)?;
    match action {
        Action::Run => {
            let names = migrations::run(&connector).await?;
            for name in &names {
                print(&format!("ran {name}\n"));
            }
            if names.is_empty() {
                print("nothing is pending\n");
            }
        }
        Action::Revert => print(&format!("reverted {}\n", migrations::revert(&connector).await?)),
        Action::Redo => print(&format!("reverted and ran {}\n", migrations::redo(&connector).await?)),
        Action::Status => {
            for migration in migrations::status(&connector).await? {
                let state = if migration.applied { "applied" } else { "pending" };
                print(&format!("{state}  {}\n", migration.name));
            }
        }
    }
    Ok(())
}
