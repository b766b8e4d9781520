//! Fast path for frequent queries: rows are serialized straight to JSON, not resolved field by field. async-graphql spends a
//! future, an allocation and a hash look-up on each field of each row, and copies each value twice on its way to JSON.
//!
//! A query is compiled once, with its plan. One that selects a field without a written form is resolved like any other.

mod json;
mod todos;
mod user;

use async_graphql::{InputType, Name, OutputType, PathSegment, Pos, Response, Value};

use self::json::JsonBuffer;
use self::todos::{PageFields, TODO_BYTES};
use self::user::{USER_BYTES, UserFields};
use super::context::Caller;
use super::engine::{Arguments, PlannedField};
use super::schema::Query;
use super::schema::connections::PageArguments;
use super::schema::todos::TodoPageQuery;
use crate::error::AppError;
use crate::state::AppState;

/// A compiled query of at most one of `me` and `todos`, and of `__typename`.
pub(super) struct WrittenQuery {
    /// JSON of `data` up to the value of the field that reads, or as a whole.
    before: String,
    /// The field that reads from the database.
    read: Option<ReadField>,
    /// JSON of `data` after its value.
    after: String,
}

struct ReadField {
    key: Name,
    position: Pos,
    selected: Selected,
}

enum Selected {
    Me(UserFields),
    Todos(PageFields),
}

impl WrittenQuery {
    /// Compiles the root fields of a query; `None` if one has no written form, or more than one reads from the database.
    pub(super) fn compile(root: &[PlannedField]) -> Option<Self> {
        let type_name = format!("\"{}\"", Query::type_name());
        let mut query = Self { before: "{".into(), read: None, after: String::new() };
        for (index, field) in root.iter().enumerate() {
            let text = if query.read.is_none() { &mut query.before } else { &mut query.after };
            text.push_str(if index > 0 { ",\"" } else { "\"" });
            text.push_str(&field.response_key);
            text.push_str("\":");
            if field.name == "__typename" {
                text.push_str(&type_name);
            } else if query.read.is_none() {
                query.read = Some(ReadField::compile(field)?);
            } else {
                return None;
            }
        }
        let end = if query.read.is_none() { &mut query.before } else { &mut query.after };
        end.push('}');
        Some(query)
    }

    /// Executes the query with the arguments of the field that reads.
    pub(super) async fn execute(&self, state: &AppState, caller: &Caller, arguments: Arguments) -> Response {
        let Some(read) = &self.read else { return Response::new(self.write_data(0, |_| {})) };
        // Boxed: the futures around it are moved several times.
        let written = match &read.selected {
            Selected::Me(fields) => Box::pin(self.write_me(state, caller, fields)).await,
            Selected::Todos(fields) => Box::pin(self.write_todos(state, caller, fields, arguments)).await,
        };
        match written {
            Ok(data) => Response::new(data),
            Err(error) => self.fail(read, error),
        }
    }

    async fn write_me(
        &self,
        state: &AppState,
        caller: &Caller,
        fields: &UserFields,
    ) -> Result<Value, AppError> {
        let user = match caller.requester.identity()? {
            Some(identity) => Some(state.auth.find_user(identity.user_id).await?),
            None => None,
        };
        let write = |json: &mut JsonBuffer| json.optional(user, |json, user| fields.write(json, &user));
        Ok(self.write_data(USER_BYTES, write))
    }

    async fn write_todos(
        &self,
        state: &AppState,
        caller: &Caller,
        fields: &PageFields,
        mut arguments: Arguments,
    ) -> Result<Value, AppError> {
        let user_id = caller.requester.require_identity()?.user_id;
        let arguments = &mut arguments;
        let after: Option<String> = take(arguments, "after")?;
        let before: Option<String> = take(arguments, "before")?;
        let page = PageArguments {
            first: take(arguments, "first")?,
            after: after.as_deref(),
            last: take(arguments, "last")?,
            before: before.as_deref(),
        };
        let filter = take(arguments, "filter")?;
        let query = TodoPageQuery::parse(user_id, page, filter, take(arguments, "orderBy")?)?;
        let page = query.load(state, fields.columns(&query), fields.wanted(&query)).await?;
        let bytes = (page.rows.items.len() + 1) * TODO_BYTES;
        Ok(self.write_data(bytes, |json| fields.write(json, &query, &page)))
    }

    /// Returns the response if the field that reads fails.
    fn fail(&self, read: &ReadField, error: AppError) -> Response {
        let mut error = async_graphql::Error::from(error).into_server_error(read.position);
        error.path.push(PathSegment::Field(read.key.to_string()));
        let data = match read.selected {
            Selected::Me(_) => self.write_data(0, JsonBuffer::null),
            // Non-null, so its error makes `data` null.
            Selected::Todos(_) => Value::Null,
        };
        let mut response = Response::new(data);
        response.errors.push(error);
        response
    }

    /// Returns `data` as JSON that `transport::wire` copies to the response unchanged. Reserves `bytes` for the value that
    /// `write_value` writes.
    fn write_data(&self, bytes: usize, write_value: impl FnOnce(&mut JsonBuffer)) -> Value {
        let mut json = JsonBuffer::with_capacity(self.before.len() + bytes + self.after.len());
        json.append(&self.before);
        write_value(&mut json);
        json.append(&self.after);
        Value::Binary(json.into_bytes().into())
    }
}

impl ReadField {
    fn compile(field: &PlannedField) -> Option<Self> {
        let selected = match field.name.as_str() {
            "me" => Selected::Me(UserFields::compile(field)?),
            "todos" => Selected::Todos(PageFields::compile(field)?),
            _ => return None,
        };
        Some(Self { key: field.response_key.clone(), position: field.position, selected })
    }
}

/// Takes an argument. The engine has coerced its value, so it is of the right type.
fn take<T: InputType>(arguments: &mut Arguments, name: &str) -> Result<T, AppError> {
    let index = arguments.iter().position(|(argument, _)| argument == name);
    let value = index.map(|index| arguments.swap_remove(index).1);
    T::parse(value).map_err(|_| AppError::internal(anyhow::anyhow!("the argument {name} was not coerced")))
}
