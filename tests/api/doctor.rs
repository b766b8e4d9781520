//! `todo-api doctor`, as an operator calls it.

use serde_json::Value;

use crate::support::{Login, OwnServer, Page, RefusingProxy, Service, TestDatabase, connector};
use crate::tls::TlsServer;

#[tokio::test]
async fn a_sound_database_has_notes_at_most() {
    let database = TestDatabase::new().await;
    let page = Page::of(&database.url, &[]);
    assert_eq!(page.code, 0, "{}", page.text);
    for name in [
        "DATABASE_URL",
        "host",
        "TLS",
        "channel binding",
        "connection",
        "pooler",
        "prepared statements",
        "clock",
        "writes",
        "encoding",
        "search_path",
        "server version",
        "pool size",
        "messages",
        "migrations",
    ] {
        page.finding("ok", name);
    }
    page.assert(0, "note", "timeouts", &["ALTER ROLE", "SET statement_timeout = '10s'"]);
    assert!(page.text.contains("for the diesel CLI:\n  export DATABASE_URL=\"postgres"), "{}", page.text);
    assert!(page.text.contains(":$PASSWORD@") && page.text.contains("which is not shown"), "{}", page.text);
    assert!(page.text.lines().count() < 45, "more than a page:\n{}", page.text);
}

#[tokio::test]
async fn json_carries_the_same() {
    let database = TestDatabase::empty().await;
    let page = Page::of(&database.url, &[]);
    let output = Service::run(Service::command().args(["doctor", "--json", &database.url]));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["status"]), (Some(page.code), &Value::from("error")));
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.len() > 10);
    for finding in findings {
        let (status, name) = (finding["status"].as_str().unwrap(), finding["name"].as_str().unwrap());
        let text = page.finding(status, name);
        // Times and the number of connections differ from call to call.
        if !["connection", "pool size"].contains(&name) {
            assert!(text.contains(finding["found"].as_str().unwrap().lines().next().unwrap()), "{text}");
        }
        assert_eq!(text.contains("fix: "), finding["fix"].is_string(), "{text}");
    }
    assert!(json["urls"]["service"].as_str().unwrap().contains(":$PASSWORD@"));
    assert!(json["urls"]["dieselCli"].as_str().unwrap().contains("sslmode="));
}

#[tokio::test]
async fn what_keeps_connections_from_being_opened_is_named() {
    let database = TestDatabase::new().await;
    let url = &database.url;
    let (login, rest) = url.rsplit_once('@').unwrap();
    let (user, _) = login.rsplit_once(':').unwrap();
    let (server, _) = url.split_once('?').unwrap().0.rsplit_once('/').unwrap();
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, parts) in [
        (format!("{user}:wrong-hunter2@{rest}"), ["password authentication failed", "\\password"]),
        (format!("{server}/no_such_database?sslmode=disable"), ["no_such_database", "CREATE DATABASE"]),
        (format!("postgres://u:hunter2@{nobody_listens}/db"), ["refused", "port"]),
        (format!("{url}&options=-c%20no_such_setting%3D1"), ["no_such_setting", "log"]),
    ] {
        Page::of(&url, &[]).assert(2, "error", "connection", &parts);
    }
}

#[tokio::test]
async fn what_a_server_refuses_a_login_for_is_named_with_the_line_that_allows_it() {
    let server = OwnServer::start().await;
    server.sql("CREATE ROLE app NOLOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0").await;
    server.sql("CREATE DATABASE todos ALLOW_CONNECTIONS false").await;
    server.sql("REVOKE CONNECT ON DATABASE todos FROM PUBLIC").await;
    let (_, rest) = server.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("postgresql://app:hunter2@{}", rest.replace("/todo_api", "/todos"));
    for line in [
        "ALTER ROLE \"app\" LOGIN;",
        "ALTER ROLE \"app\" CONNECTION LIMIT -1;",
        "ALTER DATABASE \"todos\" ALLOW_CONNECTIONS true;",
        "GRANT CONNECT ON DATABASE \"todos\" TO \"app\";",
    ] {
        Page::of(&url, &[]).assert(2, "error", "connection", &[line, "SQLSTATE="]);
        server.sql(line).await;
    }
    Page::of(&url, &[]).finding("ok", "connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_connections_are_all_taken_is_named_with_ways_to_free_some() {
    let mut server = OwnServer::start().await;
    server.sql("ALTER SYSTEM SET max_connections = 8").await;
    server.start_again().await;
    server.sql("CREATE ROLE app LOGIN PASSWORD 'hunter2'").await;
    let (_, rest) = server.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("postgresql://app:hunter2@{rest}");
    let mut taken = Vec::new();
    while let Ok(conn) = connector(&url).connect().await {
        taken.push(conn);
    }
    let page = Page::of(&url, &[]);
    page.assert(
        2,
        "error",
        "connection",
        &["max_connections", "pooler", "DATABASE_POOL_SIZE", "pg_stat_activity"],
    );
    taken.truncate(1);
    let settings = [("DATABASE_POOL_SIZE", "1"), ("DATABASE_POOL_OVERFLOW", "3")];
    let finding = Page::of(&url, &settings).finding("warning", "pool size");
    assert!(finding.contains("are in use: 1 by app (todo-api)"), "{finding}");
}

#[tokio::test]
async fn a_server_that_takes_the_next_login_is_looked_at_with_a_warning() {
    let database = TestDatabase::new().await;
    let (_, rest) = database.url.split_once("127.0.0.1:").unwrap();
    let (port, _) = rest.split_once('/').unwrap();
    let refuse = || Login::Refuse("53300", "sorry, too many clients already".into());
    let proxy = RefusingProxy::start(vec![refuse(), refuse()], Login::Pass(port.parse().unwrap()));
    let url = database.url.replace(&format!(":{port}/"), &format!(":{}/", proxy.address.port()));
    let page = Page::of(&url, &[]);
    page.assert(1, "warning", "connection", &["opened after", "too many clients", "max_connections"]);
    page.finding("ok", "migrations");
}

#[test]
fn what_neons_proxy_refuses_is_named_with_the_line_that_fixes_it() {
    for (text, part) in [
        ("Control plane request failed: endpoint is disabled", "\"disabled\":false"),
        ("Control plane request failed: endpoint cannot be found", "there is no endpoint ep-x"),
        ("This IP address 192.0.2.7 is not allowed to connect to this endpoint.", "IP Allow"),
        ("Your account or project has exceeded the compute time quota.", "Billing"),
        ("PROJECT_UNDER_MAINTENANCE", "wait some minutes"),
    ] {
        let proxy = RefusingProxy::refusing("XX000", text);
        let url = neon_url(proxy.address.port(), "");
        Page::of(&url, &[]).assert(2, "error", "connection", &[text, part]);
    }
}

fn neon_url(port: u16, parameters: &str) -> String {
    let host = "ep-x-pooler.c-2.aws.neon.tech";
    format!("postgres://u:hunter2@{host}:{port}/db?hostaddr=127.0.0.1&sslmode=disable{parameters}")
}

#[tokio::test]
async fn a_slow_wake_is_not_blamed_on_channel_binding() {
    let database = TestDatabase::new().await;
    let (login, rest) = database.url.split_once("@127.0.0.1:").unwrap();
    let (port, rest) = rest.split_once('/').unwrap();
    let url_to = |port: u16| {
        let rest = format!("{rest}&hostaddr=127.0.0.1&channel_binding=require");
        format!("{login}@ep-x-pooler.c-2.aws.neon.tech:{port}/{rest}")
    };
    let server = Login::Pass(port.parse().unwrap());
    let settings = [("DATABASE_CONNECT_TIMEOUT", "400ms")];
    // Without TLS nothing can be bound: the server answers, at last, that it can't.
    let proxy = RefusingProxy::start(vec![Login::Ignore, Login::Ignore], server.clone());
    let page = Page::of(&url_to(proxy.address.port()), &settings);
    page.assert(2, "error", "connection", &["remove channel_binding=require"]);
    assert!(!page.finding("error", "connection").contains("12897"));

    let proxy = RefusingProxy::start(vec![Login::Ignore, Login::Ignore], server.clone());
    let url = url_to(proxy.address.port()).replace("&channel_binding=require", "");
    let page = Page::of(&url, &settings);
    page.assert(1, "warning", "connection", &["opened after", "timed out", "DATABASE_CONNECT_TIMEOUT=60s"]);
    page.finding("ok", "migrations");

    let busy = Login::Refuse("XX000", "Couldn't connect to compute node".into());
    let proxy = RefusingProxy::start(vec![busy], server);
    let url = url_to(proxy.address.port()).replace("&channel_binding=require", "");
    Page::of(&url, &[]).finding("note", "connection");
}

#[tokio::test]
async fn a_direct_url_that_is_refused_is_named_by_its_setting() {
    let database = TestDatabase::new().await;
    let (login, rest) = database.url.rsplit_once('@').unwrap();
    let (user, _) = login.rsplit_once(':').unwrap();
    let nobody_listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let missing = directory.path().join("ca.pem");
    for (direct, parts) in [
        (
            format!("postgres://u:hunter2@{nobody_listens}/db"),
            &["refused", "in DATABASE_DIRECT_URL: start the server"][..],
        ),
        (
            "postgres://u:hunter2@no-such-host.invalid/db".into(),
            &["in DATABASE_DIRECT_URL: correct the host no-such-host.invalid"],
        ),
        (format!("{user}:wrong@{rest}"), &["give DATABASE_DIRECT_URL the password of DATABASE_URL"]),
        (
            format!("{login}@{}", rest.replace("todo_test", "no_such")),
            &["in DATABASE_DIRECT_URL:", "CREATE DATABASE"],
        ),
        (
            format!(
                "{}&sslrootcert={}",
                database.url.replace("sslmode=disable", "sslmode=require"),
                missing.display()
            ),
            &["in DATABASE_DIRECT_URL: put the certificate", "ca.pem"],
        ),
    ] {
        let mut command = Service::command();
        command.env("DATABASE_URL", &database.url).env("DATABASE_DIRECT_URL", direct).arg("doctor");
        let page = Page::from(&Service::run(&mut command), &database.url);
        page.assert(2, "error", "direct", parts);
        assert_eq!(page.text.matches("error  ").count(), 1, "one cause, one finding:\n{}", page.text);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:hunter2@{}/db", silent.local_addr().unwrap());
    let page = Page::of(&url, &[("DATABASE_CONNECT_TIMEOUT", "300ms")]);
    page.assert(2, "error", "connection", &["timed out", "firewall"]);
}

#[test]
fn a_url_that_is_wrong_is_put_right_and_looked_at_all_the_same() {
    let nobody = "postgres://u:hunter2@127.0.0.1:1/db";
    let page = Page::of(&format!("{nobody}?sslmode=verify_ca&statement_timeout=5"), &[]);
    let fix = "fix: DATABASE_URL=\"postgres://u:$PASSWORD@127.0.0.1:1/db?sslmode=verify-ca\"";
    page.assert(2, "error", "DATABASE_URL", &["sslmode", "statement_timeout", "ALTER ROLE", fix]);
    page.finding("error", "connection");
    let page = Page::of(&format!("{nobody}?sslcert=x"), &[]);
    page.assert(2, "error", "DATABASE_URL", &["sslcert", "diesel CLI"]);
    let page = Page::of("mysql://u:hunter2@127.0.0.1/db", &[]);
    page.assert(2, "error", "DATABASE_URL", &["postgresql://"]);
}

#[test]
fn hosts_that_neon_would_not_know_are_named() {
    let url = |host: &str| format!("postgres://neondb_owner:hunter2@{host}:1/neondb?hostaddr=127.0.0.1");
    let page = Page::of(&format!("{}&channel_binding=require", url("192.0.2.1")), &[]);
    page.assert(2, "error", "host", &["SNI", "ep-NAME", "hostaddr=192.0.2.1"]);
    let page = Page::of(&url("ep-x-pooler.eu-central-1.aws.neon.teck"), &[]);
    page.finding("warning", "host");
    let page = Page::of(&format!("{}&channel_binding=require", url("ep-x-pooler.c-2.aws.neon.tech")), &[]);
    page.assert(2, "note", "channel binding", &["12897", "@ep-x.c-2.aws.neon.tech:1/"]);
    assert!(
        page.text.contains(
            "for the diesel CLI:\n  export DATABASE_URL=\"postgres://neondb_owner:$PASSWORD@ep-x.c-2"
        )
    );
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_named() {
    let tls = TlsServer::start().await;
    let url = |host: &str, root: &std::path::Path| {
        let parameters = format!("sslmode=require&sslrootcert={}", root.display());
        tls.server.url().replace("127.0.0.1", host).replace("sslmode=disable", &parameters)
    };
    let page = Page::of(&url("localhost", &tls.other_authority), &[]);
    page.assert(2, "error", "connection", &["certificate", "sslrootcert="]);
    assert!(page.finding("error", "connection").contains("other.pem holds another authority"));
    let page = Page::of(&url("127.0.0.1", &tls.authority), &[]);
    page.assert(2, "error", "connection", &["certificate", "name"]);
    for (name, text) in
        [("missing.pem", None), ("empty.pem", Some("")), ("text.pem", Some("not a certificate"))]
    {
        let path = tls.authority.with_file_name(name);
        text.map_or(Ok(()), |text| std::fs::write(&path, text)).unwrap();
        let page = Page::of(&url("localhost", &path), &[]);
        page.assert(
            2,
            "error",
            "connection",
            &[path.to_str().unwrap(), "put the certificate of the authority", "PEM"],
        );
    }
    let page = Page::of(&tls.server.url(), &[]);
    page.assert(2, "error", "connection", &["no encryption", "sslmode=require"]);
    let page = Page::of(&url("localhost", &tls.authority), &[]);
    page.finding("ok", "connection");
}

#[tokio::test]
async fn what_a_role_may_not_do_is_named_with_the_grant() {
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    server.sql("CREATE ROLE app LOGIN PASSWORD 'hunter2'").await;
    let (_, rest) = server.url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("postgresql://app:hunter2@{rest}");
    let page = Page::of(&url, &[]);
    page.assert(2, "error", "role", &["SELECT on", "GRANT SELECT, INSERT, UPDATE, DELETE ON", "TO \"app\";"]);
    page.assert(2, "error", "migrations", &["GRANT SELECT ON __diesel_schema_migrations"]);

    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app").await;
    let page = Page::of(&url, &[]);
    page.assert(0, "note", "role", &["may not create tables", "GRANT CREATE ON SCHEMA \"public\""]);

    server.sql("ALTER ROLE app CONNECTION LIMIT 6").await;
    let page = Page::of(&url, &[]);
    page.assert(2, "error", "pool size", &["16 at most", "the server has 6", "DATABASE_POOL_SIZE=1"]);
}

#[tokio::test]
async fn migrations_that_are_pending_or_unknown_are_named() {
    let database = TestDatabase::empty().await;
    let page = Page::of(&database.url, &[]);
    page.assert(2, "error", "migrations", &["create_users", "todo-api migrate run"]);
    let database = TestDatabase::new().await;
    database.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')").await;
    let page = Page::of(&database.url, &[]);
    page.assert(0, "note", "migrations", &["20991231000000", "upgrade"]);
}

#[tokio::test]
async fn the_services_own_postgresql_is_looked_at_while_it_runs() {
    let dir = tempfile::TempDir::new().unwrap();
    let doctor = || Service::run(Service::command().env("TODO_DATA_DIR", dir.path()).arg("doctor"));
    Page::from(&doctor(), "").assert(2, "error", "DATABASE_URL", &["does not run", "start todo-api"]);
    let service = Service::start(dir.path());
    let page = Page::from(&doctor(), "");
    assert_eq!(page.code, 0, "{}", page.text);
    service.stop();
}

#[test]
fn help_says_what_the_exit_status_means_and_shows_an_example() {
    let output = Service::run(Service::command().args(["doctor", "--help"]));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Exit status: 0") && help.contains("todo-api doctor 'postgresql://"), "{help}");
}
