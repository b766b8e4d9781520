//! Invalid settings stop the start with their name and the values that are allowed.

use std::process::Output;

use crate::support::Service;

fn start_with(settings: &[(&str, &str)]) -> Output {
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", "/dev/null/nowhere").envs(settings.iter().copied());
    Service::run(&mut command)
}

#[test]
fn an_invalid_value_is_reported_with_the_allowed_ones() {
    for (name, value, allowed) in [
        ("PORT", "70000", "from 0 to 65535"),
        ("PORT", "http", "from 0 to 65535"),
        ("HOST", "example.com", "127.0.0.1"),
        ("APP_ENV", "staging", "production"),
        ("LOG_FORMAT", "xml", "json"),
        ("RUST_LOG", "todo_api=loud", "debug"),
        ("ACCESS_TOKEN_TTL", "15", "15m"),
        ("ACCESS_TOKEN_TTL", "2d", "1day"),
        ("REFRESH_TOKEN_TTL", "soon", "30d"),
        ("MAX_BODY", "1GB", "64KiB"),
        ("MAX_DEPTH", "0", "from 1 to 30"),
        ("INTROSPECTION", "yes", "on"),
        ("TRUSTED_DOCUMENTS", "/nowhere.json", "/nowhere.json"),
        ("REQUEST_TIMEOUT", "0s", "30s"),
        ("CORS_ALLOWED_ORIGINS", "app.example.com", "https://app.example.com"),
        ("MIGRATE_ON_START", "perhaps", "true"),
        ("DATABASE_POOL_SIZE", "0", "from 1 to 1000"),
        ("DATABASE_POOL_OVERFLOW", "-1", "from 0 to 1000"),
        ("DATABASE_CONNECT_TIMEOUT", "10", "30s"),
        ("PASSWORD_HASH_CONCURRENCY", "many", "from 1 to 256"),
        ("JWT_SECRET", "short", "at least 32"),
        ("REDIS_URL", "http://root:hunter2@localhost:6379", "redis://"),
        ("REDIS_URL", "redis://root:hunter2@localhost/first", "redis://"),
        ("REDIS_URL", "rediss://root:hunter2@localhost/#insecure", "redis://"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost/todo", "postgresql://"),
        ("DATABASE_URL", "postgres://u:hunter2@localhost/db?sslmode=on", "verify-full"),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@localhost/db?sslmode=verify-full&sslrootcert=/none.pem",
            "/none.pem",
        ),
    ] {
        // The later start would fail as well, but with another status.
        let secret = ("JWT_SECRET", "a secret of the tests, 32 bytes or more");
        let output = start_with(&[secret, (name, value)]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {message}");
        assert!(message.contains(name) && message.contains(allowed), "{name}={value}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn production_needs_a_secret() {
    let output = start_with(&[("APP_ENV", "production")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("JWT_SECRET") && message.contains("is set"), "{message}");
}

#[test]
fn empty_variables_count_as_unset() {
    let output = start_with(&[("PORT", ""), ("HOST", ""), ("APP_ENV", "production"), ("JWT_SECRET", "")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("JWT_SECRET") && message.contains("is set"), "{message}");
}

#[test]
fn a_dotenv_file_counts_and_a_broken_one_is_not_repeated() {
    let dir = tempfile::TempDir::new().unwrap();
    let run = |text: &str| {
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let mut command = Service::command();
        let output = Service::run(command.current_dir(dir.path()).env_remove("PORT").arg("serve"));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("PORT=70000\n").contains("PORT"));
    let message = run("JWT_SECRET=hunter2 hunter2 hunter2\n");
    assert!(message.contains(".env") && !message.contains("hunter2"), "{message}");
}

#[test]
fn help_lists_every_setting_and_shows_no_value() {
    let mut command = Service::command();
    let output = Service::run(command.arg("--help").env("DATABASE_URL", "postgres://u:hunter2@h/db"));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !help.contains("hunter2"));
    for name in settings_of(include_str!("../../.env.example")) {
        assert!(help.contains(&name), "{name} is in .env.example but not in --help");
    }
    for name in help.split("[env: ").skip(1).filter_map(|rest| rest.split([']', '=']).next()) {
        assert!(
            settings_of(include_str!("../../.env.example")).any(|known| known == name),
            "{name} is not in .env.example"
        );
    }
}

fn settings_of(example: &str) -> impl Iterator<Item = String> {
    let names = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let names: Vec<_> = names.map(|(name, _)| name.to_owned()).collect();
    names.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

#[test]
fn the_schema_is_printed() {
    let output = Service::run(Service::command().arg("schema"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), include_str!("../../schema.graphql"));
}

#[tokio::test]
async fn logs_are_json_when_asked_for_and_hold_no_secrets() {
    let dir = tempfile::TempDir::new().unwrap();
    let secret = "hunter2 hunter2 hunter2 hunter2 hunter2";
    let mut command = Service::command();
    command
        .env("TODO_DATA_DIR", dir.path())
        .env("LOG_FORMAT", "json")
        .env("RUST_LOG", "trace")
        .env("JWT_SECRET", secret);
    let mut service = Service::start_command(&mut command);
    let password = std::fs::read_to_string(dir.path().join("postgres-password")).unwrap();
    let register = "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
        password: \"correct horse battery staple\" }) { accessToken refreshToken } }";
    let session = service.ask(register).await["data"]["register"].clone();
    service.signal("TERM");
    let (_, lines) = service.wait();
    assert!(!lines.is_empty());
    for line in &lines {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
    let log = lines.join("\n");
    let token = |name: &str| session[name].as_str().unwrap().to_owned();
    let bytes = format!("{:?}", &todo_api::crypto::sha256(token("refreshToken").as_bytes())[..4]);
    for secret in [
        secret,
        bytes.trim_end_matches(']'),
        "$argon2id$",
        password.trim(),
        "correct horse",
        &token("accessToken"),
        &token("refreshToken"),
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
