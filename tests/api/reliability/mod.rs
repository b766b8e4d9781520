//! What clients see while the database fails under load: nothing that was acknowledged is lost, nothing is done twice, and
//! all is well again soon after. Each drill prints a row of the table in `docs/reliability.md`.

mod drills;
mod load;

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use self::load::{Load, Report};
use crate::support::{OwnServer, Proxy, TestApp, TestDatabase, connector, texts};

/// By when everything has to be well again. The promise is two seconds; a machine that runs all tests at once gets more.
const NORMAL_WITHIN: Duration = Duration::from_secs(10);

/// A service under load on a server of its own, with a network between them.
struct Drill {
    server: OwnServer,
    proxy: Proxy,
    app: TestApp,
    load: Load,
}

impl Drill {
    async fn start() -> Self {
        Self::with(OwnServer::start().await, &[]).await
    }

    async fn with(server: OwnServer, flags: &[&str]) -> Self {
        todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
        let proxy = Proxy::to(server.port()).await;
        let app = TestApp::on(&proxy.url(&server.url()), flags, TestDatabase::empty().await).await;
        let load = Load::start(&app).await;
        Self { server, proxy, app, load }
    }

    /// The status of a health check.
    async fn health(&self, path: &str) -> u16 {
        self.app.http.get(self.app.url(path)).send().await.unwrap().status().as_u16()
    }

    /// Ends the load some time after the fault was over, and judges; returns what the clients saw.
    async fn end(self, name: &str, returned: Instant) -> Report {
        let report = self.load.stop().await;
        judge(name, &self.server.url(), &report, returned).await;
        self.app.stop().await;
        report
    }
}

/// Counts what is there, prints the row and demands what holds for every drill.
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
        // On a line of its own, also behind what the test runner has begun to write.
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
