//! One log line for each operation, without secrets.

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, SECRET, Service, TestDatabase};

struct Logged {
    service: Service,
    database: TestDatabase,
}

impl Logged {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::new().await;
        let mut command = Service::command();
        command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET).env("LOG_FORMAT", "json");
        let service = Service::start_command(command.envs(settings.iter().copied()));
        Self { service, database }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address)
    }

    async fn ask(&self, headers: HeaderMap, body: &Value) -> Answer {
        Answer::of(reqwest::Client::new().post(self.url("/graphql")).headers(headers).json(body)).await
    }

    async fn register(&self) -> Answer {
        let query = "mutation Register($input: RegisterInput!) { register(input: $input) {
            user { id } accessToken refreshToken } }";
        let input = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Ada" });
        self.ask(HeaderMap::new(), &json!({ "query": query, "variables": { "input": input } })).await
    }

    async fn fail_to_log_in(&self) {
        let query = "mutation Login { login(input: { email: \"eve@example.com\", password: \"x\" }) { accessToken } }";
        assert_eq!(
            self.ask(HeaderMap::new(), &json!({ "query": query })).await.code(),
            "INVALID_CREDENTIALS"
        );
    }

    /// Stops the service and returns the rest of its log.
    fn stop(mut self) -> Vec<String> {
        self.service.signal("TERM");
        let (status, lines) = self.service.wait();
        assert!(status.success(), "{lines:#?}");
        lines
    }
}

fn operations(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["target"] == "todo_api::operation").collect()
}

#[tokio::test]
async fn each_operation_has_one_line() {
    let logged = Logged::start(&[]).await;
    let registered = logged.register().await;
    let user = registered.data("register")["user"]["id"].clone();
    let headers: HeaderMap =
        [("authorization", format!("Bearer {}", registered.token())), ("x-request-id", "mine.1".to_owned())]
            .into_iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
    let batch = json!([{ "query": "query Me { me { id } }" }, { "query": "{ nonsense }" }]);
    logged.ask(headers, &batch).await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(reqwest::get(logged.url(path)).await.unwrap().status(), 200);
    }

    let lines = logged.stop();
    let mut operations = operations(&lines);
    operations.sort_by_key(|line| line["code"] == "GRAPHQL_VALIDATION_FAILED");
    let [register, me, refused] = operations.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(register["operation"], "Register");
    assert_eq!((&register["kind"], &register["code"]), (&json!("mutation"), &json!("OK")));
    assert_eq!(register["request_id"].as_str().unwrap().len(), 36);
    assert!(register.get("user_id").is_none());
    assert_eq!(
        (&me["operation"], &me["user_id"], &me["request_id"]),
        (&json!("Me"), &user, &json!("mine.1"))
    );
    assert!(me["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(refused.get("operation").is_none());
    assert_eq!((&refused["kind"], &refused["request_id"]), (&json!("query"), &json!("mine.1")));
    assert!(!lines.iter().any(|line| line.contains("/health") || line.contains("/metrics")), "{lines:#?}");
}

#[tokio::test]
async fn every_line_of_a_request_names_it() {
    for (format, expected) in [("json", r#""request_id":"mine.2""#), ("pretty", r#"request_id="mine.2""#)] {
        let logged = Logged::start(&[("LOG_FORMAT", format)]).await;
        logged.register().await;
        logged.database.sql("UPDATE users SET hashed_password = 'no hash'").await;
        let query =
            "mutation { login(input: { email: \"ada@example.com\", password: \"x\" }) { accessToken } }";
        let headers = [(HeaderName::from_static("x-request-id"), "mine.2".parse().unwrap())];
        logged.ask(headers.into_iter().collect(), &json!({ "query": query })).await;
        let lines = logged.stop();
        let line = lines.iter().find(|line| line.contains("a stored password hash can't be used"));
        assert!(line.is_some_and(|line| line.matches(expected).count() == 1), "{lines:#?}");
        let ends = lines.iter().filter(|line| line.contains("INVALID_CREDENTIALS"));
        assert!(ends.map(|line| line.matches(expected).count()).eq([1]), "{lines:#?}");
    }
}

#[tokio::test]
async fn slow_operations_are_flagged() {
    for (limit, slow) in [("400ms", true), ("10m", false)] {
        let logged = Logged::start(&[("SLOW_OPERATION", limit)]).await;
        // Takes half a second.
        logged.fail_to_log_in().await;
        let lines = logged.stop();
        let operations = operations(&lines);
        let [login] = operations.as_slice() else { panic!("{lines:#?}") };
        assert_eq!(login.get("slow").is_some_and(|slow| slow == true), slow, "{login}");
        assert_eq!(login["level"], if slow { "WARN" } else { "INFO" });
    }
}

#[tokio::test]
async fn only_valid_graphql_names_are_logged() {
    let logged = Logged::start(&[]).await;
    for name in ["a\nINFO forged", "\u{1b}[31m", "with space", &"x".repeat(500)] {
        let body = json!({ "query": "query A { __typename } query B { __typename }", "operationName": name });
        logged.ask(HeaderMap::new(), &body).await;
    }
    let names: Vec<_> = operations(&logged.stop()).iter().map(|line| line["operation"].clone()).collect();
    assert_eq!(names, [Value::Null, Value::Null, Value::Null, "x".repeat(64).into()]);
}

#[tokio::test]
async fn nothing_secret_is_logged_at_any_level() {
    let logged = Logged::start(&[("RUST_LOG", "trace,tokio_postgres=trace")]).await;
    let registered = logged.register().await;
    let input = json!({ "email": "ada@example.com", "password": PASSWORD });
    let query = "mutation Login($input: LoginInput!) { login(input: $input) { accessToken refreshToken } }";
    let login = json!({ "query": query, "variables": { "input": input } });
    let login = logged.ask(HeaderMap::new(), &login).await;
    let refresh = login.data("login")["refreshToken"].clone();
    let query =
        "mutation R($token: String!) { refreshSession(input: { refreshToken: $token }) { refreshToken } }";
    let body = json!({ "query": query, "variables": { "token": refresh } });
    let refreshed = logged.ask(HeaderMap::new(), &body).await;

    let log = logged.stop();
    assert_eq!(operations(&log).len(), 3);
    let log = log.join("\n");
    let mut secrets = vec![PASSWORD.to_owned(), "$argon2".to_owned(), SECRET.to_owned()];
    secrets.extend([registered.token(), login.token()]);
    secrets.extend(
        [&registered.data("register")["refreshToken"], &refresh].map(|t| t.as_str().unwrap().to_owned()),
    );
    secrets.push(refreshed.data("refreshSession")["refreshToken"].as_str().unwrap().to_owned());
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}");
    }
}
