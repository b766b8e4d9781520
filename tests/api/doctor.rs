//! `todo-api doctor`, as an operator calls it.

use serde_json::Value;

use crate::support::{OwnServer, Page, Service, TestDatabase, connector};
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
        "server version",
        "pool size",
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
    let page = Page::of(&url("127.0.0.1", &tls.authority), &[]);
    page.assert(2, "error", "connection", &["certificate", "name"]);
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
