//! Adoption of the original system's table, in its own database.

use serde_json::json;

use super::{TIMES, assert_all_log_in, command, original_database, refused, stdout};
use crate::support::{PASSWORD, Service, TestApp, TestDatabase, rows, texts};

#[tokio::test]
async fn a_taken_address_is_named_whichever_unique_rule_refuses_it() {
    let original = original_database().await;
    original
        .sql(
            "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);
             CREATE UNIQUE INDEX ix_users_email ON users (email);
             CREATE UNIQUE INDEX upper_email ON users (upper(email));
             CREATE UNIQUE INDEX partial ON users (email) WHERE name <> 'deleted'",
        )
        .await;
    let url = original.url.clone();
    stdout(&Service::run(&mut command(&url, &["migrate", "adopt"])));
    let app = TestApp::on(&url, &[], original).await;
    let grace = app.register("new@example.com").await.token();
    for email in ["ada@example.com", "ADA@example.com", "new@example.com"] {
        assert_eq!(app.register(email).await.code(), "EMAIL_TAKEN", "{email}");
        let change = "mutation($email: String!, $password: String!) {
            changeEmail(input: { email: $email, password: $password }) { user { id } } }";
        if email != "new@example.com" {
            let input = json!({ "email": email, "password": PASSWORD });
            assert_eq!(app.ask_as(&grace, change, input).await.code(), "EMAIL_TAKEN", "{email}");
        }
    }
}

#[tokio::test]
async fn all_that_is_in_the_way_of_an_adoption_is_listed_and_nothing_is_changed() {
    let migrated = TestDatabase::new().await;
    let relations = "SELECT relname::text AS text FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relname NOT LIKE '%diesel%' AND relname NOT IN ('users', 'users_pkey', 'idx_user_email', 'idx_user_created_at')";
    let relations = texts(&migrated.url, relations).await;
    let functions = "SELECT format('%I(%s)', proname, oidvectortypes(proargtypes)) AS text
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname NOT LIKE 'diesel%'";
    let functions = texts(&migrated.url, functions).await;
    let original = original_database().await;
    original.sql("CREATE VIEW names AS SELECT name FROM users; ALTER TABLE users ADD phone text DEFAULT gen_random_uuid()").await;
    original.sql("CREATE UNIQUE INDEX one_phone ON users (phone); ALTER TABLE users ADD CONSTRAINT users_email_normalised CHECK (true)").await;
    original.sql("UPDATE users SET name = E'\\u200b' WHERE email LIKE 'Grace%'").await;
    for name in &relations {
        original.sql(&format!("CREATE VIEW {name} AS SELECT 1 AS one")).await;
    }
    for function in &functions {
        original.sql(&format!("CREATE FUNCTION {function} RETURNS int LANGUAGE sql AS 'SELECT 1'")).await;
    }
    let before = shape_of(&original.url).await;
    let message = refused(&Service::run(&mut command(&original.url, &["migrate", "adopt"])));
    for name in &relations {
        assert!(message.contains(&format!("the name {name} is taken by the view")), "{name}: {message}");
    }
    for function in &functions {
        assert!(message.contains(&format!("the function {function} is there")), "{function}: {message}");
    }
    for part in ["one_phone covers more than the email address", "users_email_normalised", ": name: "] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let count = relations.len() + functions.len() + 3;
    assert!(message.contains(&format!("{count} problem(s)")), "{message}");
    assert_eq!(shape_of(&original.url).await, before);
}

/// Lists the objects of a database with their definitions.
async fn shape_of(url: &str) -> Vec<String> {
    let shape = "SELECT concat(relname, relkind, relfilenode) AS text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat(proname, prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'
        UNION ALL SELECT users::text FROM users ORDER BY 1";
    texts(url, shape).await
}

#[tokio::test]
async fn the_originals_own_todos_are_in_the_way_until_they_are_renamed() {
    let original = original_database().await;
    original
        .sql(
            "CREATE TABLE todos (id uuid PRIMARY KEY, user_id uuid REFERENCES users, title text);
             CREATE INDEX idx_todo_created_at ON todos (title);
             CREATE INDEX idx_session_user_id ON users (name);
             CREATE TYPE sessions AS ENUM ('a');
             CREATE VIEW emails AS SELECT email FROM users",
        )
        .await;
    let adopt = || Service::run(&mut command(&original.url, &["migrate", "adopt"]));
    let message = refused(&adopt());
    for part in [
        "the name todos is taken by the table of that name",
        "the name todos_pkey is taken by the index of the table todos",
        "the name idx_todo_created_at is taken by the index of the table todos",
        "the name idx_session_user_id is taken by the index of the table users",
        "the name sessions is taken by the type of that name",
        "5 problem(s)",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    original
        .sql(
            "ALTER TABLE todos RENAME TO old_todos; ALTER INDEX todos_pkey RENAME TO old_todos_pkey;
             ALTER INDEX idx_todo_created_at RENAME TO old_todos_title; DROP INDEX idx_session_user_id; DROP TYPE sessions",
        )
        .await;
    stdout(&adopt());
    assert_eq!(texts(&original.url, "SELECT count(*)::text AS text FROM emails").await, ["6"]);
}

#[tokio::test]
async fn the_original_table_is_adopted_in_place_and_its_users_log_in() {
    let original = original_database().await;
    let url = original.url.clone();
    let report = stdout(&Service::run(&mut command(&url, &["migrate", "adopt"])));
    assert!(
        report.contains("6 user(s)") && report.contains("6 account(s) still have a bcrypt hash"),
        "{report}"
    );
    assert!(!stdout(&Service::run(&mut command(&url, &["migrate", "status"]))).contains("pending"));
    let app = TestApp::on(&url, &[], original).await;
    let first = &rows(&app, TIMES).await[0];
    assert!(first.contains("2023-01-02 03:04:05.678901") && first.contains("2024-01-02 03:04:05"), "{first}");
    assert_all_log_in(&app).await;
    app.register("new@example.com").await.data("register");
    let again = refused(&Service::run(&mut command(&url, &["migrate", "adopt"])));
    assert!(again.contains("already"), "{again}");

    // The table equals the migrations' one, down to the names.
    let shape = "SELECT string_agg(line, E'\\n' ORDER BY line) AS text FROM (
        SELECT pg_get_indexdef(indexrelid) AS line FROM pg_index WHERE indrelid = 'users'::regclass
        UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal
        UNION ALL SELECT concat(attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
                                col_description(attrelid, attnum))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = 'users'::regclass AND attnum > 0) AS lines";
    assert_eq!(rows(&app, shape).await, rows(&TestApp::start().await, shape).await);
}

#[tokio::test]
async fn the_index_of_addresses_may_belong_to_a_constraint() {
    let original = original_database().await;
    original
        .sql("DROP INDEX idx_user_email; ALTER TABLE users ADD CONSTRAINT idx_user_email UNIQUE (email)")
        .await;
    stdout(&Service::run(&mut command(&original.url, &["migrate", "adopt"])));
    assert_eq!(texts(&original.url, "SELECT count(*)::text AS text FROM users").await, ["6"]);
}

#[tokio::test]
async fn a_table_of_another_shape_is_not_adopted() {
    for (change, expected) in [
        ("DROP TABLE users", "no table users"),
        ("ALTER TABLE users DROP COLUMN name", "name is missing"),
        ("ALTER TABLE users ALTER id DROP DEFAULT, ALTER id TYPE text", "id is text"),
        ("ALTER TABLE users DROP CONSTRAINT users_pkey", "primary key"),
        (
            "ALTER TABLE users ADD phone text NOT NULL DEFAULT ''; ALTER TABLE users ALTER phone DROP DEFAULT",
            "phone",
        ),
        ("UPDATE users SET email = 'ADA@example.com' WHERE email LIKE 'Grace%'", "same email address"),
        (
            "ALTER TABLE users ALTER name TYPE text; CREATE VIEW names AS SELECT name FROM users",
            "view names depends on the column name",
        ),
        ("ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people", "users is a view"),
        (
            "ALTER TABLE users ADD CONSTRAINT only_bcrypt CHECK (length(hashed_password) = 60)",
            "constraint \"only_bcrypt\"",
        ),
        ("CREATE RULE closed AS ON INSERT TO users DO INSTEAD NOTHING", "drops the row"),
        (
            "DROP INDEX idx_user_email; ALTER TABLE users ADD CONSTRAINT idx_user_email UNIQUE (email);
             CREATE TABLE others (email varchar(255) CONSTRAINT theirs REFERENCES users (email))",
            "the foreign key theirs of the table others needs the index idx_user_email",
        ),
        (
            "CREATE TABLE others (a int); ALTER INDEX idx_user_email RENAME TO x; CREATE INDEX idx_user_email ON others (a)",
            "idx_user_email",
        ),
    ] {
        let original = original_database().await;
        original.sql(change).await;
        let message = refused(&Service::run(&mut command(&original.url, &["migrate", "adopt"])));
        assert!(message.contains(expected), "{change}: {message}");
        let status = stdout(&Service::run(&mut command(&original.url, &["migrate", "status"])));
        assert!(!status.contains("applied"), "{status}");
    }
}
