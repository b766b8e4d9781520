//! Reads from streaming replicas: users read their own writes.

use std::time::{Duration, Instant};

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::{Value, json};
use todo_api::db::migrations;

use crate::support::{OwnServer, PASSWORD, Proxy, Standby, TestApp, TestDatabase, connector};

const CREATE: &str = "mutation($title: String!) { createTodo(input: { title: $title }) { todo { id } } }";
const TITLES: &str = "{ todos(first: 1) { nodes { title } } }";

/// A server with a replica.
struct Cluster {
    server: OwnServer,
    standby: Standby,
}

impl Cluster {
    async fn start(settings: &str) -> Self {
        let server = OwnServer::start().await;
        migrations::run(&connector(&server.url())).await.unwrap();
        let standby = Standby::of(&server, settings).await;
        Self { server, standby }
    }

    async fn app(&self) -> TestApp {
        let replicas = format!("--database-replica-urls={}", self.standby.url);
        TestApp::on(&self.server.url(), &[&replicas], TestDatabase::empty().await).await
    }

    /// Returns the number of scans of todos on the replica, by its own statistics.
    async fn reads(&self) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let mut conn = connector(&self.standby.url).connect().await.unwrap();
        let query = "SELECT COALESCE(sum(seq_scan + idx_scan), 0)::bigint AS count FROM pg_stat_user_tables
            WHERE relname = 'todos'";
        diesel::sql_query(query).get_result::<Count>(&mut conn).await.unwrap().count
    }

    /// Reads until the replica has served a read.
    async fn wait_until_used(&self, app: &TestApp, token: &str) {
        let before = self.reads().await;
        while self.reads().await == before {
            app.ask_as(token, TITLES, Value::Null).await.data("todos");
        }
    }
}

async fn create(app: &TestApp, token: &str, title: &str) {
    app.ask_as(token, CREATE, json!({ "title": title })).await.data("createTodo");
}

async fn newest(app: &TestApp, token: &str) -> Value {
    let answer = app.ask_as(token, TITLES, Value::Null).await;
    answer.data("todos")["nodes"][0]["title"].clone()
}

#[tokio::test]
async fn users_read_their_own_writes_in_every_process_despite_a_lagging_replica() {
    let cluster = Cluster::start("recovery_min_apply_delay = '3s'").await;
    let one = cluster.app().await;
    let other = cluster.app().await;
    let token = one.register("ada@example.com").await.token();
    assert_eq!(other.me(&token).await.data("me")["email"], "ada@example.com");
    for n in 0..30 {
        let title = format!("todo {n}");
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        create(writer, &token, &title).await;
        assert_eq!(newest(reader, &token).await, title);
        assert_eq!(newest(writer, &token).await, title);
    }
    // Once it has caught up, the replica is used.
    cluster.wait_until_used(&other, &token).await;
    assert_eq!(newest(&one, &token).await, "todo 29");
    let renamed = "mutation { updateProfile(input: { name: \"Countess\" }) { user { name } } }";
    one.ask_as(&token, renamed, Value::Null).await.data("updateProfile");
    assert_eq!(other.me(&token).await.data("me")["name"], "Countess");
}

#[tokio::test]
async fn a_dead_or_paused_replica_is_excluded_and_returns_by_itself() {
    let cluster = Cluster::start("").await;
    let app = cluster.app().await;
    let token = app.register("ada@example.com").await.token();
    create(&app, &token, "first").await;
    cluster.wait_until_used(&app, &token).await;
    // It receives the log and does not replay it.
    cluster.standby.sql("SELECT pg_wal_replay_pause()").await;
    create(&app, &token, "second").await;
    for _ in 0..5 {
        assert_eq!(newest(&app, &token).await, "second");
    }
    cluster.standby.sql("SELECT pg_wal_replay_resume()").await;
    cluster.wait_until_used(&app, &token).await;

    let Cluster { server, standby } = cluster;
    drop(standby);
    for n in 0..5 {
        let title = format!("without {n}");
        create(&app, &token, &title).await;
        assert_eq!(newest(&app, &token).await, title);
    }
    assert_eq!(app.state.database.replica_lags(), [None]);
    drop(server);
}

#[tokio::test]
async fn a_promoted_replica_is_excluded() {
    let cluster = Cluster::start("").await;
    let app = cluster.app().await;
    let token = app.register("ada@example.com").await.token();
    create(&app, &token, "first").await;
    cluster.wait_until_used(&app, &token).await;
    cluster.standby.sql("SELECT pg_promote()").await;
    cluster.standby.sql("UPDATE todos SET title = 'elsewhere'").await;
    // Its state is polled once a second; until then it serves the data it had replayed.
    let left_out = async {
        while app.state.database.replica_lags() != [None] {
            newest(&app, &token).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), left_out).await.unwrap();
    for _ in 0..20 {
        assert_eq!(newest(&app, &token).await, "first");
    }
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once_even_if_the_write_position_cannot_be_stored() {
    let cluster = Cluster::start("").await;
    let app = cluster.app().await;
    let ended = app.register("ada@example.com").await.token();
    let kept = app.login("ada@example.com", PASSWORD).await.token();
    app.me(&ended).await.data("me");
    let mut conn = connector(&cluster.server.url()).connect().await.unwrap();
    conn.batch_execute("ALTER TABLE write_positions RENAME TO unavailable").await.unwrap();
    // The session ends, though the response is an error.
    let answer = app.ask_as(&kept, "mutation { logoutOthers { revokedSessionIds } }", Value::Null).await;
    assert_eq!(answer.code(), "INTERNAL_SERVER_ERROR");
    // A poll could take 0.7 s to notice; this process knows.
    assert_eq!(app.me(&ended).await.code(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_replica_that_vanishes_holds_no_read_for_long() {
    let cluster = Cluster::start("").await;
    let proxy = Proxy::to(cluster.standby.port).await;
    let replicas = format!("--database-replica-urls={}", proxy.url(&cluster.standby.url));
    let app = TestApp::on(&cluster.server.url(), &[&replicas], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    for freezes in [false, true] {
        cluster.wait_until_used(&app, &token).await;
        if freezes {
            proxy.freeze();
        } else {
            proxy.black_hole(true);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let began = Instant::now();
            app.ask_as(&token, TITLES, Value::Null).await.data("todos");
            assert!(began.elapsed() < Duration::from_millis(400), "{freezes}: {:?}", began.elapsed());
        }
        proxy.black_hole(false);
    }
    cluster.wait_until_used(&app, &token).await;
}

#[tokio::test]
async fn a_heavy_read_is_left_to_its_replica() {
    #[derive(diesel::QueryableByName)]
    struct Place {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        there: bool,
    }

    let cluster = Cluster::start("").await;
    let app = cluster.app().await;
    let token = app.register("ada@example.com").await.token();
    cluster.wait_until_used(&app, &token).await;
    let user_id = uuid::Uuid::nil();
    let query = "SELECT pg_is_in_recovery() AS there FROM (SELECT pg_sleep(0.6)) AS slept";
    for _ in 0..3 {
        let read = app
            .state
            .database
            .read_for(user_id, async |conn| diesel::sql_query(query).get_result::<Place>(conn).await);
        assert!(read.await.unwrap().there, "the primary served it");
    }
}

#[tokio::test]
async fn a_write_in_an_outage_waits_once_with_replicas() {
    let cluster = Cluster::start("").await;
    let proxy = Proxy::to(cluster.server.port()).await;
    let replicas = format!("--database-replica-urls={}", cluster.standby.url);
    let flags = [replicas.as_str(), "--database-connect-timeout=4s", "--database-work-timeout=2s"];
    let url = proxy.url(&cluster.server.url());
    let app = TestApp::on(&url, &flags, TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    create(&app, &token, "before").await;
    proxy.black_hole(true);
    let began = Instant::now();
    let answer = app.ask_as(&token, CREATE, json!({ "title": "after" })).await;
    assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
    // Silence for the work's limit, and then what is left for the position of a write that may have happened.
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}
