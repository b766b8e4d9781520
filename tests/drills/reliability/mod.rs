//! Outages of the database under load: no acknowledged write is lost, nothing is done twice, and service is normal soon after.
//! Each drill prints a row of the table in `docs/reliability.md`.

mod drills;
mod load;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use self::load::{Load, Report};
use crate::support::{OwnServer, Proxy, TestApp, TestDatabase, connector, texts};

/// Bound on the time until service is normal, from `docs/reliability.md`: 2 seconds on a calm machine, 10 on any.
const NORMAL_WITHIN: Duration = Duration::from_secs(10);

/// Held by each drill, so that the load of one does not slow another down.
static TURN: Mutex<()> = Mutex::const_new(());

/// A service under load on a server of its own, with a network between them.
struct Drill {
    server: OwnServer,
    proxy: Proxy,
    app: TestApp,
    load: Load,
    _turn: MutexGuard<'static, ()>,
}

impl Drill {
    async fn start() -> Self {
        Self::with(OwnServer::start().await, &[]).await
    }

    async fn with(server: OwnServer, flags: &[&str]) -> Self {
        let turn = TURN.lock().await;
        todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
        let proxy = Proxy::to(server.port()).await;
        let app = TestApp::on(&proxy.url(&server.url()), flags, TestDatabase::empty().await).await;
        let load = Load::start(&app).await;
        Self { server, proxy, app, load, _turn: turn }
    }

    /// Returns the status of a health check.
    async fn health(&self, path: &str) -> u16 {
        self.app.http.get(self.app.url(path)).send().await.unwrap().status().as_u16()
    }

    /// Ends the load after the fault, judges it, and returns the report.
    async fn end(self, name: &str, returned: Instant) -> Report {
        let report = self.load.stop().await;
        judge(name, &self.server.url(), &report, returned).await;
        self.app.stop().await;
        report
    }
}

/// Compares the stored todos with the report, prints the row and asserts the promises of every drill.
async fn judge(name: &str, url: &str, report: &Report, returned: Instant) {
    let there = texts(url, "SELECT title AS text FROM todos").await;
    let distinct: HashSet<_> = there.iter().map(String::as_str).collect();
    let lost: Vec<_> = report.acknowledged().filter(|title| !distinct.contains(title)).collect();
    let twice = there.len() - distinct.len();
    let (codes, normal) = (report.codes(), report.normal_after(returned));
    let errors = |(code, count): (&&str, &usize)| (**code != *"OK").then(|| format!("{count} {code}"));
    let mut errors: Vec<_> = codes.iter().filter_map(errors).collect();
    errors.sort();
    println!(
        // On a line of its own, even after an unfinished line of the test runner.
        "\n| {name} | {} | {} | {:.1} s | {:.1} s | {} | {twice} |",
        report.operations(),
        if errors.is_empty() { "none".into() } else { errors.join(", ") },
        report.slowest().as_secs_f64(),
        normal.as_secs_f64(),
        lost.len(),
    );
    assert!(lost.is_empty(), "acknowledged, but not there: {lost:?}");
    assert_eq!(twice, 0, "done twice");
    for code in codes.keys() {
        assert!(["OK", "SERVICE_UNAVAILABLE"].contains(code), "{codes:?}");
    }
    assert!(normal < NORMAL_WITHIN, "it took {normal:?}");
}
