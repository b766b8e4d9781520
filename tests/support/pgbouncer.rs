use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tempfile::TempDir;
use tokio_postgres::config::{Config, Host};

const LIMIT: Duration = Duration::from_secs(10);
/// Attempts to find a port that no other process takes meanwhile.
const PORT_TRIES: u32 = 3;

/// Generation of PgBouncer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// 1.21 or newer, which keeps prepared statements in transaction mode.
    Current,
    /// 1.18 to 1.20, which lose them.
    Old,
}

/// Settings of a pooler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pooling {
    pub(crate) version: Version,
    /// Connections to the server.
    pub(crate) size: u32,
    /// Prepared statements kept for each of them; only for [`Version::Current`].
    pub(crate) prepared_statements: u32,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { version: Version::Current, size: 3, prepared_statements: 200 }
    }
}

/// A PgBouncer in transaction mode in front of a database, stopped when dropped.
pub(crate) struct PgBouncer {
    /// URL of the database through it.
    pub(crate) url: String,
    shell: Child,
    dir: TempDir,
}

impl PgBouncer {
    /// Starts one in front of the database that a URL leads to, for the URL's role.
    pub(crate) fn start(url: &str, pooling: Pooling) -> Self {
        let program = program(pooling.version);
        for _ in 0..PORT_TRIES {
            if let Some(started) = Self::try_start(&program, url, pooling) {
                return started;
            }
        }
        panic!("PgBouncer finds no free port");
    }

    fn try_start(program: &Path, url: &str, pooling: Pooling) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server: Config = url.parse().unwrap();
        write_settings(dir.path(), port, &server, pooling);
        let mut shell = spawn(program, dir.path());
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if shell.try_wait().unwrap().is_some() {
                let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                assert!(log.contains("Address already in use"), "PgBouncer did not start:\n{log}");
                return None;
            }
            assert!(began.elapsed() < LIMIT, "PgBouncer is not ready after {LIMIT:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let url = url.replacen(&format!(":{}/", server.get_ports()[0]), &format!(":{port}/"), 1);
        Some(Self { url, shell, dir })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // The shell stops it at the end of its own input.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn write_settings(dir: &Path, port: u16, server: &Config, pooling: Pooling) {
    let Host::Tcp(host) = &server.get_hosts()[0] else { panic!("the server has no address") };
    let password = String::from_utf8(server.get_password().unwrap().to_vec()).unwrap();
    let user = server.get_user().unwrap();
    let keep = match pooling.version {
        Version::Current => format!("max_prepared_statements = {}\n", pooling.prepared_statements),
        Version::Old => String::new(),
    };
    let settings = format!(
        "[databases]\n* = host={host} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
         default_pool_size = {}\nlogfile = {}\nignore_startup_parameters = extra_float_digits\n{keep}",
        server.get_ports()[0],
        dir.join("users").display(),
        pooling.size,
        dir.join("log").display(),
    );
    fs::write(dir.join("settings"), settings).unwrap();
    fs::write(dir.join("users"), format!("\"{user}\" \"{password}\"\n")).unwrap();
}

/// Runs it below a shell that stops it when this process ends, even if killed: the shell's input is closed then.
fn spawn(program: &Path, dir: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", r#""$@" & read -r _; kill -KILL $!; wait"#, "sh"]).arg(program);
    // PgBouncer refuses to run as root.
    if let Some((account, user, group)) = other_account() {
        for path in [dir.to_owned(), dir.join("settings"), dir.join("users")] {
            chown(path, Some(user), Some(group)).unwrap();
        }
        command.args(["-u", &account]);
    }
    // When it ends by itself, so does the shell.
    command.arg("-q").arg(dir.join("settings"));
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Returns name, uid and gid of an unprivileged account, if this process is root.
fn other_account() -> Option<(String, u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
        Some((name.to_owned(), numbers.next()?, numbers.next()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("root needs an account postgres or nobody"))
}

/// Finds the program of a version: `$PGBOUNCER`, on the `PATH`, built before, or built now.
fn program(version: Version) -> PathBuf {
    static FOUND: Mutex<Option<HashMap<Version, PathBuf>>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    found.entry(version).or_insert_with(|| find(version).unwrap_or_else(|| build(version))).clone()
}

fn find(version: Version) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let named = env::var_os("PGBOUNCER").map(PathBuf::from);
    let programs = named.into_iter().chain(directories.map(|directory| directory.join("pgbouncer")));
    programs.into_iter().find(|program| version_of(program) == Some(version))
}

fn version_of(program: &Path) -> Option<Version> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(|part| part.parse().unwrap_or(0));
    let numbers: (u32, u32) = (numbers.next()?, numbers.next()?);
    Some(if numbers >= (1, 21) { Version::Current } else { Version::Old })
}

fn build(version: Version) -> PathBuf {
    let number = if version == Version::Current { "1.24.1" } else { "1.18.0" };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/pgbouncer");
    let output = Command::new(&script).arg(number).output();
    let said = match output {
        Ok(output) if output.status.success() => {
            return String::from_utf8(output.stdout).unwrap().trim().into();
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let needed = if version == Version::Current { "1.21 or newer" } else { "1.18 to 1.20" };
    panic!(
        "these tests need PgBouncer {needed}: install it, or name the program in PGBOUNCER; building it with \
         .ci/pgbouncer {number} failed:\n{said}"
    );
}
