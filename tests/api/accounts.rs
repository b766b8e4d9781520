//! Registration, login and `me`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{PASSWORD, TestApp, rows};

const WAITING: &str = "SELECT count(*)::text AS text FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test]
async fn register_opens_a_session_whose_token_identifies_the_user() {
    let app = TestApp::start().await;
    let registered = app.register("Ada@example.com").await;
    let user = &registered.data("register")["user"];
    assert_eq!((&user["email"], &user["name"]), (&json!("Ada@example.com"), &json!("Ada Lovelace")));
    assert_eq!(user["createdAt"], user["updatedAt"]);
    assert!(user["createdAt"].as_str().unwrap().ends_with('Z'));

    let me = app.me(&registered.token()).await;
    assert_eq!(me.data("me")["id"], user["id"]);
    assert_eq!(me.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn login_ignores_the_case_of_the_address() {
    let app = TestApp::start().await;
    let registered = app.register("Ada@Example.com").await;
    let logged_in = app.login(" aDA@exAMPLE.COM ", PASSWORD).await;
    assert_eq!(logged_in.data("login")["user"]["id"], registered.data("register")["user"]["id"]);
    assert_ne!(logged_in.token(), registered.token());
}

#[tokio::test]
async fn expires_at_is_when_the_access_token_stops_working() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    let expires_at: chrono::DateTime<chrono::Utc> =
        registered.data("register")["expiresAt"].as_str().unwrap().parse().unwrap();
    let left = (expires_at - app.state.clock.now()).num_seconds();
    assert!((895..=900).contains(&left), "{left} s");

    app.pass(left - 5).await;
    assert_eq!(app.me(&registered.token()).await.data("me")["name"], "Ada Lovelace");
    app.pass(6).await;
    let me = app.me(&registered.token()).await;
    assert_eq!((me.code(), &me.error()["extensions"]["reason"]), ("UNAUTHENTICATED", &json!("EXPIRED")));
}

#[tokio::test]
async fn me_is_null_without_a_token_and_an_error_with_a_bad_one() {
    let app = TestApp::start().await;
    assert_eq!(app.ask("{ me { id } }", Value::Null).await.data("me"), &Value::Null);
    // As Apollo's recipe for HTTP sends it before a login.
    for header in ["", " ", "\t"] {
        let headers = [(reqwest::header::AUTHORIZATION, header.parse().unwrap())].into_iter().collect();
        let answer = app.ask_with(headers, "{ me { id } }", Value::Null).await;
        assert_eq!(answer.data("me"), &Value::Null, "{header:?}");
    }

    for header in ["Bearer nonsense", "Bearer", "Bearer ", "Basic YTpi", "nonsense", ",", "\"\"", "null"] {
        let headers = [(reqwest::header::AUTHORIZATION, header.parse().unwrap())].into_iter().collect();
        let answer = app.ask_with(headers, "{ me { id } }", Value::Null).await;
        assert_eq!(
            (answer.code(), &answer.error()["extensions"]["reason"]),
            ("UNAUTHENTICATED", &json!("MALFORMED"))
        );
        assert_eq!(answer.body["data"], json!({ "me": null }), "{header}");
    }
}

#[tokio::test]
async fn a_stale_token_blocks_neither_register_nor_login() {
    let app = TestApp::start().await;
    let headers =
        || [(reqwest::header::AUTHORIZATION, "Bearer stale".parse().unwrap())].into_iter().collect();
    let register = "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
        password: \"correct horse battery staple\" }) { accessToken } }";
    let login = "mutation { login(input: { email: \"ada@example.com\",
        password: \"correct horse battery staple\" }) { accessToken } }";
    app.ask_with(headers(), register, Value::Null).await.data("register");
    app.ask_with(headers(), login, Value::Null).await.data("login");
}

#[tokio::test]
async fn all_problems_of_a_registration_are_reported_at_once() {
    let app = TestApp::start().await;
    let answer = app.register_with("nobody", "password1", " ").await;
    assert_eq!(answer.code(), "BAD_USER_INPUT");
    let fields = answer.error()["extensions"]["fields"].as_array().unwrap();
    let seen: Vec<_> =
        fields.iter().map(|field| (field["path"].clone(), field["code"].as_str().unwrap())).collect();
    let expected = [
        (json!(["input", "email"]), "INVALID"),
        (json!(["input", "password"]), "TOO_GUESSABLE"),
        (json!(["input", "name"]), "REQUIRED"),
    ];
    assert_eq!(seen, expected);
    assert!(fields.iter().all(|field| field["message"].as_str().is_some_and(|message| message.len() > 10)));
}

#[tokio::test]
async fn the_email_address_and_the_name_make_a_password_guessable() {
    let app = TestApp::start().await;
    let answer = app.register_with("brzeczyszczykiewicz@example.com", "brzeczyszczykiewicz", "Ada").await;
    assert_eq!(answer.error()["extensions"]["fields"][0]["code"], "TOO_GUESSABLE");
}

#[tokio::test]
async fn text_that_postgresql_refuses_is_bad_input() {
    let app = TestApp::start().await;
    for (email, password, name) in [
        ("a\0da@example.com", PASSWORD, "Ada"),
        ("ada@example.com", "correct horse\0battery staple", "Ada"),
        ("ada@example.com", PASSWORD, "A\0da"),
    ] {
        assert_eq!(app.register_with(email, password, name).await.code(), "BAD_USER_INPUT", "{name:?}");
    }
    assert_eq!(app.login("a\0da@example.com", PASSWORD).await.code(), "BAD_USER_INPUT");
    assert_eq!(app.login("ada@example.com", "\0").await.code(), "BAD_USER_INPUT");
}

#[tokio::test]
async fn passwords_have_from_8_to_1024_bytes() {
    let app = TestApp::start().await;
    let block =
        |n: u8| todo_api::crypto::sha256(&[n]).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let long: String = (0..16).map(block).collect();
    assert_eq!(long.len(), 1024);
    app.register_with("long@example.com", &long, "Ada").await.data("register");
    app.login("long@example.com", &long).await.data("login");
    let one_more = app.register_with("longer@example.com", &format!("{long}x"), "Ada").await;
    assert_eq!(one_more.error()["extensions"]["fields"][0]["code"], "TOO_LONG");
    let short = app.register_with("short@example.com", "Xq9$kk1", "Ada").await;
    assert_eq!(short.error()["extensions"]["fields"][0]["code"], "TOO_SHORT");
}

#[tokio::test]
async fn of_50_parallel_registrations_of_one_address_one_succeeds() {
    let app = std::sync::Arc::new(TestApp::start().await);
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let app = std::sync::Arc::clone(&app);
        let email = if n % 2 == 0 { "ada@example.com" } else { "ADA@Example.com" };
        tasks.spawn(async move { app.register(email).await });
    }
    let answers = tasks.join_all().await;
    let (taken, made): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.body.get("errors").is_some());
    assert_eq!((made.len(), taken.len()), (1, 49));
    assert!(taken.iter().all(|answer| answer.code() == "EMAIL_TAKEN"));
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_differ_neither_in_words_nor_in_time() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    app.database
        .sql(&format!(
            "INSERT INTO users (email, hashed_password, name) VALUES ('old@example.com', '{}', 'Old')",
            bcrypt::hash("something else", 10).unwrap(),
        ))
        .await;
    let mut answers = Vec::new();
    for email in ["ada@example.com", "nobody@example.com", "old@example.com"] {
        let began = Instant::now();
        let answer = app.login(email, "wrong horse battery staple").await;
        assert_eq!(answer.code(), "INVALID_CREDENTIALS");
        answers.push((answer.body, began.elapsed()));
    }
    assert!(answers.windows(2).all(|pair| pair[0].0 == pair[1].0), "{answers:#?}");
    // All failures take the same minimum time, which hides the time of the hash.
    assert!(answers.iter().all(|(_, took)| *took >= Duration::from_millis(500)), "{answers:#?}");
}

#[tokio::test]
async fn hashes_of_other_kinds_log_in_and_are_replaced() {
    let app = TestApp::start().await;
    let argon2i = "$argon2i$v=19$m=4096,t=3,p=1$c29tZXNhbHQxMjM0$DPXqMDmfwd2N+SrY3sVaZxFUbpHdvDpXEOyeVL9OH4Y";
    let stored = |hash: &str| {
        format!(
            "INSERT INTO users (email, hashed_password, name) VALUES ('{}@example.com', '{hash}', 'Old')",
            &hash[1..3]
        )
    };
    let made = bcrypt::hash_with_result(PASSWORD, 4).unwrap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let hash = made.format_for_version(version);
        app.database.sql(&stored(&hash)).await;
        assert_login_replaces(&app, &hash[1..3]).await;
    }
    // An unknown or damaged hash matches no password and reveals nothing.
    app.database.sql(&stored(argon2i)).await;
    assert_eq!(app.login("ar@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
}

async fn assert_login_replaces(app: &TestApp, version: &str) {
    let email = format!("{version}@example.com");
    assert_eq!(app.login(&email, "wrong").await.code(), "INVALID_CREDENTIALS");
    app.login(&email, PASSWORD).await.data("login");
    let hash = stored_hash(app, &email).await;
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    app.login(&email, PASSWORD).await.data("login");
    assert_eq!(stored_hash(app, &email).await, hash, "a hash of today's kind stays");
}

#[tokio::test]
async fn a_login_during_which_the_password_changes_or_the_account_goes_leaves_nothing() {
    for change in ["UPDATE users SET hashed_password = 'another'", "DELETE FROM users"] {
        let app = Arc::new(TestApp::start().await);
        app.register("ada@example.com").await.data("register");
        app.database.sql("DELETE FROM sessions").await;
        let mut holder = app.database.connect().await;
        holder.batch_execute(&format!("BEGIN; {change}")).await.unwrap();
        let other = Arc::clone(&app);
        let login = tokio::spawn(async move { other.login("ada@example.com", PASSWORD).await });
        while rows(&app, WAITING).await != ["1"] {}
        holder.batch_execute("COMMIT").await.unwrap();
        assert_eq!(login.await.unwrap().code(), "INVALID_CREDENTIALS", "{change}");
        assert_eq!(rows(&app, "SELECT id::text AS text FROM sessions").await, [""; 0], "{change}");
        let succeeded = "SELECT id::text AS text FROM security_events WHERE kind = 'LOGIN_SUCCEEDED'";
        assert_eq!(rows(&app, succeeded).await, [""; 0], "{change}");
        let metrics = app.http.get(app.url("/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains(r#"todo_api_database_failures_total{kind="statement"} 0"#), "{metrics}");
    }
}

#[tokio::test]
async fn a_failed_login_is_one_even_if_the_account_is_deleted_before_it_is_recorded() {
    let app = Arc::new(TestApp::start().await);
    app.register("ada@example.com").await.data("register");
    let mut holder = app.database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE security_events IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    let other = Arc::clone(&app);
    let login = tokio::spawn(async move { other.login("ada@example.com", "wrong").await });
    while rows(&app, WAITING).await != ["1"] {}
    holder.batch_execute("DELETE FROM users; COMMIT").await.unwrap();
    assert_eq!(login.await.unwrap().code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn what_the_database_refuses_in_a_registration_is_judged_by_its_cause() {
    let app = TestApp::with(&["--database-pool-size=1", "--database-pool-overflow=0"]).await;
    app.register("ada@example.com").await.data("register");
    app.database.sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(256)").await;
    app.register("bob@example.com").await.data("register");
    // Refused once, as a deadlock's victim is, then for want of room.
    app.database
        .sql(
            "CREATE SEQUENCE tries;
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.name = 'full' THEN RAISE 'no room' USING ERRCODE = '53100'; END IF;
                IF nextval('tries') = 1 THEN RAISE 'deadlock' USING ERRCODE = '40P01'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    app.register("eve@example.com").await.data("register");
    let full = app.register_with("joe@example.com", PASSWORD, "full").await;
    assert_eq!(full.code(), "SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn argon2_hashes_with_other_parameters_are_replaced() {
    use argon2::password_hash::PasswordHasher;

    let app = TestApp::start().await;
    let params = argon2::Params::new(1024, 3, 2, None).unwrap();
    let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = weak.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    let insert =
        format!("INSERT INTO users (email, hashed_password, name) VALUES ('a@example.com', '{hash}', 'A')");
    app.database.sql(&insert).await;
    app.login("a@example.com", PASSWORD).await.data("login");
    let hash = stored_hash(&app, "a@example.com").await;
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
}

#[tokio::test]
async fn a_bcrypt_hash_stays_when_the_password_is_longer_than_bcrypt_reads() {
    let app = TestApp::start().await;
    let long = "correct horse battery staple ".repeat(4);
    let hash = bcrypt::hash(&long[..72], 4).unwrap();
    let insert =
        format!("INSERT INTO users (email, hashed_password, name) VALUES ('a@example.com', '{hash}', 'A')");
    app.database.sql(&insert).await;
    app.login("a@example.com", &long).await.data("login");
    assert_eq!(stored_hash(&app, "a@example.com").await, hash);
    app.login("a@example.com", &long[..72]).await.data("login");
    assert!(stored_hash(&app, "a@example.com").await.starts_with("$argon2id$"));
}

#[tokio::test]
async fn a_stored_hash_can_not_ask_for_unbounded_work() {
    let app = TestApp::start().await;
    let huge =
        "$argon2id$v=19$m=4194304,t=100,p=1$c29tZXNhbHQxMjM0$DPXqMDmfwd2N+SrY3sVaZxFUbpHdvDpXEOyeVL9OH4Y";
    let insert =
        format!("INSERT INTO users (email, hashed_password, name) VALUES ('a@example.com', '{huge}', 'A')");
    app.database.sql(&insert).await;
    let began = Instant::now();
    assert_eq!(app.login("a@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn of_secrets_only_hashes_are_stored() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    let refresh_token = registered.data("register")["refreshToken"].as_str().unwrap();
    assert!(refresh_token.starts_with("todo_rt_") && refresh_token.len() >= 8 + 43);
    let found = rows(&app, "SELECT encode(token_hash, 'hex') AS text FROM refresh_tokens").await;
    let expected: String =
        todo_api::crypto::sha256(refresh_token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, [expected]);
    assert!(stored_hash(&app, "ada@example.com").await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_cut_its_registration_in_half() {
    use tokio::io::AsyncWriteExt;

    let app = TestApp::start().await;
    let body = json!({ "query": "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
        password: \"correct horse battery staple\" }) { accessToken } }" })
    .to_string();
    let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len(),
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    socket.flush().await.unwrap();
    drop(socket);
    let counts = "SELECT (SELECT count(*) FROM users) || ' ' || (SELECT count(*) FROM sessions) AS text";
    loop {
        match rows(&app, counts).await[0].as_str() {
            "0 0" => tokio::task::yield_now().await,
            counts => break assert_eq!(counts, "1 1"),
        }
    }
}

async fn stored_hash(app: &TestApp, email: &str) -> String {
    rows(app, &format!("SELECT hashed_password AS text FROM users WHERE lower(email) = lower('{email}')"))
        .await
        .remove(0)
}

#[tokio::test]
async fn password_hashing_is_queued_for_a_bounded_time() {
    let app = TestApp::with(&["--password-hash-concurrency=1", "--password-hash-timeout=10ms"]).await;
    let app = std::sync::Arc::new(app);
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let app = std::sync::Arc::clone(&app);
        tasks.spawn(async move { app.login(&format!("user{n}@example.com"), PASSWORD).await });
    }
    let answers = tasks.join_all().await;
    let busy = answers.iter().filter(|answer| answer.code() == "SERVICE_UNAVAILABLE").count();
    assert!((1..20).contains(&busy), "{busy} of 20 were turned away");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
}

const COMPOSED: &str = "pâtisserie à la crème brûlée";

fn decomposed(text: &str) -> String {
    unicode_normalization::UnicodeNormalization::nfd(text).collect()
}

#[tokio::test]
async fn a_password_is_the_same_in_all_canonical_forms_and_with_all_spaces() {
    let app = TestApp::start().await;
    let typed = [COMPOSED.to_owned(), decomposed(COMPOSED), COMPOSED.replace(' ', "\u{A0}")];
    for (n, password) in typed.iter().enumerate() {
        let email = format!("ada{n}@example.com");
        app.register_with(&email, password, "Ada").await.data("register");
        for password in &typed {
            app.login(&email, password).await.data("login");
        }
        assert_eq!(app.login(&email, &COMPOSED.replace('â', "a")).await.code(), "INVALID_CREDENTIALS");
    }
}

#[tokio::test]
async fn a_hash_of_another_form_of_the_password_works_and_is_replaced() {
    let app = TestApp::start().await;
    app.register_with("ada@example.com", COMPOSED, "Ada").await.data("register");
    let mixed = COMPOSED.replacen('è', "e\u{300}", 1);
    for (hashed, typed) in [
        (decomposed(COMPOSED), COMPOSED.to_owned()),
        (decomposed(COMPOSED), decomposed(COMPOSED)),
        (COMPOSED.to_owned(), decomposed(COMPOSED)),
        (mixed.clone(), mixed),
        (COMPOSED.replace(' ', "\u{A0}"), COMPOSED.replace(' ', "\u{A0}")),
    ] {
        let hash = bcrypt::hash(&hashed, 4).unwrap();
        app.database.sql(&format!("UPDATE users SET hashed_password = '{hash}'")).await;
        app.login("ada@example.com", &typed).await.data("login");
        let scheme = rows(&app, "SELECT split_part(hashed_password, '$', 2) AS text FROM users").await;
        assert_eq!(scheme, ["argon2id"]);
        app.login("ada@example.com", COMPOSED).await.data("login");
    }
}

#[tokio::test]
async fn a_failed_login_takes_as_long_for_an_unknown_address_in_whatever_form_the_password_is_typed() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    for (password, least) in [("wrong".to_owned(), 500), (COMPOSED.to_owned(), 1000)] {
        for email in ["ada@example.com", "nobody@example.com"] {
            let started = Instant::now();
            assert_eq!(app.login(email, &password).await.code(), "INVALID_CREDENTIALS");
            let taken = started.elapsed().as_millis();
            assert!((least..least + 450).contains(&taken), "{email} {password}: {taken} ms");
        }
    }
}

const UNICODE: &str = "x@bücher.example";
const PUNYCODE: &str = "x@xn--bcher-kva.example";

#[tokio::test]
async fn an_international_domain_is_one_address_in_unicode_and_in_punycode() {
    for (first, second) in [(UNICODE, PUNYCODE), (PUNYCODE, UNICODE)] {
        let app = TestApp::start().await;
        let registered = app.register(first).await;
        assert_eq!(registered.data("register")["user"]["email"], UNICODE);
        assert_eq!(app.register(second).await.code(), "EMAIL_TAKEN");
        for spelling in [
            UNICODE,
            PUNYCODE,
            "X@BU\u{308}CHER.example",
            "x@XN--BCHER-KVA.EXAMPLE",
            "x@bücher\u{3002}example",
        ] {
            let login = app.login(spelling, PASSWORD).await;
            assert_eq!(
                login.data("login")["user"]["id"],
                registered.data("register")["user"]["id"],
                "{spelling}"
            );
        }
        // Throttled together.
        let buckets = "SELECT count(*)::text AS text FROM throttle_buckets";
        app.login(UNICODE, "wrong").await.code();
        let before = rows(&app, buckets).await;
        app.login(PUNYCODE, "wrong").await.code();
        assert_eq!(rows(&app, buckets).await, before);
    }
}

#[tokio::test]
async fn an_older_account_in_punycode_keeps_its_address_to_itself() {
    let app = TestApp::start().await;
    let token = app.register(UNICODE).await.token();
    app.database.sql(&format!("UPDATE users SET email = '{PUNYCODE}'")).await;
    for spelling in [UNICODE, PUNYCODE] {
        app.login(spelling, PASSWORD).await.data("login");
        assert_eq!(app.register(spelling).await.code(), "EMAIL_TAKEN");
    }
    let change = "mutation($input: ChangeEmailInput!) { changeEmail(input: $input) { user { email } } }";
    let input = json!({ "input": { "email": UNICODE, "password": PASSWORD } });
    let other = app.register("y@example.com").await.token();
    assert_eq!(app.ask_as(&other, change, input.clone()).await.code(), "EMAIL_TAKEN");
    let changed = app.ask_as(&token, change, input).await;
    assert_eq!(changed.data("changeEmail")["user"]["email"], UNICODE);
}
