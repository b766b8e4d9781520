use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, bail};

/// The account that PostgreSQL runs as: it refuses root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The one that the service runs as.
    Same,
    /// Another, since the service runs as root.
    Other { user: u32, group: u32 },
}

impl Account {
    /// The account for a directory: its owner where it exists, or else one that is meant for such things.
    pub(super) fn for_directory(path: &Path) -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Same);
        }
        match fs::metadata(path) {
            Ok(directory) if directory.uid() != 0 => {
                Ok(Self::Other { user: directory.uid(), group: directory.gid() })
            }
            _ => Self::unprivileged(),
        }
    }

    fn unprivileged() -> anyhow::Result<Self> {
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let find = |name: &str| {
            let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut numbers = line.split(':').skip(2).map(str::parse);
            Some(Self::Other { user: numbers.next()?.ok()?, group: numbers.next()?.ok()? })
        };
        let Some(account) = find("postgres").or_else(|| find("nobody")) else {
            bail!(
                "PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as; make \
                 one, start the service as another user, or set DATABASE_URL"
            );
        };
        Ok(account)
    }

    /// A command that runs as this account, in a process group of its own: a Ctrl-C at the terminal is for the
    /// service alone, which stops PostgreSQL when it is done with it.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/");
        // Our secrets are none of its business.
        command.env_clear().envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "TZ"));
        if let Self::Other { user, group } = self {
            // Also drops the supplementary groups.
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a file or directory to this account.
    pub(super) fn give(self, path: &Path) -> anyhow::Result<()> {
        if let Self::Other { user, group } = self {
            chown(path, Some(user), Some(group)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}
