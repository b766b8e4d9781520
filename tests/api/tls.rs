//! TLS towards PostgreSQL, with the tests' own certificate authority.

use std::path::PathBuf;

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use todo_api::db::{Connector, DatabaseUrl, Error};

use crate::support::{OwnServer, TestApp, TestDatabase, connector, texts};

pub(crate) struct TlsServer {
    pub(crate) server: OwnServer,
    pub(crate) authority: PathBuf,
    pub(crate) other_authority: PathBuf,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl TlsServer {
    /// Starts a server with a certificate for `localhost` that refuses connections without TLS.
    pub(crate) async fn start() -> Self {
        todo_api::crypto::install_provider();
        let mut server = OwnServer::start().await;
        let trusted = authority();
        let other = authority();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &trusted).unwrap();
        server.write("server.crt", &certificate.pem());
        server.write("server.key", &key.serialize_pem());
        server.write("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
        server.sql("ALTER SYSTEM SET ssl = on").await;
        server.start_again().await;
        let write = |name: &str, pem: String| {
            let path = server.dir.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let authority = write("ca.pem", trusted.pem());
        let other_authority = write("other.pem", other.pem());
        Self { server, authority, other_authority }
    }

    async fn connect(&self, host: &str, parameters: &str) -> Result<bool, String> {
        let url = self.server.url().replace("127.0.0.1", host).replace("sslmode=disable", parameters);
        let url = DatabaseUrl::parse(&url)?;
        let connector =
            Connector::new(&url, std::time::Duration::from_secs(5)).map_err(|error| format!("{error:#}"))?;
        let mut connection = connector.connect().await.map_err(|error| error.to_string())?;
        let query = diesel::sql_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        Ok(query.get_result::<Ssl>(&mut connection).await.unwrap().ssl)
    }
}

#[derive(diesel::QueryableByName)]
struct Ssl {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    ssl: bool,
}

#[tokio::test]
async fn certificates_are_verified_as_the_url_says() {
    let tls = TlsServer::start().await;
    let root = format!("sslrootcert={}", tls.authority.display());
    let other = format!("sslrootcert={}", tls.other_authority.display());
    for (host, parameters, expected) in [
        ("localhost", format!("sslmode=require&{root}"), Ok(true)),
        ("localhost", format!("sslmode=require&channel_binding=require&{root}"), Ok(true)),
        ("localhost", format!("sslmode=verify-full&{root}"), Ok(true)),
        ("127.0.0.1", format!("sslmode=verify-ca&{root}"), Ok(true)),
        ("localhost", root.clone(), Ok(true)),
        ("127.0.0.1", format!("sslmode=verify-full&{root}"), Err("certificate")),
        ("127.0.0.1", format!("sslmode=require&{root}"), Err("certificate")),
        ("localhost", format!("sslmode=require&{other}"), Err("certificate")),
        ("localhost", format!("sslmode=verify-ca&{other}"), Err("certificate")),
        ("localhost", "sslmode=require".to_owned(), Err("certificate")),
        ("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned(), Err("/nowhere.pem")),
        ("localhost", "sslmode=disable".to_owned(), Err("no encryption")),
        ("localhost", format!("sslmode=prefer&{other}"), Err("no encryption")),
    ] {
        match (tls.connect(host, &parameters).await, expected) {
            (Ok(encrypted), Ok(wanted)) => assert_eq!(encrypted, wanted, "{host} {parameters}"),
            (Err(message), Err(wanted)) => {
                assert!(message.contains(wanted), "{host} {parameters}: {message}");
            }
            (result, wanted) => panic!("{host} {parameters}: {result:?} instead of {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn replaced_certificate_authorities_are_used_without_a_restart() {
    let tls = TlsServer::start().await;
    let used = tls.server.dir.path().join("used.pem");
    let put = |from: &PathBuf| std::fs::copy(from, &used).unwrap();
    put(&tls.authority);
    let parameters = format!("sslmode=verify-full&sslrootcert={}", used.display());
    let url = tls.server.url().replace("127.0.0.1", "localhost").replace("sslmode=disable", &parameters);
    let limit = std::time::Duration::from_secs(5);
    let connector = Connector::new(&DatabaseUrl::parse(&url).unwrap(), limit).unwrap();
    let connect = async || connector.connect().await.map(|_| ()).map_err(|error| error.to_string());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let warnings = || String::from_utf8_lossy(&log.0.lock().unwrap()).matches("WARN").count();

    assert_eq!(connect().await, Ok(()));
    put(&tls.other_authority);
    assert!(connect().await.unwrap_err().contains("certificate"));
    put(&tls.authority);
    assert_eq!(connect().await, Ok(()));
    assert_eq!(warnings(), 0);

    // The last good ones stay in use; unusable ones are reported once.
    std::fs::write(&used, "-----BEGIN CERTIFICATE-----\nhalf of").unwrap();
    assert_eq!((connect().await, connect().await, warnings()), (Ok(()), Ok(()), 1));
    std::fs::write(&used, "").unwrap();
    std::fs::remove_file(&used).unwrap();
    assert_eq!((connect().await, warnings()), (Ok(()), 1));
    put(&tls.authority);
    assert_eq!(connect().await, Ok(()));
    std::fs::remove_file(&used).unwrap();
    assert_eq!((connect().await, warnings()), (Ok(()), 2));
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required_and_used_where_it_is_preferred() {
    todo_api::crypto::install_provider();
    let server = OwnServer::start().await;
    let connect = async |parameters: &str| {
        let url = server.url().replace("sslmode=disable", parameters);
        let connector =
            Connector::new(&DatabaseUrl::parse(&url).unwrap(), std::time::Duration::from_secs(5)).unwrap();
        connector.connect().await.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(connect("").await, Ok(()));
    assert_eq!(connect("sslmode=prefer").await, Ok(()));
    assert!(connect("sslmode=require").await.unwrap_err().contains("TLS"));
}

/// Judges errors by code and cancels a statement on connections of an app.
async fn assert_observed(app: &TestApp, direct: &str) {
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'Alles kaputt' USING ERRCODE = '53200'; END $$";
    let work = async |conn: &mut AsyncPgConnection| conn.batch_execute(raise).await;
    let error = app.state.database.write(work).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let database = app.state.database.clone();
    let sleeping = tokio::spawn(async move {
        database.write(async |conn| conn.batch_execute("SELECT pg_sleep(30)").await).await
    });
    let running = "SELECT count(*)::text AS text FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'";
    let wait_for = async |count: &str| {
        let began = std::time::Instant::now();
        while texts(direct, running).await != [count] {
            assert!(began.elapsed() < std::time::Duration::from_secs(5), "not {count}");
        }
    };
    wait_for("1").await;
    sleeping.abort();
    wait_for("0").await;
}

#[tokio::test]
async fn errors_are_judged_and_statements_cancelled_over_tls_and_over_a_unix_socket() {
    let tls = TlsServer::start().await;
    let parameters = format!("sslmode=require&sslrootcert={}", tls.authority.display());
    let url = tls.server.url().replace("127.0.0.1", "localhost").replace("sslmode=disable", &parameters);
    let app = TestApp::on(&url, &[], TestDatabase::empty().await).await;
    assert_observed(&app, &url).await;

    let server = OwnServer::start().await;
    let url = server.url().replace(&format!("127.0.0.1:{}", server.port()), &unix_socket(&server));
    let app = TestApp::on(&url, &[], TestDatabase::empty().await).await;
    assert_observed(&app, &server.url()).await;
}

/// Opens a Unix socket that leads to a server, and returns its host and port as a URL has them.
fn unix_socket(server: &OwnServer) -> String {
    let path = server.dir.path().join(".s.PGSQL.5432");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let dir = server.dir.path().display().to_string().replace('/', "%2F");
    format!("{dir}:5432")
}

#[tokio::test]
async fn hosts_are_reached_however_a_url_names_them() {
    todo_api::crypto::install_provider();
    let server = OwnServer::start().await;
    let socket = unix_socket(&server);
    let tcp = format!("127.0.0.1:{}", server.port());
    for (hosts, parameters) in [
        (socket.clone(), ""),
        (socket.clone(), "target_session_attrs=read-write"),
        (format!("{socket},{tcp}"), ""),
        (format!("127.0.0.1:1,{socket}"), ""),
        (format!("127.0.0.1:1,{tcp}"), "target_session_attrs=read-write"),
        (tcp.replace("127.0.0.1", "nowhere.invalid"), "hostaddr=127.0.0.1"),
        (tcp.replace("127.0.0.1", "nowhere.invalid"), "hostaddr=127.0.0.1&channel_binding=disable"),
    ] {
        for ssl_mode in ["sslmode=disable", "sslmode=prefer"] {
            let url = server.url().replace(&tcp, &hosts);
            let url = url.replace("sslmode=disable", &format!("{ssl_mode}&{parameters}"));
            let connected = connector(&url).connect().await.map(|_| ());
            // The name is not this machine's, so TLS is required.
            let needs_tls = ssl_mode == "sslmode=prefer" && hosts.contains("nowhere");
            assert_eq!(connected.is_ok(), !needs_tls, "{hosts} {ssl_mode} {parameters}: {connected:?}");
        }
    }
}
