//! Subscribers see every change once and in order, whatever happens between.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Client, Owner, TestApp};

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

#[tokio::test]
async fn changes_in_another_process_are_told_to_their_owner_alone() {
    let app = TestApp::start().await;
    let other = app.beside(&[]).await;
    let (ada, bob) = (Owner::new(&app, "ada@example.com").await, Owner::new(&app, "bob@example.com").await);
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
    timeout(LIMIT, async {
        while app.state.feed.is_active() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
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
    timeout(LIMIT, async {
        while app.state.feed.is_active() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let (code, reason) = timeout(LIMIT, client.closed()).await.unwrap();
    assert_eq!((code, reason.starts_with("Too slow")), (1013, true), "{reason}");
}
