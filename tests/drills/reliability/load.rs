use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::TestApp;

/// Number of users, and of clients per user.
const USERS: usize = 4;
const CLIENTS: usize = 2;
/// Pause between two operations of a client.
const PAUSE: Duration = Duration::from_millis(10);
/// Bound on a client's wait, beyond every limit of the service.
const PATIENCE: Duration = Duration::from_secs(40);

/// Clients that read and write while something goes wrong.
pub(super) struct Load {
    tasks: JoinSet<Vec<Outcome>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Successful operations per client.
    served: [AtomicUsize; USERS * CLIENTS],
}

/// Outcome of an operation.
#[derive(Debug)]
struct Outcome {
    client: usize,
    /// Title of the todo to create; `None` for a read.
    title: Option<String>,
    began: Instant,
    ended: Instant,
    /// `OK`, or the code of the error.
    code: String,
}

/// Outcomes of all clients.
#[derive(Debug)]
pub(super) struct Report {
    outcomes: Vec<Outcome>,
}

impl Load {
    pub(super) async fn start(app: &TestApp) -> Self {
        let (mut tasks, shared) = (JoinSet::new(), Arc::new(Shared::default()));
        for user in 0..USERS {
            let token = app.register(&format!("user{user}@example.com")).await.token();
            for n in 0..CLIENTS {
                let client = Client {
                    number: user * CLIENTS + n,
                    http: app.http.clone(),
                    url: app.url("/graphql"),
                    token: token.clone(),
                    outcomes: Vec::new(),
                    shared: Arc::clone(&shared),
                };
                tasks.spawn(client.run());
            }
        }
        let load = Self { tasks, shared };
        // Every client is served before the fault begins.
        load.wait_until_served(10).await;
        load
    }

    /// Ends the load once every client has been served again and has finished its operation.
    pub(super) async fn stop(self) -> Report {
        self.wait_until_served(10).await;
        self.shared.stop.store(true, Ordering::Relaxed);
        Report { outcomes: self.tasks.join_all().await.into_iter().flatten().collect() }
    }
}

impl Load {
    async fn wait_until_served(&self, times: usize) {
        let before: Vec<_> = self.shared.served.iter().map(|served| served.load(Ordering::Relaxed)).collect();
        let waiting = || {
            let now = self.shared.served.iter().map(|served| served.load(Ordering::Relaxed));
            now.zip(&before).any(|(now, before)| now < before + times)
        };
        let began = Instant::now();
        while waiting() {
            assert!(began.elapsed() < PATIENCE * 2, "a client was never served again");
            sleep(PAUSE).await;
        }
    }
}

struct Client {
    number: usize,
    http: reqwest::Client,
    url: String,
    token: String,
    outcomes: Vec<Outcome>,
    shared: Arc<Shared>,
}

impl Client {
    async fn run(mut self) -> Vec<Outcome> {
        for n in 0.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let title = format!("{}-{n}", self.number);
            self.ask("{ me { id } todos(first: 5) { nodes { title } } }", Value::Null, None).await;
            // Every other todo has a client-made id, so that its creation can be repeated until it is answered.
            let repeatable = n % 2 == 0;
            let mut input = json!({ "title": title });
            if repeatable {
                input["id"] = json!(uuid::Uuid::new_v4());
            }
            let create = "mutation($input: CreateTodoInput!) { createTodo(input: $input) { todo { id } } }";
            let variables = json!({ "input": input });
            while !self.ask(create, variables.clone(), Some(&title)).await && repeatable {
                sleep(PAUSE * 5).await;
            }
            sleep(PAUSE).await;
        }
        self.outcomes
    }

    /// Sends an operation; returns true if it succeeds.
    async fn ask(&mut self, query: &str, variables: Value, title: Option<&str>) -> bool {
        let began = Instant::now();
        let request = self
            .http
            .post(&self.url)
            .timeout(PATIENCE)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .json(&json!({ "query": query, "variables": variables }));
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let error = &body["errors"][0]["extensions"];
        let code = if body.get("errors").is_none() { "OK" } else { error["code"].as_str().unwrap() };
        if code == "SERVICE_UNAVAILABLE" {
            assert!(error["retryAfter"].as_u64().is_some(), "{body:#}");
        }
        self.outcomes.push(Outcome {
            client: self.number,
            title: title.map(str::to_owned),
            began,
            ended: Instant::now(),
            code: code.to_owned(),
        });
        if code == "OK" {
            self.shared.served[self.number].fetch_add(1, Ordering::Relaxed);
        }
        code == "OK"
    }
}

impl Report {
    /// Counts the outcomes by code.
    pub(super) fn codes(&self) -> HashMap<&str, usize> {
        let mut codes = HashMap::new();
        for outcome in &self.outcomes {
            *codes.entry(outcome.code.as_str()).or_default() += 1;
        }
        codes
    }

    pub(super) fn slowest(&self) -> Duration {
        self.outcomes.iter().map(|outcome| outcome.ended - outcome.began).max().unwrap_or_default()
    }

    /// Returns the time from an instant until every client had succeeded and the last error was over.
    pub(super) fn normal_after(&self, returned: Instant) -> Duration {
        let last_error =
            self.outcomes.iter().filter(|outcome| outcome.code != "OK").map(|outcome| outcome.ended).max();
        let first_success = |client| {
            let mut later = self.outcomes.iter().filter(|o| o.client == client && o.ended > returned);
            later.find(|outcome| outcome.code == "OK").map(|outcome| outcome.ended)
        };
        let all = (0..USERS * CLIENTS)
            .map(|client| first_success(client).expect("a client was never served again"));
        all.chain(last_error).max().unwrap_or(returned).saturating_duration_since(returned)
    }

    /// Returns the titles of acknowledged todos.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = &str> {
        let made = self.outcomes.iter().filter(|outcome| outcome.code == "OK");
        made.filter_map(|outcome| outcome.title.as_deref())
    }

    pub(super) fn operations(&self) -> usize {
        self.outcomes.len()
    }
}
