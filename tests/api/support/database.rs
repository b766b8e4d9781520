use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use todo_api::db::{Connector, DatabaseUrl, migrations};
use tokio::sync::OnceCell;

use super::server;

const TEMPLATE: &str = "template";
const LIMIT: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(0);
static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();

/// A database of a test's own, dropped with it.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    name: String,
}

impl TestDatabase {
    /// A database with all migrations, copied from a template that is migrated once a run.
    pub(crate) async fn new() -> Self {
        TEMPLATE_MADE.get_or_init(make_template).await;
        Self::create(&format!("TEMPLATE {}", full_name(TEMPLATE))).await
    }

    /// A database without anything in it.
    pub(crate) async fn empty() -> Self {
        Self::create("").await
    }

    async fn create(options: &str) -> Self {
        let name = full_name(&NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let url = server::url(&name);
        execute(&server::url("postgres"), &format!("CREATE DATABASE {name} {options}")).await;
        Self { url, name }
    }

    pub(crate) fn connector(&self) -> Connector {
        connector(&self.url)
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        self.connector().connect().await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.connect().await.batch_execute(sql).await.unwrap();
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop_it = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // The test's runtime may be ending: this work has its own.
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

async fn make_template() {
    let name = full_name(TEMPLATE);
    let admin = server::url("postgres");
    execute(&admin, &format!("DROP DATABASE IF EXISTS {name}")).await;
    execute(&admin, &format!("CREATE DATABASE {name}")).await;
    migrations::run(&connector(&server::url(&name))).await.unwrap();
}

async fn execute(url: &str, sql: &str) {
    connector(url).connect().await.unwrap().batch_execute(sql).await.unwrap();
}

/// Runs on one server stay apart by their process.
fn full_name(name: &str) -> String {
    format!("todo_test_{}_{name}", std::process::id())
}
