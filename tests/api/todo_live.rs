//! Subscribers see every change once and in order, whatever happens between.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Client, Owner, TestApp, rows};

const LIMIT: Duration = Duration::from_secs(30);
const CHANGES: &str = "subscription { todoChanged { eventId kind at todoId todo { id title } } }";

async fn subscriber(app: &TestApp, token: &str, query: &str) -> Client {
    let mut client = Client::ready(app, json!({ "Authorization": format!("Bearer {token}") })).await;
    client.subscribe("live", query).await;
    client
}

async fn next(client: &mut Client) -> Value {
    timeout(LIMIT, client.next()).await.expect("a change in time")["todoChanged"].clone()
}

/// Waits until a subscription that was asked for has begun, which nothing else tells.
async fn listening(app: &TestApp) {
    timeout(LIMIT, async {
        while !app.state.feed.is_active() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The subscriber's first look at the numbers comes right after.
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await
    .unwrap();
}

/// Waits until all subscribers are gone. A test that ended while the service connects to listen would wait for that.
async fn not_listening(app: &TestApp) {
    timeout(LIMIT, async {
        while app.state.feed.is_active() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn changes_in_another_process_are_told_to_their_owner_alone() {
    let app = TestApp::start().await;
    let other = app.beside(&[]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let mut client = subscriber(&app, &ada.token, CHANGES).await;
    let mut bobs = subscriber(&app, &bob.token, CHANGES).await;
    listening(&app).await;
    let writer = Owner { app: &other, token: ada.token.clone() };
    let id = writer.create("a").await["id"].clone();
    writer.todo("completeTodo", json!({ "id": id })).await;
    bob.create("b").await;
    let change = next(&mut client).await;
    assert_eq!(
        (&change["kind"], &change["todoId"], &change["todo"]["title"]),
        (&json!("CREATED"), &id, &json!("a"))
    );
    assert_eq!(next(&mut client).await["kind"], "COMPLETED");
    assert_eq!(next(&mut bobs).await["todo"]["title"], "b");
    let purge = format!("mutation {{ purgeTodo(input: {{ id: {id} }}) {{ purgedTodoId }} }}");
    writer.ask(&purge, Value::Null).await.data("purgeTodo");
    let change = next(&mut client).await;
    assert_eq!((&change["kind"], &change["todo"]), (&json!("PURGED"), &Value::Null));
}

#[tokio::test]
async fn a_subscriber_that_is_cut_off_in_a_burst_goes_on_where_it_was() {
    let app = TestApp::start().await;
    let other = app.beside(&[]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut client = subscriber(&app, &ada.token, CHANGES).await;
    listening(&app).await;
    let writer = Owner { app: &other, token: ada.token.clone() };
    let burst = async {
        for round in 0..50 {
            let batch = (0..20).map(async |n| writer.create(&(round * 20 + n).to_string()).await);
            futures_util::future::join_all(batch).await;
        }
    };
    let reading = async {
        let mut seen: Vec<Value> = Vec::new();
        for piece in [100, 300, 50, 550] {
            for _ in 0..piece {
                seen.push(next(&mut client).await);
            }
            // Without a goodbye, with changes under way.
            drop(std::mem::replace(&mut client, {
                let last = seen.last().unwrap()["eventId"].as_str().unwrap();
                let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: \"{last}\")"));
                subscriber(&app, &ada.token, &query).await
            }));
        }
        seen
    };
    let ((), seen) = tokio::join!(burst, reading);
    let events: HashSet<_> = seen.iter().map(|change| change["eventId"].as_str().unwrap()).collect();
    let todos: HashSet<_> = seen.iter().map(|change| change["todoId"].as_str().unwrap()).collect();
    assert_eq!((seen.len(), events.len(), todos.len()), (1000, 1000, 1000));
    let times: Vec<_> = seen
        .iter()
        .map(|change| change["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap())
        .collect();
    assert!(times.is_sorted());
}

#[tokio::test]
async fn changes_arrive_also_where_listening_is_impossible() {
    let app = TestApp::with(&["--database-direct-url=postgresql://nobody@127.0.0.1:1/nothing"]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut client = subscriber(&app, &ada.token, CHANGES).await;
    listening(&app).await;
    ada.create("a").await;
    assert_eq!(next(&mut client).await["todo"]["title"], "a");
}

#[tokio::test]
async fn the_database_is_listened_to_only_while_somebody_listens() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    assert!(!app.state.feed.is_active());
    let client = subscriber(&app, &ada.token, CHANGES).await;
    listening(&app).await;
    // Neither the subscription nor the socket, which wants to hear of the end of its session, is there any more.
    drop(client);
    not_listening(&app).await;
}

#[tokio::test]
async fn a_socket_of_nobody_needs_no_listener() {
    let app = TestApp::start().await;
    let mut client = Client::ready(&app, json!({})).await;
    // Nor do a query on it and a subscription that is refused.
    client.subscribe("query", "{ __typename }").await;
    assert_eq!(client.receive().await["type"], "next");
    assert_eq!(client.receive().await["type"], "complete");
    client.subscribe("live", CHANGES).await;
    let message = client.receive().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{message:#}");
    assert!(!app.state.feed.is_active());
}

#[tokio::test]
async fn a_subscription_ends_with_its_session() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut client = subscriber(&app, &ada.token, CHANGES).await;
    listening(&app).await;
    ada.ask("mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    assert_eq!(timeout(LIMIT, client.closed()).await.unwrap().0, 4403);
}

#[tokio::test]
async fn what_is_no_event_of_ones_own_is_not_found() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for after in ["x", "0192c0de-0000-7000-8000-000000000001"] {
        let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: \"{after}\")"));
        let mut client = subscriber(&app, &ada.token, &query).await;
        let message = client.receive().await;
        assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "NOT_FOUND", "{message:#}");
        assert_eq!(client.receive().await["type"], "complete");
    }
    let mut client = Client::ready(&app, json!({})).await;
    client.subscribe("live", CHANGES).await;
    let message = client.receive().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{message:#}");
}

/// Subscribes after an event, and returns the kinds and titles of the changes up to a final one.
async fn changes_after(owner: &Owner<'_>, event: &Value) -> Vec<String> {
    let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: {event})"));
    let mut client = subscriber(owner.app, &owner.token, &query).await;
    owner.create("final").await;
    let mut seen = Vec::new();
    loop {
        let change = next(&mut client).await;
        if change["todo"]["title"] == "final" {
            return seen;
        }
        seen.push(format!("{} {}", change["kind"].as_str().unwrap(), change["todo"]["title"]));
    }
}

#[tokio::test]
async fn a_subscriber_can_start_where_a_list_or_a_payload_ends() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let list = async |owner: &Owner<'_>| {
        owner.ask("{ todos { eventId } }", Value::Null).await.data("todos")["eventId"].clone()
    };
    // Before the first event of a user.
    let beginning = list(&ada).await;
    bob.create("b").await;
    assert_eq!(list(&ada).await, beginning);
    ada.create("a1").await;
    assert_eq!(changes_after(&ada, &beginning).await, ["CREATED \"a1\""]);
    assert_eq!(changes_after(&bob, &beginning).await, ["CREATED \"b\""]);

    // The place is that of the latest event.
    let newest = "SELECT id::text AS text FROM todo_events WHERE user_id = (SELECT id FROM users WHERE email LIKE 'ada%')
        ORDER BY number DESC LIMIT 1";
    assert_eq!(list(&ada).await, json!(rows(&app, newest).await[0]));
    for (mutation, kind, input) in [
        (
            "createTodo",
            "CreateTodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "x" }),
        ),
        (
            "createTodo",
            "CreateTodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "x" }),
        ),
        ("createTodos", "CreateTodosInput", json!({ "todos": [{ "title": "x" }, { "title": "y" }] })),
        (
            "updateTodo",
            "UpdateTodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "y" }),
        ),
        (
            "updateTodo",
            "UpdateTodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "y" }),
        ),
        (
            "completeTodo",
            "TodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "expectedVersion": 2 }),
        ),
        (
            "completeTodo",
            "TodoInput",
            json!({ "id": "0192c0de-0000-7000-8000-000000000001", "expectedVersion": 2 }),
        ),
        ("reopenTodos", "TodosInput", json!({ "ids": ["0192c0de-0000-7000-8000-000000000001"] })),
        ("deleteTodos", "TodosInput", json!({ "ids": ["0192c0de-0000-7000-8000-000000000001"] })),
        ("purgeTodo", "TodoInput", json!({ "id": "0192c0de-0000-7000-8000-000000000001" })),
    ] {
        let query = format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ eventId }} }}");
        let event = ada.ask(&query, json!({ "input": input })).await.data(mutation)["eventId"].clone();
        assert_eq!(event, json!(rows(&app, newest).await[0]), "{mutation}");
        assert!(changes_after(&ada, &event).await.is_empty(), "{mutation}");
    }
    let answer = ada.ask("mutation { emptyTrash { eventId purgedCount } }", Value::Null).await;
    assert_eq!(answer.data("emptyTrash")["eventId"], json!(rows(&app, newest).await[0]));
    let event = rows(&app, newest).await.remove(0);
    let undo =
        format!("mutation {{ undo(input: {{ eventId: \"{event}\" }}) {{ eventId todo {{ title }} }} }}");
    let undone = ada.ask(&undo, Value::Null).await.data("undo")["eventId"].clone();
    assert_eq!(undone, json!(rows(&app, newest).await[0]));
    assert_eq!(ada.ask(&undo, Value::Null).await.data("undo")["eventId"], undone);
    let conflict = json!({ "input": { "id": "0192c0de-0000-7000-8000-000000000009", "title": "y" } });
    let update = "mutation($input: UpdateTodoInput!) { updateTodo(input: $input) { eventId } }";
    assert_eq!(ada.ask(update, conflict).await.code(), "NOT_FOUND");
    not_listening(&app).await;
}

#[tokio::test]
async fn a_place_is_usable_until_events_after_it_are_deleted() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let list = async || ada.ask("{ todos { eventId } }", Value::Null).await.data("todos")["eventId"].clone();
    let beginning = list().await;
    ada.create("a").await;
    ada.create("b").await;
    let newest = list().await;
    // All events expire, and with them the identifier of the newest one.
    app.database.sql("DELETE FROM todo_events").await;
    let place = list().await;
    assert_ne!(place, newest);
    assert!(changes_after(&ada, &place).await.is_empty());
    for gone in [beginning, newest, json!("00000000-0000-0000-0000-0000000000ff"), json!("0")] {
        let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: {gone})"));
        let mut client = subscriber(&app, &ada.token, &query).await;
        let message = client.receive().await;
        assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "NOT_FOUND", "{message:#}");
    }
    not_listening(&app).await;
}

#[tokio::test]
async fn no_change_falls_between_a_list_and_the_events_after_it() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let writing = async {
        for n in 0..200 {
            ada.create(&n.to_string()).await;
        }
    };
    let reading = async {
        let mut checked = 0;
        while checked < 20 {
            let page =
                ada.ask("{ todos(first: 100) { eventId totalCount nodes { title } } }", Value::Null).await;
            let list = page.data("todos");
            let number = format!(
                "SELECT number::text AS text FROM todo_events WHERE id::text = '{}'",
                list["eventId"].as_str().unwrap()
            );
            let events = rows(&app, &number).await.first().map_or(0, |number| number.parse().unwrap());
            // One event for each todo: the list has at least those up to its event.
            let listed = list["nodes"].as_array().unwrap().len();
            assert!(listed >= events.min(100), "{listed} todos, {events} events");
            checked += 1;
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_is_told_so_and_cut() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let query = "subscription { todoChanged { todo { description } } }";
    let mut client = subscriber(&app, &ada.token, query).await;
    listening(&app).await;
    // More than the system holds for a connection; the service itself holds a hundred changes at a time.
    let many = "INSERT INTO todos (user_id, id, title, description)
        SELECT id, gen_random_uuid(), 'a', repeat('x', 10000) FROM users, generate_series(1, 2000)";
    app.database.sql(many).await;
    not_listening(&app).await;
    let (code, reason) = timeout(LIMIT, client.closed()).await.unwrap();
    assert_eq!((code, reason.starts_with("Too slow")), (1013, true), "{reason}");
}
