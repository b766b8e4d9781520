use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use todo_api::db::{Connector, DatabaseUrl, migrations};
use tokio::sync::Mutex;

use super::server;

const LIMIT: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(0);
/// A database with all migrations; exists while a test has a copy of it.
static TEMPLATE: Mutex<Weak<Owned>> = Mutex::const_new(Weak::new());

/// A database for one test, dropped with it.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    // Fields drop in this order: the copy before its template.
    _database: Owned,
    _template: Option<Arc<Owned>>,
}

impl TestDatabase {
    /// Creates a database with all migrations.
    pub(crate) async fn new() -> Self {
        let template = template().await;
        let database = Owned::create(&format!("TEMPLATE {}", template.0)).await;
        Self { url: server::url(&database.0), _database: database, _template: Some(template) }
    }

    /// Creates an empty database.
    pub(crate) async fn empty() -> Self {
        let database = Owned::create("").await;
        Self { url: server::url(&database.0), _database: database, _template: None }
    }

    pub(crate) fn connector(&self) -> Connector {
        connector(&self.url)
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        self.connector().connect().await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        execute(&self.url, sql).await;
    }
}

async fn template() -> Arc<Owned> {
    let mut current = TEMPLATE.lock().await;
    if let Some(template) = current.upgrade() {
        return template;
    }
    let template = Arc::new(Owned::create("").await);
    migrations::run(&connector(&server::url(&template.0))).await.unwrap();
    *current = Arc::downgrade(&template);
    template
}

/// Name of a database that is dropped with this value.
struct Owned(String);

impl Owned {
    async fn create(options: &str) -> Self {
        // The process id keeps concurrent runs on one server apart.
        let name = format!("todo_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(&server::url("postgres"), &format!("CREATE DATABASE {name} {options}")).await;
        Self(name)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let drop_it = format!("DROP DATABASE {} WITH (FORCE)", self.0);
        // The test's runtime may be shutting down, so this uses its own.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&server::url("postgres"), &drop_it));
        });
        let _ = done.join();
    }
}

pub(crate) fn connector(url: &str) -> Connector {
    Connector::new(&DatabaseUrl::parse(url).unwrap(), LIMIT).unwrap()
}

async fn execute(url: &str, sql: &str) {
    connector(url).connect().await.unwrap().batch_execute(sql).await.unwrap();
}

/// Returns the column `text` of a query on an app's database.
pub(crate) async fn rows(app: &super::TestApp, sql: &str) -> Vec<String> {
    texts(&app.database.url, sql).await
}

/// Returns the column `text` of a query.
pub(crate) async fn texts(url: &str, sql: &str) -> Vec<String> {
    use diesel_async::RunQueryDsl;

    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let mut conn = connector(url).connect().await.unwrap();
    let rows: Vec<Row> = diesel::sql_query(sql).load(&mut conn).await.unwrap();
    rows.into_iter().map(|row| row.text).collect()
}
