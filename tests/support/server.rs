use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use todo_api::data_dir::DataDir;
use todo_api::db::embedded::EmbeddedPostgres;

use super::database;

static SHARED: OnceLock<Shared> = OnceLock::new();

/// Server shared by all tests: that of `TEST_DATABASE_URL`, or one started for the run.
struct Shared {
    url: String,
    server: Option<(EmbeddedPostgres, ChildStdin)>,
}

fn shared() -> &'static Shared {
    SHARED.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => Shared { url, server: None },
        Err(_) => start(),
    })
}

/// Returns a PostgreSQL program of the shared server's version, or of the `PATH` with `TEST_DATABASE_URL`.
pub(crate) fn program(name: &str) -> PathBuf {
    shared().server.as_ref().map_or_else(|| name.into(), |(server, _)| server.program(name))
}

/// Returns the URL of a database on the shared server.
pub(crate) fn url(database: &str) -> String {
    let shared = shared();
    let (base, query) = shared.url.split_once('?').unwrap_or((&shared.url, ""));
    let (server, _) = base.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{database}?{query}")
}

fn start() -> Shared {
    let dir = TempDir::new().unwrap().keep();
    let started = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = EmbeddedPostgres::start(DataDir::open(Some(&dir)).unwrap(), None).await.unwrap();
            let url = published_url(&dir);
            // Throw-away data needs no durability.
            for setting in ["fsync = off", "full_page_writes = off", "synchronous_commit = off"] {
                execute(&url, &format!("ALTER SYSTEM SET {setting}")).await;
            }
            execute(&url, "SELECT pg_reload_conf()").await;
            let cleaner = clean_up_after_this_process(&dir);
            Shared { url, server: Some((server, cleaner)) }
        })
    });
    started.join().unwrap()
}

/// Starts a shell that stops the server and removes its directory when this process ends, even if killed: the test runner
/// does not drop statics, but the shell's input is closed.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn clean_up_after_this_process(dir: &Path) -> ChildStdin {
    use std::os::unix::process::CommandExt;

    let script = r#"read -r _
        pid=$(head -n 1 "$1/postgres/postmaster.pid") && kill -INT "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        rm -rf "$1""#;
    let mut shell = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(dir)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap()
}

async fn execute(url: &str, sql: &str) {
    use diesel_async::SimpleAsyncConnection;

    database::connector(url).connect().await.unwrap().batch_execute(sql).await.unwrap();
}

fn published_url(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("database-url")).unwrap().trim().to_owned()
}

/// A server for one test, which may stop, kill or reconfigure it.
pub(crate) struct OwnServer {
    pub(crate) dir: TempDir,
    server: Option<EmbeddedPostgres>,
}

impl OwnServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self { dir: TempDir::new().unwrap(), server: None };
        server.start_again().await;
        server
    }

    /// Restarts the server on another port, as after a crash.
    pub(crate) async fn start_again(&mut self) {
        self.server = None;
        let data_dir = DataDir::open(Some(self.dir.path())).unwrap();
        self.server = Some(EmbeddedPostgres::start(data_dir, None).await.unwrap());
    }

    pub(crate) fn url(&self) -> String {
        published_url(self.dir.path())
    }

    pub(crate) fn port(&self) -> u16 {
        let url = self.url();
        let (_, after) = url.rsplit_once("127.0.0.1:").unwrap();
        after.split('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn cluster(&self) -> std::path::PathBuf {
        self.dir.path().join("postgres")
    }

    /// Writes a file into the cluster, owned by the server's account.
    pub(crate) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

        let path = self.cluster().join(name);
        let owner = std::fs::metadata(self.cluster()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    pub(crate) async fn sql(&self, sql: &str) {
        execute(&self.url(), sql).await;
    }

    pub(crate) fn process(&self) -> i32 {
        let text = std::fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Kills the server by SIGKILL.
    pub(crate) fn kill(&self) {
        let killed = Command::new("kill").args(["-KILL", &self.process().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}
