use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::account::Account;

/// The oldest supported version: `gen_random_uuid` and `normalize` are in 13, and 14 is the oldest supported.
const OLDEST_MAJOR: u32 = 14;

/// Directories in which packages install the server's programs; `*` stands for a version.
const USUAL_DIRECTORIES: [&str; 10] = [
    "/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
    "/usr/pgsql-*/bin",                                   // Fedora, RHEL: PostgreSQL's own packages
    "/usr/lib64/pgsql/postgresql-*/bin",                  // Fedora: older versions
    "/usr/libexec/postgresql*",                           // Alpine
    "/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
    "/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew on Linux
    "/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
    "/opt/local/lib/postgresql*/bin",                     // MacPorts
    "/usr/local/pgsql/bin",                               // built from source
];

/// The programs of a PostgreSQL server.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    directory: PathBuf,
    version: String,
    major: u32,
}

impl Binaries {
    /// Finds a server of the `wanted` major version, which an existing cluster needs, or else the newest.
    ///
    /// Searches only in the directory `given`, if there is one.
    pub(super) fn find(given: Option<&Path>, wanted: Option<u32>) -> anyhow::Result<Option<Self>> {
        if let Some(directory) = given {
            let found = Self::in_directory(directory);
            let found = found.with_context(|| format!("POSTGRES_BIN_DIR={}", directory.display()))?;
            if wanted.is_some_and(|major| major != found.major) {
                bail!("{}", found.mismatch(wanted));
            }
            return Ok(Some(found));
        }
        let mut found: Vec<Self> =
            candidates().iter().filter_map(|path| Self::in_directory(path).ok()).collect();
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        let fits = |binaries: &&Self| wanted.is_none_or(|major| major == binaries.major);
        match (found.iter().find(fits), found.first()) {
            (Some(binaries), _) => Ok(Some(binaries.clone())),
            (None, Some(other)) if wanted != Some(super::download::MAJOR) => {
                bail!("{}", other.mismatch(wanted))
            }
            (None, None) if wanted.is_some_and(|major| major != super::download::MAJOR) => bail!(
                "the data directory was made by PostgreSQL {}, which is not installed; install that version, or \
                 start afresh with another TODO_DATA_DIR",
                wanted.unwrap_or_default(),
            ),
            _ => Ok(None),
        }
    }

    /// Returns the server in a directory, if the account that will run it can.
    pub(super) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let postgres = directory.join("postgres");
        let account = Account::for_directory(&postgres).unwrap_or(Account::Same);
        let output = account.command(&postgres).arg("--version").output();
        let output = output.with_context(|| format!("{} can't be run", postgres.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let version =
            version.with_context(|| format!("{} is not a PostgreSQL server", postgres.display()))?;
        let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok());
        let major = major.unwrap_or_default();
        if major < OLDEST_MAJOR {
            bail!("{} is version {version}; {OLDEST_MAJOR} or newer is needed", postgres.display());
        }
        if !directory.join("initdb").is_file() {
            bail!("{} has no initdb", directory.display());
        }
        Ok(Self { directory: directory.to_owned(), version: version.to_owned(), major })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    fn mismatch(&self, wanted: Option<u32>) -> String {
        format!(
            "the data directory was made by PostgreSQL {}, but the server found is {} (in {}); install that version, \
             name its directory with POSTGRES_BIN_DIR, or start afresh with another TODO_DATA_DIR",
            wanted.unwrap_or_default(),
            self.version,
            self.directory.display(),
        )
    }
}

/// Lists directories that may contain a server, each once.
fn candidates() -> BTreeSet<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).filter_map(|directory| {
        // Debian links programs into the path; the others are beside the target of the link.
        directory.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned)
    });
    let usual = USUAL_DIRECTORIES.iter().flat_map(|pattern| expand(pattern));
    on_path.chain(pg_config()).chain(usual).filter(|path| path.join("postgres").is_file()).collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().into())
}

/// Expands a pattern with at most one `*` to directories.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.into()];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let matching = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    matching.map(|entry| entry.path().join(after.trim_start_matches('/'))).collect()
}
