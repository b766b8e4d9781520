use std::collections::HashMap;

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{SecurityEvent, Session, Todo, TodoEvent};

/// A row of a user that clients know by its identifier, from any table.
#[derive(Clone, Debug)]
pub enum OwnedRow {
    /// A todo, in the trash or not.
    Todo(Todo),
    /// A change of a todo, which may have been purged.
    TodoEvent(TodoEvent),
    /// An unexpired session.
    Session(Session),
    /// A security event.
    SecurityEvent(SecurityEvent),
}

impl OwnedRow {
    /// Finds a user's rows among `ids`, with one statement per table until all are found. A todo wins over another row with the
    /// same identifier, which only a client can have made.
    pub async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<HashMap<Uuid, Self>> {
        let mut search = Search { missing: ids.to_vec(), found: HashMap::new() };
        let todos = Todo::find_all(conn, user_id, &search.missing).await?;
        search.add(todos, |todo| (todo.id, Self::Todo(todo)));
        if !search.missing.is_empty() {
            let events = TodoEvent::find_all(conn, user_id, &search.missing).await?;
            search.add(events, |event| (event.id, Self::TodoEvent(event)));
        }
        if !search.missing.is_empty() {
            let sessions = Session::find_all(conn, user_id, &search.missing).await?;
            search.add(sessions, |session| (session.id, Self::Session(session)));
        }
        if !search.missing.is_empty() {
            let events = SecurityEvent::find_all(conn, user_id, &search.missing).await?;
            search.add(events, |event| (event.id, Self::SecurityEvent(event)));
        }
        Ok(search.found)
    }
}

struct Search {
    missing: Vec<Uuid>,
    found: HashMap<Uuid, OwnedRow>,
}

impl Search {
    fn add<R>(&mut self, rows: Vec<R>, row: impl Fn(R) -> (Uuid, OwnedRow)) {
        self.found.extend(rows.into_iter().map(row));
        self.missing.retain(|id| !self.found.contains_key(id));
    }
}
