//! The directory of generated secrets and of the embedded PostgreSQL.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretSlice;

use crate::crypto;

/// Minimum length of a stored secret.
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// The existing data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Opens the given directory or the default one; creates it with mode 0700 if it is missing.
    pub fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let path = given.map_or_else(default_path, |path| Ok(path.to_owned()))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("TODO_DATA_DIR {} cannot be created", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("TODO_DATA_DIR {}", path.display()))?;
        Ok(Self(path))
    }

    /// Returns the absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns a stored secret; generates it on first use.
    pub fn secret(&self, name: &str) -> anyhow::Result<SecretSlice<u8>> {
        let path = self.0.join(name);
        if !path.exists() {
            self.write_new(name, &URL_SAFE_NO_PAD.encode(crypto::random_bytes::<48>()))?;
        }
        let damaged = || format!("{} is damaged; delete it to generate a new one", path.display());
        self.stored_secret(name).with_context(damaged)
    }

    /// Returns a secret that has been generated before.
    pub(crate) fn stored_secret(&self, name: &str) -> anyhow::Result<SecretSlice<u8>> {
        let path = self.0.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
        ensure!(text.trim().len() >= MIN_SECRET_BYTES, "{} is empty or cut off", path.display());
        Ok(text.trim().as_bytes().to_vec().into())
    }

    /// Creates a file with mode 0600 atomically; keeps one that another process has created first.
    fn write_new(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        let draft = self.0.join(format!("{name}.{}", std::process::id()));
        write_private(&draft, text)?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Replaces a file by one with mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        // The mode applies to new files only.
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn default_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        // As root, the embedded PostgreSQL runs as another account, which cannot enter root's home.
        return Ok("/var/lib/todo-api".into());
    }
    if let Some(base) = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|base| base.is_absolute())
    {
        return Ok(base.join("todo-api"));
    }
    let home = std::env::home_dir().context("no home directory; set TODO_DATA_DIR")?;
    let base = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    Ok(home.join(base).join("todo-api"))
}
