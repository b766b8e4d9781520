//! Query plans of lists, as logged by PostgreSQL's auto_explain.

use serde_json::{Value, json};

use crate::support::explained::{collect_scans, count_rows_read, uses_index_on};
use crate::support::{Explained, Owner};

/// Todos of the queried user; other users have as many together.
const TODOS: usize = 100_000;
/// First of the ideographs that the descriptions of every tenth todo contain.
const HAN: usize = 0x4E00;
/// Bound on rows read for a page of 50.
const MAX_ROWS: f64 = 150.0;

impl Explained {
    /// Fills the table without triggers, with the rows that they would produce.
    async fn fill(&self) {
        self.server
            .sql(&format!(
                "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off;
                 INSERT INTO todos (user_id, id, title, description, priority, due_at, tags, created_at, updated_at, completed, completed_at)
                 SELECT users.id, gen_random_uuid(), 'Todo ' || n * 7919 % {TODOS}, 'number n' || n || ' of many'
                     || CASE WHEN n % 10 = 2 THEN ' 買' || chr({HAN} + n % 20000) || chr({HAN} + n * 7 % 20000) ELSE '' END,
                     (ARRAY['NONE', 'NONE', 'LOW', 'HIGH'])[1 + n % 4],
                     CASE WHEN n % 3 > 0 THEN timestamptz '2030-01-01' + n * interval '1 minute' END,
                     ARRAY['t' || abs(hashint4(n)::bigint) % 10, 'rare' || n % 10000],
                     timestamptz '2026-01-01' + n * interval '1 second',
                     timestamptz '2026-06-01' - n * interval '1 second',
                     n % 5000 = 0, CASE WHEN n % 5000 = 0 THEN timestamptz '2026-06-01' END
                 FROM generate_series(1, {TODOS}) AS n JOIN users ON email LIKE 'ada%' OR n % 2 = 0;
                 COMMIT;"
            ))
            .await;
        self.server.sql("VACUUM ANALYZE todos").await;
    }

    /// Returns the plans of the statements on todos that a query runs.
    async fn plans(&self, owner: &Owner<'_>, query: &str) -> Vec<Value> {
        let mark = self.mark();
        let answer = owner.ask(query, Value::Null).await;
        assert!(answer.body.get("errors").is_none(), "{:#}", answer.body);
        let plans = self.plans_since(mark).into_iter();
        plans.filter(|plan| plan["Query Text"].as_str().unwrap().contains("todo")).collect()
    }
}

/// Collects the nodes of a plan that read todos.
fn find_todo_scans(plan: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    collect_scans(plan, |table| table == "todos", &mut found);
    found
}

/// Returns true if a scan finds rows by their owner.
fn is_owned(scan: &Value) -> bool {
    uses_index_on(scan, &["user_id", "terms @@"])
}

#[tokio::test]
async fn every_page_of_100_000_todos_costs_the_same_and_reads_no_rows_of_others() {
    let explained = Explained::start().await;
    explained.app.register("bob@example.com").await;
    let ada = Owner::new(&explained.app, "ada@example.com").await;
    explained.fill().await;
    let ideograph = |n| u32::try_from(HAN + n).ok().and_then(char::from_u32).unwrap();
    let first = ideograph(50_002 % 20_000);
    let second = ideograph(50_002 * 7 % 20_000);
    let [one, two, three] = [format!("{first}"), format!("{first}{second}"), format!("買{first}{second}")];
    let [one, two, three] = [one, two, three].map(|text| format!("search: \"{text}\""));
    println!("{:>10} {:>5} {:<42} {:>6} {:>10} {:>9}  plan", "order", "", "filter", "page", "rows", "ms");
    for field in ["CREATED_AT", "UPDATED_AT", "DUE_AT", "PRIORITY", "TITLE"] {
        for direction in ["ASC", "DESC"] {
            let order = format!("orderBy: {{ field: {field}, direction: {direction} }}");
            let query =
                format!("{{ todos({order}, filter: {{ search: \"n50002\" }}) {{ edges {{ cursor }} }} }}");
            let middle = ada.ask(&query, Value::Null).await.data("todos")["edges"][0]["cursor"].clone();
            explained.assert_bounded_before(&ada, &order, &middle).await;
            for (filter, max_rows) in [
                ("", MAX_ROWS),
                ("completed: false", MAX_ROWS),
                ("completed: true", MAX_ROWS),
                ("priority: HIGH", 1000.0),
                ("tags: { any: [\"t3\"] }", 3000.0),
                ("tags: { all: [\"t3\", \"rare33\"] }", MAX_ROWS),
                ("search: \"n7777\"", MAX_ROWS),
                (&one, MAX_ROWS),
                (&two, MAX_ROWS),
                (&three, MAX_ROWS),
                ("dueBefore: \"2030-01-01T01:00:00Z\"", MAX_ROWS),
                ("inTrash: true", MAX_ROWS),
            ] {
                for (page, after) in [("first", String::new()), ("middle", format!(", after: {middle}"))] {
                    let list = format!(
                        "{{ todos(first: 50, {order}{after}, filter: {{ {filter} }}) {{ nodes {{ id }} }} }}"
                    );
                    let plans = explained.plans(&ada, &list).await;
                    assert_eq!(plans.len(), 1, "{plans:#?}");
                    let plan = &plans[0]["Plan"];
                    let found = find_todo_scans(plan);
                    let rows: f64 = found.iter().map(|scan| count_rows_read(scan)).sum();
                    let names: Vec<_> = found
                        .iter()
                        .map(|scan| scan["Index Name"].as_str().or(scan["Node Type"].as_str()).unwrap())
                        .collect();
                    println!(
                        "{field:>10} {direction:>5} {filter:<42} {page:>6} {rows:>10} {:>9}  {}",
                        plan["Actual Total Time"],
                        names.join(" ")
                    );
                    // Only longer runs without spaces are compared with the text.
                    assert_eq!(
                        plan.to_string().contains("todo_contains"),
                        filter == three.as_str(),
                        "{list}: {plan:#}"
                    );
                    // Called once per row unless it is inlined.
                    assert!(!plan.to_string().contains("todo_rank("), "{list}: {plan:#}");
                    assert!(!found.is_empty() && found.iter().all(|scan| is_owned(scan)), "{list}: {plan:#}");
                    assert!(rows <= max_rows, "{list} looked at {rows} rows: {plan:#}");
                }
            }
        }
    }
}

impl Explained {
    /// Checks the look at what is before a page in the middle of a list.
    async fn assert_bounded_before(&self, owner: &Owner<'_>, order: &str, after: &Value) {
        let list = format!(
            "{{ todos(first: 50, {order}, after: {after}) {{ nodes {{ id }} pageInfo {{ hasPreviousPage }} }} }}"
        );
        let plans = self.plans(owner, &list).await;
        assert_eq!(plans.len(), 2, "{plans:#?}");
        for plan in plans {
            assert!(
                find_todo_scans(&plan["Plan"])
                    .into_iter()
                    .all(|scan| is_owned(scan) && count_rows_read(scan) <= MAX_ROWS),
                "{list}: {plan:#}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_with_all_histories_runs_as_many_statements_as_one_with_one() {
    let explained = Explained::start().await;
    let ada = Owner::new(&explained.app, "ada@example.com").await;
    for _ in 0..20 {
        ada.create("a").await;
    }
    for first in [1, 20] {
        let page = format!(
            "{{ todos(first: {first}) {{ totalCount nodes {{ history(first: 2) {{ totalCount nodes {{ id }} }} }} }} }}"
        );
        let plans = explained.plans(&ada, &page).await;
        assert_eq!(plans.len(), 4, "{plans:#?}");
        let page = format!(
            "{{ todos(first: {first}) {{ nodes {{ id history(first: 2) {{ nodes {{ id }} }} }} }} }}"
        );
        assert_eq!(explained.plans(&ada, &page).await.len(), 2);
    }
    assert_eq!(explained.plans(&ada, "{ todos { nodes { id } } }").await.len(), 1);
    assert_eq!(explained.plans(&ada, "{ todos { eventId nodes { id } } }").await.len(), 2);
    let update = "mutation($input: TodosInput!) { completeTodos(input: $input) { todos { id } } }";
    let ids = ada.ask("{ todos { nodes { id } } }", Value::Null).await.data("todos")["nodes"].clone();
    let ids: Vec<_> = ids.as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
    let answer = ada.ask(update, json!({ "input": { "ids": ids } })).await;
    assert_eq!(answer.data("completeTodos")["todos"].as_array().unwrap().len(), 20);
    let reopen = async |selection: &str| {
        let query = format!("mutation {{ reopenTodos(input: {{ ids: {} }}) {{ {selection} }} }}", json!(ids));
        explained.plans(&ada, &query).await.len()
    };
    assert_eq!((reopen("todos { id }").await, reopen("todos { id } events { id }").await), (1, 2));
    let nodes = format!("{{ nodes(ids: {}) {{ id }} }}", json!(ids));
    assert_eq!(explained.plans(&ada, &nodes).await.len(), 1);
}
