use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, bail};

/// The account that PostgreSQL runs as, which can't be root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// The service's own account.
    Same,
    /// A different account, since the service runs as root.
    Other { user: u32, group: u32 },
}

impl Account {
    /// Returns the owner of a directory, or an unprivileged account if it does not exist.
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
                "PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as; create \
                 one, start the service as another user, or set DATABASE_URL"
            );
        };
        Ok(account)
    }

    /// Creates a command that runs as this account, in a process group of its own: a Ctrl-C at the terminal reaches only
    /// the service, which stops PostgreSQL after its own work.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/");
        // The environment contains the service's secrets.
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
