//! Plans of all statements that requests run, including those of triggers and foreign keys, as logged by PostgreSQL's
//! auto_explain.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use todo_api::housekeeping::delete_expired;

use crate::support::explained::{collect_scans, count_rows_read, uses_index_on};
use crate::support::{Client, Explained, Introspected, Owner, PASSWORD, TestApp, TestDatabase};

/// Number of other users, each with at least one row in each table.
const OTHER_USERS: usize = 20_000;
/// Bound on the rows that a scan reads; the user has fewer in each table.
const MAX_ROWS: f64 = 150.0;
/// Tables, with expressions of which an index condition must contain one: the user, the key of a row, or for revoked sessions
/// the time of the last poll.
const TABLES: [(&str, &[&str]); 10] = [
    ("users", &["(id ", "lower((email)::text)"]),
    ("sessions", &["(id ", "user_id"]),
    ("refresh_tokens", &["token_hash", "session_id", "successor_hash"]),
    ("revoked_sessions", &["session_id", "revoked_at"]),
    ("security_events", &["(id ", "user_id"]),
    ("throttle_buckets", &["key"]),
    ("todos", &["user_id", "terms @@"]),
    ("todo_events", &["user_id"]),
    ("todo_event_counters", &["user_id"]),
    ("write_positions", &["user_id"]),
];
/// Columns by which housekeeping finds expired rows of all users.
const EXPIRY_COLUMNS: [&str; 4] = ["expires_at", "used_at", "created_at", "deleted_at"];

/// Fills all tables without triggers, with the rows of other users.
async fn fill(explained: &Explained) {
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off;
         INSERT INTO users (email, name, hashed_password)
             SELECT 'user' || n || '@example.com', 'User', '$argon2id$' FROM generate_series(1, {OTHER_USERS}) AS n;
         INSERT INTO sessions (user_id, expires_at)
             SELECT id, now() + interval '30 days' FROM users, generate_series(1, 2);
         INSERT INTO refresh_tokens (token_hash, session_id, used_at, successor_hash, sealed_successor)
             SELECT sha256((id::text || n)::bytea), id, CASE WHEN n = 1 THEN now() END,
                 CASE WHEN n = 1 THEN sha256((id::text || 2)::bytea) END, CASE WHEN n = 1 THEN 'sealed'::bytea END
             FROM sessions, generate_series(1, 2) AS n;
         -- Too old for the first poll of a process, not old enough to be deleted.
         INSERT INTO revoked_sessions (session_id, revoked_at)
             SELECT gen_random_uuid(), now() - interval '24:02' FROM generate_series(1, {OTHER_USERS});
         INSERT INTO security_events (user_id, kind) SELECT id, 'LOGIN_SUCCEEDED' FROM users, generate_series(1, 2);
         INSERT INTO throttle_buckets (key, level, updated_at, expires_at)
             SELECT sha256(id::text::bytea), 1, now(), now() + interval '1 hour' FROM users;
         INSERT INTO todos (user_id, title, tags) SELECT id, 'Buy milk', '{{home}}' FROM users, generate_series(1, 2);
         INSERT INTO todo_event_counters (user_id, last_number) SELECT id, 2 FROM users;
         INSERT INTO write_positions (user_id, position) SELECT id, 1 FROM users;
         INSERT INTO todo_events (user_id, number, id, todo_id, kind)
             SELECT user_id, row_number() OVER (PARTITION BY user_id), gen_random_uuid(), id, 'CREATED' FROM todos;
         COMMIT;"
    );
    explained.server.sql(&sql).await;
    explained.server.sql("VACUUM ANALYZE").await;
}

/// A user who calls every root field, with the documents sent so far.
struct SchemaWalker<'a> {
    app: &'a TestApp,
    token: String,
    sent: String,
}

impl<'a> SchemaWalker<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self { app, token: String::new(), sent: String::new() }
    }

    /// Calls every root field; the user is deleted at the end.
    async fn walk(&mut self) {
        self.walk_sessions().await;
        self.walk_todos().await;
        self.walk_subscription().await;
        let delete = format!(
            "mutation {{ deleteAccount(input: {{ password: \"{PASSWORD}\" }}) {{ deletedUserId }} }}"
        );
        self.call(&delete).await;
    }

    async fn ask(&mut self, query: &str) -> Value {
        self.sent.push_str(query);
        self.app.ask_as(&self.token, query, Value::Null).await.body["data"].clone()
    }

    /// Sends an operation that must succeed.
    async fn call(&mut self, query: &str) -> Value {
        self.sent.push_str(query);
        let answer = self.app.ask_as(&self.token, query, Value::Null).await;
        assert!(answer.body.get("errors").is_none(), "{query}: {:#}", answer.body);
        answer.body["data"].clone()
    }

    /// Opens the user's next session; returns its refresh token.
    async fn open_session(&mut self, query: &str) -> String {
        self.token.clear();
        self.sent.push_str(query);
        let data = self.app.ask(query, Value::Null).await.body["data"].clone();
        let payload = data.as_object().unwrap().values().next().unwrap();
        payload["accessToken"].as_str().unwrap().clone_into(&mut self.token);
        payload["refreshToken"].as_str().unwrap().to_owned()
    }

    async fn walk_sessions(&mut self) {
        let login = format!(
            "mutation {{ login(input: {{ email: \"ADA@example.com\", password: \"{PASSWORD}\" }}) {{ accessToken refreshToken }} }}"
        );
        let register =
            login.replace("login(input: { email: \"ADA", "register(input: { name: \"Ada\", email: \"ada");
        self.open_session(&register).await;
        self.ask(&login.replace(PASSWORD, "wrong")).await;
        self.ask(&register).await;
        let refresh = format!(
            "mutation {{ refreshSession(input: {{ refreshToken: \"{}\" }}) {{ accessToken refreshToken }} }}",
            self.open_session(&login).await
        );
        self.open_session(&refresh).await;
        self.open_session(&refresh).await;
        let mut nodes = vec![json!("5f0c8a3e-1b1f-4c57-9a51-0d6a3f1f2e02")];
        for list in ["sessions", "securityEvents"] {
            let page = |after: &str| {
                format!(
                    "{{ me {{ id {list}(first: 1{after}) {{ totalCount edges {{ cursor node {{ id }} }} pageInfo {{ hasPreviousPage hasNextPage }} }} }} }}"
                )
            };
            let first = self.call(&page("")).await;
            self.call(&page(&format!(", after: {}", first["me"][list]["edges"][0]["cursor"]))).await;
            nodes.extend([first["me"]["id"].clone(), first["me"][list]["edges"][0]["node"]["id"].clone()]);
        }
        let found = self.call(&format!("{{ nodes(ids: {}) {{ id }} }}", json!(nodes))).await;
        assert_eq!(found["nodes"].as_array().unwrap().iter().filter(|node| node.is_null()).count(), 1);
        self.call("mutation { updateProfile(input: { name: \"Ada Lovelace\" }) { user { id } } }").await;
        self.call(&format!("mutation {{ changeEmail(input: {{ email: \"ada@example.com\", password: \"{PASSWORD}\" }}) {{ user {{ id }} }} }}")).await;
        let change = format!(
            "mutation {{ changePassword(input: {{ currentPassword: \"{PASSWORD}\", newPassword: \"{PASSWORD}\" }}) {{ user {{ id }} }} }}"
        );
        self.call(&change).await;
        let session = self.call("{ me { sessions { nodes { id } } } }").await;
        let revoke = format!(
            "mutation {{ revokeSession(input: {{ id: {} }}) {{ __typename }} }}",
            session["me"]["sessions"]["nodes"][0]["id"]
        );
        self.call(&revoke).await;
        for end in ["logout", "logoutOthers", "logoutEverywhere"] {
            self.open_session(&login).await;
            self.call(&format!("mutation {{ {end} {{ __typename }} }}")).await;
        }
        self.open_session(&login).await;
    }

    async fn walk_todos(&mut self) {
        let one = "{ eventId event { id } todo { id history(first: 5) { totalCount nodes { id kind } pageInfo { hasPreviousPage } } } }";
        let id = json!("5f0c8a3e-1b1f-4c57-9a51-0d6a3f1f2e01");
        let create = format!(
            "mutation {{ createTodo(input: {{ id: {id}, title: \"Buy milk\", tags: [\"home\"] }}) {one} }}"
        );
        self.call(&create).await;
        self.call(&create).await;
        self.ask(&create.replace("milk", "bread")).await;
        let many = "mutation { createTodos(input: { todos: [{ title: \"a\" }, { title: \"b\" }, { title: \"c\" }] }) { eventId events { id } todos { id } } }";
        let created = self.call(many).await["createTodos"]["todos"].clone();
        let ids = json!([created[0]["id"], created[1]["id"]]);
        let last = created[2]["id"].clone();
        for arguments in [
            "",
            "(filter: { search: \"mil\" })",
            "(filter: { tags: { any: [\"home\"] } })",
            "(filter: { completed: true })",
            "(filter: { inTrash: true })",
            "(orderBy: { field: TITLE, direction: DESC })",
        ] {
            self.call(&format!(
                "{{ todos{arguments} {{ eventId totalCount nodes {{ id history {{ nodes {{ id }} }} }} }} }}"
            ))
            .await;
        }
        let page = self.call("{ todos(first: 1) { pageInfo { endCursor } } }").await;
        let cursor = &page["todos"]["pageInfo"]["endCursor"];
        self.call(&format!(
            "{{ todos(first: 1, after: {cursor}) {{ pageInfo {{ hasPreviousPage }} nodes {{ id }} }} }}"
        ))
        .await;
        let event =
            self.call(&format!("{{ todo(id: {id}) {{ history(first: 1) {{ nodes {{ id }} }} }} }}")).await;
        let event = event["todo"]["history"]["nodes"][0]["id"].clone();
        for name in ["completeTodo", "reopenTodo", "deleteTodo", "restoreTodo", "updateTodo"] {
            let more = if name == "updateTodo" { ", title: \"Buy oats\"" } else { "" };
            self.call(&format!("mutation {{ {name}(input: {{ id: {id}{more} }}) {one} }}")).await;
            self.ask(&format!(
                "mutation {{ {name}(input: {{ id: {id}, expectedVersion: 1{more} }}) {one} }}"
            ))
            .await;
            let more = if name == "updateTodo" { ", priority: LOW" } else { "" };
            self.call(&format!(
                "mutation {{ {name}s(input: {{ ids: {ids}{more} }}) {{ eventId events {{ id }} todos {{ id }} }} }}"
            ))
            .await;
            for version in [1, 7] {
                self.ask(&format!(
                    "mutation {{ {name}s(input: {{ todos: [{{ id: {last}, expectedVersion: {version} }}, {{ id: {} }}]{more} }}) {{ events {{ id }} }} }}",
                    ids[0]
                ))
                .await;
            }
        }
        for id in [&id, &event] {
            self.call(&format!("{{ node(id: {id}) {{ id }} nodes(ids: [{id}]) {{ id }} }}")).await;
        }
        let undo = |event: &Value| format!("mutation {{ undo(input: {{ eventId: {event} }}) {one} }}");
        let update = self
            .call(&format!("mutation {{ updateTodo(input: {{ id: {id}, title: \"Buy tea\" }}) {one} }}"))
            .await;
        let undone = undo(&update["updateTodo"]["todo"]["history"]["nodes"][0]["id"]);
        self.call(&undone).await;
        self.call(&undone).await;
        let complete = format!("mutation {{ completeTodos(input: {{ ids: {ids} }}) {{ events {{ id }} }} }}");
        let events = self.call(&complete).await["completeTodos"]["events"].clone();
        let undone = format!(
            "mutation {{ undoEvents(input: {{ eventIds: [{}, {}] }}) {{ events {{ id }} todos {{ id }} }} }}",
            events[0]["id"], events[1]["id"]
        );
        self.call(&undone).await;
        self.call(&undone).await;
        self.ask(&undone.replace(&events[0]["id"].to_string(), &event.to_string())).await;
        self.ask(&undo(&event)).await;
        self.call(&format!("mutation {{ purgeTodo(input: {{ id: {id} }}) {{ __typename }} }}")).await;
        self.call(&format!("mutation {{ purgeTodos(input: {{ ids: {ids} }}) {{ __typename }} }}")).await;
        self.call(&format!("mutation {{ deleteTodo(input: {{ id: {last} }}) {one} }}")).await;
        self.call("mutation { emptyTrash { purgedCount } }").await;
    }

    /// Subscribes after an event, so that later ones are loaded, too.
    async fn walk_subscription(&mut self) {
        let after = self.call("{ todos { eventId } }").await["todos"]["eventId"].clone();
        self.call("mutation { createTodo(input: { title: \"Buy soap\" }) { todo { id } } }").await;
        let query = format!("subscription {{ todoChanged(after: {after}) {{ eventId todo {{ id }} }} }}");
        self.sent.push_str(&query);
        let payload = json!({ "Authorization": format!("Bearer {}", self.token) });
        let mut client = Client::ready(self.app, payload).await;
        client.subscribe("live", &query).await;
        client.next().await;
    }

    /// Checks that every root field was called.
    async fn assert_complete(&self) {
        let schema = Introspected::of(self.app).await;
        let sent: BTreeSet<&str> = self.sent.split(|c: char| !c.is_alphanumeric()).collect();
        for root in ["Query", "Mutation", "Subscription"] {
            for field in schema.find(root)["fields"].as_array().unwrap() {
                let name = field["name"].as_str().unwrap();
                assert!(sent.contains(name), "call {name} in this test");
            }
        }
    }
}

/// Returns the faulty scans of a plan: those without an index on a key or one of `others`, or that read too many rows.
fn find_faults(plan: &Value, others: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    collect_scans(&plan["Plan"], |_| true, &mut found);
    let fault = |scan: &&Value| {
        let keys = TABLES
            .iter()
            .find(|(table, _)| scan["Relation Name"] == *table)
            .map_or(&[][..], |(_, keys)| keys);
        let by_key = uses_index_on(scan, &[keys, others].concat()) || scan["Node Type"] == "Tid Scan";
        !by_key || count_rows_read(scan) > MAX_ROWS
    };
    found.into_iter().filter(fault).map(|scan| format!("{}\n{scan:#}", plan["Query Text"])).collect()
}

fn assert_flawless(plans: &[Value], others: &[&str]) {
    let faults: Vec<_> = plans.iter().flat_map(|plan| find_faults(plan, others)).collect();
    assert!(faults.is_empty(), "{} of {} plans:\n{}", faults.len(), plans.len(), faults.join("\n"));
}

async fn assert_every_statement_reads_few_rows(explained: Explained) {
    fill(&explained).await;
    let mark = explained.mark();
    let mut walker = SchemaWalker::new(&explained.app);
    walker.walk().await;
    walker.assert_complete().await;
    let mut plans = explained.plans_since(mark);
    // Housekeeping runs some seconds after a request.
    plans.retain(|plan| !plan["Query Text"].as_str().unwrap().contains("SKIP LOCKED"));
    assert_flawless(&plans, &[]);
}

#[tokio::test]
async fn every_statement_of_a_request_reads_few_rows_of_one_user_by_an_index() {
    assert_every_statement_reads_few_rows(Explained::with_nested().await).await;
}

#[tokio::test]
async fn so_do_statements_whose_plan_is_kept() {
    let settings = ["auto_explain.log_nested_statements = on", "plan_cache_mode = force_generic_plan"];
    assert_every_statement_reads_few_rows(Explained::with(&settings).await).await;
}

/// A page further back is found by the index, also by a plan that is kept.
#[tokio::test]
async fn a_page_of_a_long_history_reads_its_own_rows_only() {
    let explained = Explained::with(&["plan_cache_mode = force_generic_plan"]).await;
    let owner = Owner::new(&explained.app, "ada@example.com").await;
    let id = owner.todo("createTodo", json!({ "title": "Buy milk" })).await["id"].clone();
    let insert = "BEGIN; SET LOCAL session_replication_role = replica;
        INSERT INTO todo_events (user_id, number, id, todo_id, kind)
            SELECT user_id, number + n, gen_random_uuid(), todo_id, 'UPDATED'
            FROM todo_events, generate_series(1, 10000) AS n;
        COMMIT";
    explained.server.sql(insert).await;
    explained.server.sql("VACUUM ANALYZE todo_events").await;
    let mut after = String::new();
    for _ in 0..4 {
        let mark = explained.mark();
        let page = format!(
            "{{ todo(id: {id}) {{ history(first: 100{after}) {{ nodes {{ id }} pageInfo {{ endCursor hasPreviousPage }} }} }} }}"
        );
        let answer = explained.app.ask_as(&owner.token, &page, Value::Null).await.body;
        let history = &answer["data"]["todo"]["history"];
        assert_eq!(history["nodes"].as_array().unwrap().len(), 100, "{answer:#}");
        after = format!(", after: {}", history["pageInfo"]["endCursor"]);
        assert_flawless(&explained.plans_since(mark), &[]);
    }
}

#[tokio::test]
async fn housekeeping_finds_expired_rows_by_an_index_on_their_time() {
    let explained = Explained::with_nested().await;
    fill(&explained).await;
    let mark = explained.mark();
    delete_expired(&explained.app.state).await.unwrap();
    let plans = explained.plans_since(mark);
    assert_flawless(&plans, &EXPIRY_COLUMNS);
}

/// True for statements whose texts are too many to be kept: lists by filter and order, and several new todos at once. And two
/// of `undo`: the row type of one may change with a migration, and the other has no good generic plan.
fn may_vary(statement: &str) -> bool {
    let is_list = statement.starts_with("SELECT") && statement.contains("FROM \"todos\" WHERE");
    is_list
        || statement.contains("), ($9, ")
        || statement.contains("jsonb_populate_record")
        || statement.starts_with("UPDATE todo_events")
}

#[tokio::test]
async fn a_connection_prepares_a_statement_once() {
    let explained = Explained::with(&["log_min_duration_statement = 0"]).await;
    let flags = ["--rate-limits=off", "--database-pool-size=1", "--database-pool-overflow=0"];
    let app = TestApp::on(&explained.server.url(), &flags, TestDatabase::empty().await).await;
    SchemaWalker::new(&app).walk().await;
    let first = explained.prepared();
    SchemaWalker::new(&app).walk().await;
    let second = explained.prepared().split_off(first.len());
    let again: Vec<_> = second
        .iter()
        .filter(|(_, text)| !may_vary(text))
        .filter(|statement| first.contains(statement))
        .collect();
    assert!(first.len() > 50 && again.is_empty(), "{}: {again:#?}", first.len());
}
