use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use tempfile::TempDir;

use super::{OwnServer, connector, program};

const LIMIT: Duration = Duration::from_secs(30);

/// A streaming replica of a server, stopped when dropped.
pub(crate) struct Standby {
    pub(crate) url: String,
    pub(crate) port: u16,
    shell: Child,
    _dir: TempDir,
}

impl Standby {
    /// Clones a server and follows it; `settings` are further lines of its configuration.
    pub(crate) async fn of(primary: &OwnServer, settings: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let owner = std::fs::metadata(primary.cluster()).unwrap();
        let as_owner = |program: &std::path::Path| {
            let mut command = Command::new(program);
            command.current_dir("/").process_group(0);
            if rustix::process::geteuid().is_root() {
                command.uid(owner.uid()).gid(owner.gid());
            }
            command
        };
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let data = dir.path().join("data");
        let copied = as_owner(&program("pg_basebackup"))
            .args(["--checkpoint=fast", "--write-recovery-conf", "--dbname", &primary.url(), "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = data.join("postgresql.auto.conf");
        let settings = format!(
            "{}\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n{settings}\n",
            std::fs::read_to_string(&path).unwrap()
        );
        std::fs::write(&path, settings).unwrap();
        // The shell stops the server when this process ends, even if killed: its input is closed then.
        let shell = as_owner("sh".as_ref())
            .args(["-c", r#""$@" & read -r _; kill -INT $!; wait"#, "sh"])
            .arg(program("postgres"))
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = primary.url().replacen(&format!(":{}/", primary.port()), &format!(":{port}/"), 1);
        let standby = Self { url, port, shell, _dir: dir };
        let began = Instant::now();
        while connector(&standby.url).connect().await.is_err() {
            assert!(began.elapsed() < LIMIT, "the replica does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    pub(crate) async fn sql(&self, sql: &str) {
        connector(&self.url).connect().await.unwrap().batch_execute(sql).await.unwrap();
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
