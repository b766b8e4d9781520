use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::on_database::on_database;
use super::print;
use super::serve::Backend;
use super::user::{bcrypt_rows, describe_remaining};
use crate::config::Config;
use crate::db::{Connector, DatabaseUrl};
use crate::import;
use crate::models::AccountOverview;

/// Import the users of the original system: all or none. Repeatable: existing users are left unchanged.
#[derive(Args, Clone, Debug)]
pub(super) struct Command {
    /// CSV with a header: id, email, hashed_password, name, created_at, updated_at; - for standard input
    #[arg(conflicts_with = "source_database_url", required_unless_present = "source_database_url")]
    file: Option<PathBuf>,

    /// Read from the original system's database instead of a file
    #[arg(long, env = "SOURCE_DATABASE_URL", hide_env_values = true)]
    source_database_url: Option<SecretString>,

    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn import_users(config: &Config, command: Command) -> anyhow::Result<()> {
    let users = read(config, &command).await?;
    on_database(config, async |backend| write(config, backend, &users, command.json).await).await
}

async fn read(config: &Config, command: &Command) -> anyhow::Result<Vec<import::SourceUser>> {
    if let Some(path) = &command.file {
        if path.as_os_str() == "-" {
            return import::from_csv(std::io::stdin().lock());
        }
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        return import::from_csv(file).with_context(|| path.display().to_string());
    }
    let url = command.source_database_url.as_ref().context("a file or SOURCE_DATABASE_URL is required")?;
    let url = DatabaseUrl::parse(url.expose_secret().trim());
    let url = url.map_err(|reason| anyhow!("SOURCE_DATABASE_URL {reason}"))?;
    let mut source = Connector::new(&url, config.database.connect_timeout())?.connect().await?;
    import::from_database(&mut source).await
}

async fn write(
    config: &Config,
    backend: &Backend,
    users: &[import::SourceUser],
    json: bool,
) -> anyhow::Result<()> {
    backend.require_migrations(config).await?;
    let mut conn = backend.direct_connector(config)?.connect().await?;
    let summary = import::import(&mut conn, users).await?;
    let bcrypt = bcrypt_rows(&AccountOverview::count_by_scheme(&mut conn).await?);
    let import::Summary { imported, existing } = summary;
    print(&if json {
        format!("{}\n", json!({ "imported": imported, "alreadyThere": existing, "bcryptHashes": bcrypt }))
    } else {
        format!("imported {imported} user(s); {existing} already existed\n{}", describe_remaining(bcrypt))
    })
}
