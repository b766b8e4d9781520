use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, anyhow, ensure};
use rustix::fs::{Mode, OFlags};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::binaries::Binaries;
use super::{POLL, terminate_group};
use crate::data_dir::{DataDir, MIN_SECRET_BYTES, write_private};
use crate::db::DatabaseUrl;

/// Name of the file with the role's password.
const PASSWORD_FILE: &str = "postgres-password";
/// Name of the role and of the database.
const NAME: &str = "todo_api";
/// Locale for the case of letters outside ASCII; the order stays that of bytes, as on Neon.
const CHARACTER_TYPE: &str = if cfg!(target_os = "macos") { "UTF-8" } else { "C.UTF-8" };
/// Size in bytes at which the server's log is rotated, at a start.
const LOG_LIMIT: u64 = 8 << 20;

/// The files of a server.
pub(super) struct Cluster {
    data_dir: DataDir,
    path: PathBuf,
    account: Account,
    password: String,
}

/// Says how to go on without the password of an existing cluster; a new one would not fit.
fn lost_password(data_dir: &DataDir, reason: &anyhow::Error) -> anyhow::Error {
    let cluster = data_dir.path().join("postgres");
    let file = data_dir.path().join(PASSWORD_FILE);
    anyhow!(
        "the password of the embedded PostgreSQL is lost: {reason:#}. Restore {file} from a backup; or write a new one of \
         {MIN_SECRET_BYTES} characters or more into it, and tell the server, as the owner of {cluster}:\n  echo \
         \"ALTER ROLE {NAME} PASSWORD '...'\" | postgres --single -D {cluster} postgres\n\
         or start afresh with another TODO_DATA_DIR",
        file = file.display(),
        cluster = cluster.display(),
    )
}

/// Returns the major version that created the cluster, if there is one.
pub(super) fn version_of(data_dir: &DataDir) -> anyhow::Result<Option<u32>> {
    let path = data_dir.path().join("postgres/PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().parse().with_context(|| path.display().to_string())?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

impl Cluster {
    /// Opens the cluster; creates it on the first start.
    pub(super) fn open(
        data_dir: &DataDir,
        binaries: &Binaries,
        cancelled: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let path = data_dir.path().join("postgres");
        let exists = path.exists();
        let password = if exists {
            data_dir.stored_secret(PASSWORD_FILE).map_err(|reason| lost_password(data_dir, &reason))?
        } else {
            data_dir.secret(PASSWORD_FILE)?
        };
        let password = String::from_utf8(password.expose_secret().to_vec())?;
        let account = Account::for_directory(&path)?;
        let cluster = Self { data_dir: data_dir.clone(), path, account, password };
        if !exists {
            cluster.create(binaries, cancelled)?;
        }
        Ok(cluster)
    }

    /// Explains that the server refuses the stored password.
    pub(super) fn wrong_password(&self) -> anyhow::Error {
        let reason = anyhow!("the server refuses the one in {PASSWORD_FILE}");
        lost_password(&self.data_dir, &reason)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the cluster under another name first, so that a half-made one is never taken for a complete one.
    fn create(&self, binaries: &Binaries, cancelled: &CancellationToken) -> anyhow::Result<()> {
        tracing::info!("creating a PostgreSQL {} cluster in {}", binaries.version(), self.path.display());
        let draft = self.path.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft).with_context(|| draft.display().to_string())?;
        }
        DirBuilder::new().mode(0o700).create(&draft).with_context(|| draft.display().to_string())?;
        self.account.give(&draft)?;
        let directory = Reachable::new(&draft, self.account)?;
        self.initdb(binaries, &directory, cancelled)?;
        self.create_database(binaries, &directory)?;
        fs::rename(&draft, &self.path)?;
        Ok(())
    }

    fn initdb(
        &self,
        binaries: &Binaries,
        directory: &Reachable,
        cancelled: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new()?;
        temporary.write_all(self.password.as_bytes())?;
        self.account.give(temporary.path())?;
        let password_file = Reachable::new(temporary.path(), self.account)?;
        let mut initdb = self
            .account
            .command(&binaries.program("initdb"))
            .arg("--pgdata")
            .arg(directory.path())
            .arg("--pwfile")
            .arg(password_file.path())
            .args(["--username", NAME, "--auth", "scram-sha-256", "--encoding", "UTF8"])
            .args(["--locale", "C", "--lc-ctype", CHARACTER_TYPE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("initdb can't be run")?;
        while initdb.try_wait()?.is_none() {
            if cancelled.is_cancelled() {
                // It removes what it has written, and so do its children, which are in its group.
                terminate_group(&initdb);
                break;
            }
            std::thread::sleep(POLL);
        }
        let output = initdb.wait_with_output()?;
        ensure!(!cancelled.is_cancelled(), "interrupted");
        ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn create_database(&self, binaries: &Binaries, directory: &Reachable) -> anyhow::Result<()> {
        let mut single = self
            .account
            .command(&binaries.program("postgres"))
            .args(["--single", "-D"])
            .arg(directory.path())
            .args(["-c", "exit_on_error=true", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("postgres can't be run")?;
        if let Some(mut input) = single.stdin.take() {
            input.write_all(format!("CREATE DATABASE {NAME}\n").as_bytes())?;
        }
        let output = single.wait_with_output()?;
        ensure!(
            output.status.success(),
            "creating the database failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Starts the server on a port of the loopback interface.
    pub(super) fn spawn(&self, binaries: &Binaries, port: u16) -> anyhow::Result<Child> {
        let directory = Reachable::new(&self.path, self.account)?;
        let log = self.open_log()?;
        self.account
            .command(&binaries.program("postgres"))
            .arg("-D")
            .arg(directory.path())
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            // The log must not contain the values of requests.
            .args(["-c", "log_min_messages=warning", "-c", "log_min_error_statement=panic"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("postgres can't be run")
    }

    /// True if the server accepts connections, by the file that `pg_ctl` reads for this.
    pub(super) fn is_ready(&self) -> bool {
        let status = fs::read_to_string(self.path.join("postmaster.pid")).unwrap_or_default();
        status.lines().nth(7).is_some_and(|line| line.trim() == "ready")
    }

    /// Writes the server's URL for other programs, in a file that only the owner can read.
    pub(super) fn publish_url(&self, port: u16) -> anyhow::Result<DatabaseUrl> {
        let url = format!("postgresql://{NAME}:{}@127.0.0.1:{port}/{NAME}?sslmode=disable", self.password);
        write_private(&self.url_file(), &format!("{url}\n"))?;
        DatabaseUrl::parse(&url).map_err(anyhow::Error::msg)
    }

    pub(super) fn withdraw_url(&self) {
        let _ = fs::remove_file(self.url_file());
    }

    fn url_file(&self) -> PathBuf {
        self.data_dir.path().join("database-url")
    }

    fn log_file(&self) -> PathBuf {
        self.data_dir.path().join("postgres.log")
    }

    fn open_log(&self) -> anyhow::Result<File> {
        let path = self.log_file();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("{} can't be written", path.display()))?;
        log.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(log)
    }

    pub(super) fn log_mentions(&self, text: &str) -> bool {
        self.end_of_log().contains(text)
    }

    /// Returns the last lines of the server's log.
    pub(super) fn end_of_log(&self) -> String {
        let read = || {
            let mut log = File::open(self.log_file())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(2000)))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }
}

/// A file or directory under a path that the account can open.
///
/// A service that runs as root may keep its data where the account can't enter, below /root for example. On Linux an open
/// file can be reached through `/proc/self/fd` regardless of its parent directories; PostgreSQL and its children inherit
/// the descriptor.
struct Reachable {
    path: PathBuf,
    _open: Option<OwnedFd>,
}

impl Reachable {
    fn new(path: &Path, account: Account) -> anyhow::Result<Self> {
        if account == Account::Same || !cfg!(target_os = "linux") {
            return Ok(Self { path: path.to_owned(), _open: None });
        }
        // Without CLOEXEC, so that the child inherits it.
        let open = rustix::fs::open(path, OFlags::PATH, Mode::empty());
        let open = open.with_context(|| path.display().to_string())?;
        let path = format!("/proc/self/fd/{}", open.as_raw_fd()).into();
        Ok(Self { path, _open: Some(open) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
