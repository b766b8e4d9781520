use serde_json::{Value, json};

use super::{Answer, TestApp};

const TODO: &str =
    "id title description completed completedAt priority dueAt tags version createdAt updatedAt deletedAt";

/// A logged-in user with todos.
pub(crate) struct Owner<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) token: String,
}

impl<'a> Owner<'a> {
    pub(crate) async fn new(app: &'a TestApp, email: &str) -> Self {
        Self { app, token: app.register(email).await.token() }
    }

    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.app.ask_as(&self.token, query, variables).await
    }

    /// Calls a mutation that returns a todo.
    pub(crate) async fn call(&self, mutation: &str, input: Value) -> Answer {
        self.call_selecting(&format!("todo {{ {TODO} }}"), mutation, input).await
    }

    /// Calls a mutation that returns a todo, and selects the event, too.
    pub(crate) async fn call_with_event(&self, mutation: &str, input: Value) -> Answer {
        let selection = format!("todo {{ {TODO} }} event {{ id kind changes {{ field before after }} }}");
        self.call_selecting(&selection, mutation, input).await
    }

    async fn call_selecting(&self, selection: &str, mutation: &str, input: Value) -> Answer {
        let kind = match mutation {
            "createTodo" => "CreateTodoInput",
            "updateTodo" => "UpdateTodoInput",
            "undo" => "UndoInput",
            _ => "TodoInput",
        };
        let query = format!("mutation M($input: {kind}!) {{ {mutation}(input: $input) {{ {selection} }} }}");
        self.ask(&query, json!({ "input": input })).await
    }

    /// Calls a mutation that returns a todo, and expects success.
    pub(crate) async fn todo(&self, mutation: &str, input: Value) -> Value {
        self.call(mutation, input).await.data(mutation)["todo"].clone()
    }

    pub(crate) async fn create(&self, title: &str) -> Value {
        self.todo("createTodo", json!({ "title": title })).await
    }

    /// Returns the titles of a list.
    pub(crate) async fn titles(&self, arguments: &str) -> Vec<String> {
        let query = format!("{{ todos{arguments} {{ nodes {{ title }} }} }}");
        let answer = self.ask(&query, Value::Null).await;
        let nodes = answer.data("todos")["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["title"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the identifier of a todo's last event.
    pub(crate) async fn last_event(&self, id: &Value) -> Value {
        let query = "query($id: ID!) { todo(id: $id) { history(first: 1) { nodes { id } } } }";
        self.ask(query, json!({ "id": id })).await.data("todo")["history"]["nodes"][0]["id"].clone()
    }
}
