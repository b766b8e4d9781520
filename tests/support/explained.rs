use serde_json::Value;
use todo_api::db::migrations;

use super::{OwnServer, TestApp, TestDatabase, connector};

/// The service on a PostgreSQL server that logs the plan of each statement, with the rows and buffers that it read.
pub(crate) struct Explained {
    pub(crate) server: OwnServer,
    pub(crate) app: TestApp,
}

impl Explained {
    /// Starts both; logs the plans of the service's statements.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts both; also logs the plans of statements of triggers and foreign keys.
    pub(crate) async fn with_nested() -> Self {
        Self::with(&["auto_explain.log_nested_statements = on"]).await
    }

    /// Starts both with further settings of PostgreSQL.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let server = OwnServer::start().await;
        let common = [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
            "auto_explain.log_format = 'json'",
            "jit = off",
        ];
        for setting in common.iter().chain(settings) {
            server.sql(&format!("ALTER ROLE CURRENT_USER SET {setting}")).await;
        }
        migrations::run(&connector(&server.url())).await.unwrap();
        let app = TestApp::on(&server.url(), &["--rate-limits=off"], TestDatabase::empty().await).await;
        Self { server, app }
    }

    /// Returns the position in the log from which [`Self::plans_since`] reads.
    pub(crate) fn mark(&self) -> usize {
        self.log().len()
    }

    /// Returns the plans that were logged since a mark.
    pub(crate) fn plans_since(&self, mark: usize) -> Vec<Value> {
        let log = self.log();
        let plans = log[mark..].split("plan:\n").skip(1).map(|text| {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            values.next().unwrap().unwrap()
        });
        plans.collect()
    }

    /// Returns the statements prepared so far, each with the backend that prepared it; needs
    /// `log_min_duration_statement = 0`.
    pub(crate) fn prepared(&self) -> Vec<(String, String)> {
        let log = self.log();
        let mut prepared = Vec::new();
        let mut backend = "";
        // A part ends with the beginning of the next line, the time and the backend's process id.
        for part in log.split("LOG:  ") {
            let (entry, next) = part.rsplit_once('[').unwrap_or((part, ""));
            if let Some((_, statement)) = entry.split_once(" ms  parse ") {
                let (_, text) = statement.split_once(": ").unwrap();
                let (text, _time) = text.rsplit_once('\n').unwrap();
                prepared.push((backend.to_owned(), text.to_owned()));
            }
            backend = next;
        }
        prepared
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.server.dir.path().join("postgres.log")).unwrap()
    }
}

/// Collects the nodes of a plan that read a table accepted by `of`.
pub(crate) fn collect_scans<'a>(
    plan: &'a Value,
    of: impl Fn(&str) -> bool + Copy,
    found: &mut Vec<&'a Value>,
) {
    if plan["Relation Name"].as_str().is_some_and(of) && plan["Node Type"] != "ModifyTable" {
        found.push(plan);
    }
    plan["Plans"].as_array().into_iter().flatten().for_each(|below| collect_scans(below, of, found));
}

/// Returns the number of rows that a scan read, including those that it filtered out.
pub(crate) fn count_rows_read(scan: &Value) -> f64 {
    let number = |name: &str| scan[name].as_f64().unwrap_or(0.0);
    (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck"))
        * number("Actual Loops")
}

/// Returns true if a scan uses an index with a condition that contains one of the expressions.
pub(crate) fn uses_index_on(scan: &Value, expressions: &[&str]) -> bool {
    let by = |condition: &Value| {
        condition.as_str().is_some_and(|text| expressions.iter().any(|expression| text.contains(expression)))
    };
    let below = scan["Plans"].as_array().into_iter().flatten();
    by(&scan["Index Cond"]) || below.into_iter().any(|bitmap| uses_index_on(bitmap, expressions))
}
