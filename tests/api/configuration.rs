//! Invalid settings stop the start with their name and the values that are allowed.

use std::process::Output;

use crate::support::{Service, TestDatabase};

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
        ("RUST_LOG", "warning", "warn"),
        ("RUST_LOG", "verbose", "warn"),
        ("RUST_LOG", "none", "off"),
        ("RUST_LOG", "warn,todo_api=debugg", "debug"),
        ("RUST_LOG", "todo-api=debug", "todo_api::"),
        ("RUST_LOG", "hyper", "hyper=trace"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy", "10.0.0.0/8"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com,app.example.com", "https://app.example.com"),
        ("JWT_KEY_FILES", ",/nowhere.pem,", "/nowhere.pem"),
        ("DATABASE_REPLICA_URLS", "postgres://u:hunter2@h/db,mysql://u:hunter2@h/db", "postgresql://"),
        ("DATABASE_REPLICA_URLS", "\"postgres://u:hunter2@h/db\"", "quotes"),
        ("DATABASE_URL", "\"postgres://u:hunter2@h/db\"", "quotes"),
        ("DATABASE_URL", "'postgres://u:hunter2@h/db'", "quotes"),
        ("DATABASE_DIRECT_URL", "\"postgres://u:hunter2@h/db\"", "quotes"),
        ("REDIS_URL", "\"redis://u:hunter2@h\"", "quotes"),
        ("PORT", "\"8000\"", "quotes"),
        ("APP_ENV", "'production'", "quotes"),
        ("JWT_ISSUER", "\"todo-api\"", "quotes"),
        ("TODO_DATA_DIR", "\"/var/lib/todo-api\"", "quotes"),
        ("ACCESS_TOKEN_TTL", "15", "15m"),
        ("ACCESS_TOKEN_TTL", "2d", "1day"),
        ("REFRESH_TOKEN_TTL", "soon", "30d"),
        ("MAX_BODY", "1GB", "64KiB"),
        ("MAX_DEPTH", "0", "from 1 to 30"),
        ("INTROSPECTION", "yes", "on"),
        ("TRUSTED_DOCUMENTS", "/nowhere.json", "/nowhere.json"),
        ("REQUEST_TIMEOUT", "0s", "30s"),
        ("CORS_ALLOWED_ORIGINS", "app.example.com", "https://app.example.com"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.com", "without a path, a user or a pattern"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example,https://b.example/path", "without a path"),
        ("REFRESH_TOKEN_COOKIE_SAME_SITE", "no", "strict"),
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
fn the_start_warns_of_a_cookie_that_pages_of_other_sites_can_not_send() {
    let on = ("REFRESH_TOKEN_COOKIE", "on");
    let origin = ("CORS_ALLOWED_ORIGINS", "https://app.example.com");
    let origins = ("CORS_ALLOWED_ORIGINS", "https://app.example.com,https://app.example.org");
    let same_site = |value| ("REFRESH_TOKEN_COOKIE_SAME_SITE", value);
    for (settings, warns) in [
        (vec![on, origin], true),
        (vec![on, origins], true),
        (vec![on, origins, same_site("lax")], true),
        (vec![on, origin, same_site("lax")], false),
        (vec![on, origin, same_site("Strict")], false),
        (vec![on, origins, same_site("None")], false),
        (vec![on], false),
        (vec![on, ("CORS_ALLOWED_ORIGINS", "*")], false),
        (vec![origins], false),
    ] {
        let log = String::from_utf8(start_with(&settings).stderr).unwrap();
        assert_eq!(log.contains("REFRESH_TOKEN_COOKIE_SAME_SITE=none"), warns, "{settings:?}: {log}");
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
fn production_starts_no_database_of_its_own() {
    let dir = tempfile::TempDir::new().unwrap();
    let secret = "x".repeat(32);
    for arguments in [&[][..], &["migrate", "run"], &["user", "list"]] {
        for url in [None, Some("")] {
            let mut command = Service::command();
            command.env("TODO_DATA_DIR", dir.path()).env("APP_ENV", "production").env("JWT_SECRET", &secret);
            command.envs(url.map(|url| ("DATABASE_URL", url))).args(arguments);
            let output = Service::run(&mut command);
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
            assert!(message.contains("DATABASE_URL is not set") && message.contains("APP_ENV"), "{message}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn lists_may_have_trailing_commas_and_blanks() {
    for (name, value) in [
        ("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1,"),
        ("TRUSTED_PROXIES", ",\n 10.0.0.0/8,\n ::1\n"),
        ("TRUSTED_PROXIES", " , "),
        ("CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example,"),
        ("DATABASE_REPLICA_URLS", "postgres://u@h/db, postgres://u@i/db,"),
        ("JWT_KEY_FILES", ", ,"),
    ] {
        let output = start_with(&[(name, value)]);
        let message = String::from_utf8(output.stderr).unwrap();
        // The next thing to fail.
        assert!(message.contains("TODO_DATA_DIR") && !message.contains(name), "{name}={value}: {message}");
    }
}

#[test]
fn empty_variables_count_as_unset() {
    let output = start_with(&[("PORT", ""), ("HOST", ""), ("APP_ENV", "production"), ("JWT_SECRET", "")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("JWT_SECRET") && message.contains("is set"), "{message}");
}

/// Starts with a file `.env`, and returns the messages; without a valid one there is nowhere to start.
fn with_dotenv(text: &[u8]) -> String {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(".env"), text).unwrap();
    let mut command = Service::command();
    command.current_dir(dir.path()).env_remove("PORT").env("TODO_DATA_DIR", "/dev/null/nowhere");
    String::from_utf8(Service::run(&mut command).stderr).unwrap()
}

#[test]
fn a_broken_dotenv_file_is_reported_with_its_line_and_without_its_values() {
    for (text, line) in [
        ("JWT_SECRET=hunter2 hunter2 hunter2\n", 1),
        ("PORT=1\n\nJWT_SECRET='hunter2\nPORT=2\n", 3),
        ("PORT=1\nJWT_SECRET=\"hunter2\\x\"\n", 2),
        ("# comment\r\nhunter2\r\n", 2),
        ("JWT_SECRET='hunter2\n3\n4'\nhunter2\n", 4),
        ("PORT=1\nexport hunter2\n", 2),
        ("PORT=1\nJWT_SECRET: hunter2\n", 2),
        ("PORT=1\nJWT_SECRET=hunter2\0\n", 2),
    ] {
        let message = with_dotenv(text.as_bytes());
        assert!(message.contains(&format!(".env line {line}: ")), "{text:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert!(with_dotenv(b"PORT=1\nJWT_SECRET=\xff\n").contains(".env line 2: "));
}

#[test]
fn nothing_is_substituted_in_a_dotenv_file() {
    for (line, value) in [
        ("a$b", "a$b"),
        ("$HOME", "$HOME"),
        ("\"a${HOME}b\"", "a${HOME}b"),
        ("'a$HOME'", "a$HOME"),
        ("a#b$ # comment", "a#b$"),
        ("\"a\\\"b\\\\c\"", "a\"b\\c"),
        (" 'a b' ", "a b"),
        ("'a\\'", "a\\"),
    ] {
        let message = with_dotenv(format!("\u{feff}export PORT={line}\r\n").as_bytes());
        assert!(message.contains(&format!("invalid value '{value}' for '--port")), "{line}: {message}");
    }
    let secret = "JWT_SECRET=\"two\nlines, which are long enough\"\nPORT=70000\n";
    assert!(with_dotenv(secret.as_bytes()).contains("'70000'"));
}

#[test]
fn equal_names_in_a_dotenv_file_are_reported_and_the_first_wins() {
    let message = with_dotenv(b"APP_ENV=development\nPORT=0\nAPP_ENV=production\n");
    assert!(message.contains("line 3: APP_ENV is already set in line 1"), "{message}");
    // Production would miss JWT_SECRET.
    assert!(message.contains("TODO_DATA_DIR"), "{message}");
}

#[tokio::test]
async fn a_password_with_dollars_in_a_dotenv_file_logs_in() {
    let database = TestDatabase::new().await;
    let role = format!("dollars_{}", std::process::id());
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'a$b${{HOME}}$'")).await;
    let (_, rest) = database.url.rsplit_once('@').unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let line = format!("DATABASE_URL=postgresql://{role}:a$b${{HOME}}$@{rest}\n");
    std::fs::write(dir.path().join(".env"), line).unwrap();
    let output = Service::run(Service::command().current_dir(dir.path()).args(["migrate", "status"]));
    database.sql(&format!("DROP ROLE {role}")).await;
    // Logged in: this role may not read the list.
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("permission denied"), "{message}");
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
