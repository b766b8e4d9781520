//! Fast path for frequent queries: rows are serialized straight to JSON, not resolved field by field. async-graphql spends a
//! future, an allocation and a hash look-up on each field of each row, and copies each value twice on its way to JSON.
//!
//! A query is compiled once, with its plan. One that selects a field without a written form is resolved like any other.

mod json;
mod todos;
mod user;

use async_graphql::indexmap::IndexMap;
use async_graphql::{InputType, Name, OutputType, PathSegment, Pos, Response, Value};

use self::json::JsonBuffer;
use self::todos::PageFields;
use self::user::UserFields;
use super::context::Caller;
use super::engine::{Arguments, PlannedField};
use super::schema::Query;
use super::schema::connections::PageArguments;
use super::schema::todos::TodoPageQuery;
use crate::error::AppError;
use crate::state::AppState;

/// A compiled query of at most one of `me` and `todos`, and of `__typename`.
pub(super) struct WrittenQuery {
    fields: Vec<(Name, RootField)>,
}

enum RootField {
    TypeName,
    Me(UserFields, Pos),
    Todos(PageFields, Pos),
}

impl WrittenQuery {
    /// Compiles the root fields of a query; `None` if one has no written form, or more than one reads from the database.
    pub(super) fn compile(root: &[PlannedField]) -> Option<Self> {
        let reading = root.iter().filter(|field| field.name != "__typename").count();
        let fields = root.iter().map(|field| Some((field.response_key.clone(), RootField::parse(field)?)));
        if reading > 1 { None } else { Some(Self { fields: fields.collect::<Option<_>>()? }) }
    }

    /// Executes the query with the arguments of the field that reads.
    pub(super) async fn execute(
        &self,
        state: &AppState,
        caller: &Caller,
        mut arguments: Arguments,
    ) -> Response {
        let mut data = IndexMap::with_capacity(self.fields.len());
        let mut errors = Vec::new();
        for (key, field) in &self.fields {
            let (written, position) = match field {
                RootField::TypeName => (Ok(Value::from(Query::type_name().as_ref())), Pos::default()),
                RootField::Me(fields, position) => (write_me(state, caller, fields).await, *position),
                RootField::Todos(fields, position) => {
                    (write_todos(state, caller, fields, &mut arguments).await, *position)
                }
            };
            let value = written.unwrap_or_else(|error| {
                let mut error = async_graphql::Error::from(error).into_server_error(position);
                error.path.push(PathSegment::Field(key.to_string()));
                errors.push(error);
                Value::Null
            });
            data.insert(key.clone(), value);
        }
        // `todos` is non-null, so its error makes `data` null.
        let has_failed =
            |(_, field): &(Name, RootField)| matches!(field, RootField::Todos(..)) && !errors.is_empty();
        let data = if self.fields.iter().any(has_failed) { Value::Null } else { Value::Object(data) };
        let mut response = Response::new(data);
        response.errors = errors;
        response
    }
}

impl RootField {
    fn parse(field: &PlannedField) -> Option<Self> {
        Some(match field.name.as_str() {
            "__typename" => Self::TypeName,
            "me" => Self::Me(UserFields::compile(field)?, field.position),
            "todos" => Self::Todos(PageFields::compile(field)?, field.position),
            _ => return None,
        })
    }
}

/// Wraps JSON as a value that `transport::wire` copies to the response unchanged.
fn wrap_json(json: JsonBuffer) -> Value {
    Value::Binary(json.into_bytes().into())
}

async fn write_me(state: &AppState, caller: &Caller, fields: &UserFields) -> Result<Value, AppError> {
    let Some(identity) = caller.requester.identity()? else { return Ok(Value::Null) };
    let user = state.auth.find_user(identity.user_id).await?;
    Ok(wrap_json(fields.write(&user)))
}

async fn write_todos(
    state: &AppState,
    caller: &Caller,
    fields: &PageFields,
    arguments: &mut Arguments,
) -> Result<Value, AppError> {
    let user_id = caller.requester.require_identity()?.user_id;
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
    Ok(wrap_json(fields.write(&query, &page)))
}

/// Takes an argument. The engine has coerced its value, so it is of the right type.
fn take<T: InputType>(arguments: &mut Arguments, name: &str) -> Result<T, AppError> {
    let index = arguments.iter().position(|(argument, _)| argument == name);
    let value = index.map(|index| arguments.swap_remove(index).1);
    T::parse(value).map_err(|_| AppError::internal(anyhow::anyhow!("the argument {name} was not coerced")))
}
