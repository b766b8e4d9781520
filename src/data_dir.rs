//! The directory in which the service keeps what it makes itself: secrets and the embedded PostgreSQL.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretSlice;

use crate::crypto;

/// A directory that exists.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Opens the given directory, or the usual one; makes it, for its owner alone, where it is missing.
    pub fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let path = given.map_or_else(default_path, |path| Ok(path.to_owned()))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("TODO_DATA_DIR {} can't be made", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("TODO_DATA_DIR {}", path.display()))?;
        Ok(Self(path))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A secret that is generated when it is first asked for, and the same ever after.
    pub fn secret(&self, name: &str) -> anyhow::Result<SecretSlice<u8>> {
        let path = self.0.join(name);
        if !path.exists() {
            self.write_new(name, &URL_SAFE_NO_PAD.encode(crypto::random_bytes::<48>()))?;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(text.trim().len() >= 32, "{} is damaged; remove it to have a new one made", path.display());
        Ok(text.trim().as_bytes().to_vec().into())
    }

    /// Writes a file for its owner alone, whole or not at all; one that is there already stays.
    fn write_new(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (path, draft) = (self.0.join(name), self.0.join(format!("{name}.{}", std::process::id())));
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

/// Writes a file that only its owner can read, in place of one that is there.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        // The mode counts for new files only.
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} can't be written", path.display()))
}

fn default_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        // The embedded PostgreSQL runs as another account then, which can't enter root's home.
        return Ok("/var/lib/todo-api".into());
    }
    if let Some(base) = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|base| base.is_absolute())
    {
        return Ok(base.join("todo-api"));
    }
    let home = std::env::home_dir().context("there is no home directory; set TODO_DATA_DIR")?;
    let base = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    Ok(home.join(base).join("todo-api"))
}
