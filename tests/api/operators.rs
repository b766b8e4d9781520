//! `todo-api user`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{PASSWORD, Service, TestApp, TestDatabase};

/// Runs `todo-api user` with text on standard input.
fn user(app: &TestApp, arguments: &[&str], input: &str) -> Output {
    let mut command = Service::command();
    command.env("DATABASE_URL", &app.database.url).arg("user").args(arguments);
    with_input(&mut command, input)
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads no input may have ended already.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

fn value(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn message(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn an_account_is_created_shown_changed_and_deleted() {
    let app = TestApp::start().await;
    let create = ["create", "--email", "ada@example.com", "--name", "Ada", "--json"];
    let made = value(&user(&app, &create, &format!("{PASSWORD}\n")));
    let token = app.login("ada@example.com", PASSWORD).await.token();

    let shown = value(&user(&app, &["show", "ADA@example.com", "--json"], ""));
    assert_eq!((&shown["id"], &shown["passwordHash"]), (&made["id"], &json!("argon2id")));
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);

    let id = made["id"].as_str().unwrap();
    let ended = value(&user(&app, &["revoke-sessions", id, "--json"], ""));
    assert_eq!(ended["revokedSessionIds"].as_array().unwrap().len(), 1);
    let others = "mutation { logoutOthers { revokedSessionIds } }";
    let ended = std::time::Instant::now();
    while app.ask_as(&token, others, Value::Null).await.body.get("errors").is_none() {
        assert!(ended.elapsed() < std::time::Duration::from_secs(1));
    }

    let new = "a quite different horse battery staple";
    value(&user(&app, &["set-password", id, "--json"], new));
    app.login("ada@example.com", new).await.data("login");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");

    assert!(message(&user(&app, &["delete", id], "")).contains("--yes"));
    assert_eq!(value(&user(&app, &["delete", id, "--yes", "--json"], ""))["deletedUserId"], made["id"]);
    assert!(message(&user(&app, &["show", id], "")).contains("no such user"));
}

#[tokio::test]
async fn accounts_are_listed_by_pages_with_the_number_of_bcrypt_hashes() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        app.register(&format!("{name}@example.com")).await.data("register");
    }
    let hash = bcrypt::hash("x", 4).unwrap();
    app.database.sql(&format!("UPDATE users SET hashed_password = '{hash}' WHERE email LIKE 'a%'")).await;
    let first = value(&user(&app, &["list", "--limit", "2", "--json"], ""));
    assert_eq!(
        (&first["total"], &first["bcryptHashes"], &first["hasMore"]),
        (&json!(3), &json!(1), &json!(true))
    );
    let emails = |list: &Value| -> Vec<String> {
        list["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["email"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(emails(&first), ["c@example.com", "b@example.com"]);
    let rest = value(&user(&app, &["list", "--after", "b@example.com", "--json"], ""));
    assert_eq!((emails(&rest), &rest["hasMore"]), (vec!["a@example.com".to_owned()], &json!(false)));
    let text = String::from_utf8(user(&app, &["list"], "").stdout).unwrap();
    assert!(text.contains("3 account(s)\n1 account(s) still have a bcrypt hash"), "{text}");
}

#[tokio::test]
async fn errors_do_not_repeat_passwords() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let create = |email| ["create", "--email", email, "--name", "Ada"];
    assert!(message(&user(&app, &create("ada@example.com"), PASSWORD)).contains("already exists"));
    let weak = message(&user(&app, &create("grace@example.com"), "password1\n"));
    assert!(weak.contains("too easy to guess") && !weak.contains("password1"), "{weak}");
    assert!(message(&user(&app, &create("grace@example.com"), "")).contains("standard input"));
    assert!(message(&user(&app, &["show", "nobody@example.com"], "")).contains("no such user"));
}

/// Runs `todo-api user create` on a database.
fn create_on(url: &str) -> String {
    let mut command = Service::command();
    command.env("DATABASE_URL", url).env("DATABASE_CONNECT_TIMEOUT", "500ms");
    command.args(["user", "create", "--email", "ada@example.com", "--name", "Ada"]);
    message(&with_input(&mut command, PASSWORD))
}

#[tokio::test]
async fn errors_name_what_is_wrong_with_the_input() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let create = |email: &str, name: &str, password: &str| {
        message(&user(&app, &["create", "--email", email, "--name", name], password))
    };
    assert!(create("ada", "Ada", PASSWORD).contains("name@example.com"));
    assert!(create("b@example.com", " ", PASSWORD).contains("name"));
    assert!(create("b@example.com", "B", "short").contains("at least"));
    assert!(create("b@example.com", "B", &"x".repeat(2000)).contains("at most"));
    assert!(create("b@example.com", "B", "\n").contains("standard input"));
    assert!(create("ADA@example.com", "B", PASSWORD).contains("already exists"));
    assert!(message(&user(&app, &["set-password", "ada@example.com"], "short")).contains("at least"));
    assert!(
        message(&user(&app, &["show", "ada"], "")).contains("neither an email address nor an identifier")
    );
}

#[tokio::test]
async fn errors_name_what_is_wrong_with_the_database() {
    let empty = TestDatabase::empty().await;
    let missing = create_on(&empty.url);
    assert!(missing.contains("lacks") && missing.contains("todo-api migrate run"), "{missing}");

    let database = TestDatabase::new().await;
    let role = format!("powerless_{}", std::process::id());
    let grant = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON __diesel_schema_migrations TO {role}"
    );
    database.sql(&grant).await;
    let (_, rest) = database.url.rsplit_once('@').unwrap();
    let denied = create_on(&format!("postgresql://{role}:x@{rest}"));
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    assert!(denied.contains("permission denied for table users"), "{denied}");
    assert!(!denied.contains("Something went wrong"), "{denied}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = create_on(&format!("postgresql://u:p@{closed}/db"));
    assert!(unreachable.contains("unavailable") && unreachable.contains("refused"), "{unreachable}");
}

#[test]
fn the_first_account_can_be_created_before_the_first_start() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", dir.path());
    command.args(["user", "create", "--email", "ada@example.com", "--name", "Ada"]);
    let output = with_input(&mut command, PASSWORD);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!dir.path().join("postgres/postmaster.pid").exists());
}
