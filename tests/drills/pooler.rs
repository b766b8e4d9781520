//! The service behind PgBouncer in transaction mode, with and without support for prepared statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::{Value, json};
use todo_api::db::pooler::{ProbeError, Route, probe};
use tokio::time::timeout;

use crate::support::{
    Client, Owner, PASSWORD, PgBouncer, Pooling, Proxy, Service, TestApp, TestDatabase, Version, connector,
    texts,
};

/// Poolers that lose prepared statements, with several server connections and with one.
fn losing() -> [Pooling; 4] {
    let old = Pooling { version: Version::Old, ..Pooling::default() };
    let off = Pooling { prepared_statements: 0, ..Pooling::default() };
    [old, Pooling { size: 1, ..old }, off, Pooling { size: 1, ..off }]
}

#[tokio::test]
async fn a_route_is_told_by_how_it_behaves() {
    let database = TestDatabase::new().await;
    assert_eq!(probe(&database.connector()).await.unwrap(), Route::Direct);
    for size in [1, 2, 3] {
        let pgbouncer = PgBouncer::start(&database.url, Pooling { size, ..Pooling::default() });
        assert_eq!(probe(&connector(&pgbouncer.url)).await.unwrap(), Route::Pooled, "{size}");
    }
}

#[tokio::test]
async fn a_pooler_that_loses_prepared_statements_is_recognised() {
    let database = TestDatabase::new().await;
    for pooling in losing() {
        let pgbouncer = PgBouncer::start(&database.url, pooling);
        let route = probe(&connector(&pgbouncer.url)).await;
        assert!(matches!(route, Err(ProbeError::LosesStatements)), "{pooling:?}: {route:?}");
    }
}

#[tokio::test]
async fn the_doctor_names_the_fix_for_such_a_pooler() {
    let database = TestDatabase::new().await;
    for pooling in losing() {
        let pgbouncer = PgBouncer::start(&database.url, pooling);
        let mut command = Service::command();
        command.args(["doctor", &pgbouncer.url]);
        let output = Service::run(&mut command);
        let message = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{pooling:?}: {message}");
        assert!(message.contains("1.21") && message.contains("max_prepared_statements"), "{message}");
    }
}

#[tokio::test]
async fn the_error_of_a_lost_statement_names_the_doctor() {
    let database = TestDatabase::new().await;
    let direct = format!("--database-direct-url={}", database.url);
    let [old, ..] = losing();
    let pgbouncer = PgBouncer::start(&database.url, old);
    let flags = [direct.as_str(), "--database-connect-timeout=2s"];
    let app = TestApp::on(&pgbouncer.url, &flags, database).await;
    let database = &app.state.database;
    // Statements of one name and with different parameters meet on the pooler's few connections.
    let ask = async |has_parameter: bool| {
        loop {
            let work = async |conn: &mut AsyncPgConnection| {
                if has_parameter {
                    let query = diesel::sql_query("SELECT count(*) FROM pg_sleep($1)");
                    query.bind::<diesel::sql_types::Double, _>(0.001).execute(conn).await
                } else {
                    diesel::sql_query("SELECT count(*) FROM pg_sleep(0.001)").execute(conn).await
                }
            };
            if let Err(error) = database.write(work).await {
                return error;
            }
        }
    };
    let asking = futures_util::future::select_all((0..8).map(|n| Box::pin(ask(n % 2 == 0))));
    let (error, ..) = timeout(Duration::from_secs(30), asking).await.expect("a lost statement in time");
    assert!(error.is_outage(), "{error:?}");
    assert!(error.reason().contains("`todo-api doctor`"), "{error:?}");
}

#[tokio::test]
async fn the_service_works_through_a_pooler_with_fewer_connections_than_clients() {
    let database = TestDatabase::new().await;
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let flags = ["--database-pool-size=20", "--database-pool-timeout=30s", "--rate-limits=off"];
    let app = TestApp::on(&pgbouncer.url, &flags, database).await;
    futures_util::future::join_all((0..20).map(async |number| {
        let email = format!("user{number}@example.com");
        app.register(&email).await.data("register");
        let token = app.login(&email, PASSWORD).await.token();
        let owner = Owner { app: &app, token };
        for round in 0..5 {
            let id = owner.create(&format!("todo {round}")).await["id"].clone();
            owner.todo("completeTodo", json!({ "id": id })).await;
            assert_eq!(app.me(&owner.token).await.data("me")["email"], email.as_str());
        }
        let list = owner.ask("{ todos(first: 10) { nodes { completed } } }", Value::Null).await;
        let nodes = list.data("todos")["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 5);
        assert!(nodes.iter().all(|todo| todo["completed"] == true));
    }))
    .await;
}

#[tokio::test]
async fn live_changes_arrive_through_a_pooler_and_past_it() {
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let past = format!("--database-direct-url={}", database.url);
    for flags in [vec![], vec![past.as_str()]] {
        let app = TestApp::on_shared(&pgbouncer.url, &flags, Arc::clone(&database)).await;
        let owner = Owner::new(&app, &format!("ada{}@example.com", flags.len())).await;
        let mut client =
            Client::ready(&app, json!({ "Authorization": format!("Bearer {}", owner.token) })).await;
        client.subscribe("live", "subscription { todoChanged { kind todo { title } } }").await;
        let change = async {
            // Changes before the subscription has begun are not delivered.
            loop {
                owner.create("a").await;
                if let Ok(message) = timeout(Duration::from_secs(3), client.next()).await {
                    return message["todoChanged"].clone();
                }
            }
        };
        let change = timeout(Duration::from_secs(30), change).await.expect("a change in time");
        assert_eq!((&change["kind"], &change["todo"]["title"]), (&json!("CREATED"), &json!("a")));
    }
}

#[tokio::test]
async fn sockets_of_sessions_that_end_are_closed_through_a_pooler_that_passes_nothing_on() {
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let app = TestApp::on_shared(&pgbouncer.url, &[], Arc::clone(&database)).await;
    let other = TestApp::on_shared(&pgbouncer.url, &[], database).await;
    app.register("ada@example.com").await.data("register");
    // One open socket keeps the feed listening while others come and go.
    let token = app.login("ada@example.com", PASSWORD).await.token();
    let _open = Client::ready(&app, json!({ "token": token })).await;
    for _ in 0..5 {
        let token = app.login("ada@example.com", PASSWORD).await.token();
        let mut client = Client::ready(&app, json!({ "token": token })).await;
        other.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
        assert_eq!(timeout(Duration::from_secs(10), client.closed()).await.expect("closed in time").0, 4403);
    }
}

/// Returns the number of statements that run on a database, other than the question itself.
async fn running(database: &TestDatabase) -> usize {
    let query = "SELECT count(*)::text AS text FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()";
    texts(&database.url, query).await[0].parse().unwrap()
}

async fn wait_until_running(database: &TestDatabase, expected: usize) {
    let began = Instant::now();
    while running(database).await != expected {
        assert!(began.elapsed() < Duration::from_secs(5), "{} statements run", running(database).await);
    }
}

#[tokio::test]
async fn statements_that_are_given_up_are_cancelled_through_a_pooler() {
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling { size: 20, ..Pooling::default() });
    let app = TestApp::on_shared(&pgbouncer.url, &[], Arc::clone(&database)).await;
    for _ in 0..5 {
        let sleep = async |conn: &mut AsyncPgConnection| conn.batch_execute("SELECT pg_sleep(30)").await;
        let callers: Vec<_> = (0..15)
            .map(|_| {
                let database = app.state.database.clone();
                tokio::spawn(async move { database.write(sleep).await })
            })
            .collect();
        wait_until_running(&database, 15).await;
        for caller in callers {
            caller.abort();
            let _ = caller.await;
        }
        // They keep their places until the server is done with them.
        wait_until_running(&database, 0).await;
    }
    let log = pgbouncer.log();
    assert!(!log.contains("client unexpected eof"), "{log}");
}

#[tokio::test]
async fn a_write_given_up_at_a_lock_never_takes_effect_through_a_pooler() {
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let port = pgbouncer.url.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(port).await;
    let flags = ["--database-work-timeout=2s", "--database-connect-timeout=2s"];
    let app = TestApp::on_shared(&proxy.url(&pgbouncer.url), &flags, Arc::clone(&database)).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo = ada.create("before").await;
    let version = "SELECT title || ' ' || version AS text FROM todos";
    for swallows in [false, true] {
        let mut holder = database.connect().await;
        holder.batch_execute("BEGIN; SELECT FROM todos FOR UPDATE").await.unwrap();
        let update = ada.call("updateTodo", json!({ "id": todo["id"], "title": "after" }));
        let watch = async {
            wait_until_running(&database, 1).await;
            // Neither the answer nor a cancel request gets through: the server's own limit has to end the wait.
            proxy.black_hole(swallows);
            wait_until_running(&database, 0).await;
        };
        let (answer, ()) = tokio::join!(update, watch);
        assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
        proxy.black_hole(false);
        holder.batch_execute("COMMIT").await.unwrap();
        wait_until_running(&database, 0).await;
        assert_eq!(texts(&database.url, version).await, ["before 1"]);
    }
}

#[tokio::test]
async fn all_statements_have_limits_of_the_servers_own_through_a_pooler() {
    #[derive(diesel::QueryableByName)]
    struct Limit {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }

    const LIMITS: &str = "4s 2s 5s";
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling { size: 1, ..Pooling::default() });
    let flags = ["--database-work-timeout=5s"];
    let app = TestApp::on_shared(&pgbouncer.url, &flags, Arc::clone(&database)).await;
    let limit = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout')) AS text";
    let find = async |conn: &mut AsyncPgConnection| diesel::sql_query(limit).get_result::<Limit>(conn).await;
    for _ in 0..3 {
        assert_eq!(app.state.database.read(find).await.unwrap().text, LIMITS);
        assert_eq!(app.state.database.write(find).await.unwrap().text, LIMITS);
        assert_eq!(app.state.database.write_idempotent(find).await.unwrap().text, LIMITS);
        assert_eq!(app.state.database.transaction(find).await.unwrap().text, LIMITS);
        let fail = async |conn: &mut AsyncPgConnection| conn.batch_execute("SELECT 1/0").await;
        app.state.database.read(fail).await.unwrap_err();
        app.state.database.write(fail).await.unwrap_err();
    }
    // Nothing of it stays behind for other clients of the pooler.
    assert_eq!(texts(&pgbouncer.url, limit).await, ["0 0 0"]);
}

#[tokio::test]
async fn sessions_end_with_a_word_to_the_pooler() {
    let database = Arc::new(TestDatabase::new().await);
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let app = TestApp::on_shared(&pgbouncer.url, &[], database).await;
    futures_util::future::join_all((0..5).map(async |n| app.register(&format!("user{n}@example.com")).await))
        .await;
    app.stop().await;
    let began = Instant::now();
    while !pgbouncer.log().contains("client close request") {
        assert!(began.elapsed() < Duration::from_secs(5), "{}", pgbouncer.log());
        tokio::task::yield_now().await;
    }
    let log = pgbouncer.log();
    assert!(!log.contains("client unexpected eof"), "{log}");
}
