//! Relay's global object identification (<https://relay.dev/graphql/objectidentification.htm>).

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object};
use uuid::Uuid;

use super::accounts::User;
use super::directives::{any_reason, errors};
use super::security_events::SecurityEvent;
use super::sessions::{Listed, Session};
use super::todos::{Todo, TodoEvent};
use crate::auth::Identity;
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::ErrorCode;
use crate::models::OwnedRow;

/// Maximum number of objects per query.
const MAX_NODES: usize = 100;

/// An object that `node` and `nodes` find by its identifier.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "&ID", desc = "Identifier, a UUID."))]
enum Node {
    Todo(Todo),
    TodoEvent(TodoEvent),
    Session(Session),
    SecurityEvent(SecurityEvent),
    User(User),
}

impl Node {
    fn new(identity: Identity, row: OwnedRow) -> Self {
        match row {
            OwnedRow::Todo(todo) => Self::Todo(Todo::new(identity.user_id, todo)),
            OwnedRow::TodoEvent(event) => Self::TodoEvent(event.into()),
            OwnedRow::Session(session) => Self::Session(Listed(session, Some(identity.session_id)).into()),
            OwnedRow::SecurityEvent(event) => Self::SecurityEvent(event.into()),
        }
    }
}

/// Queries by identifier alone.
#[derive(Default)]
pub(super) struct NodeQuery;

/// Read operations by identifier.
#[Object]
impl NodeQuery {
    /// An object of the user by its identifier: the user, a todo, an event of a todo, an active session or a security event.
    /// Null if it does not exist or belongs to another user.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Identifier of the object.")] id: ID,
    ) -> Option<Result<Arc<Node>, AppError>> {
        let found = find(ctx, &[id]).await;
        found.map(|nodes| nodes.into_iter().next().flatten()).transpose()
    }

    /// Up to 100 of the user's objects by their identifiers, in the order of `ids`; null in place of each that does not
    /// exist or belongs to another user.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput, ErrorCode::Unauthenticated], any_reason()))]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Identifiers of the objects, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Arc<Node>>>, AppError> {
        if ids.len() > MAX_NODES {
            let message = format!("Give at most {MAX_NODES} identifiers.");
            let problem = Problem { code: "INVALID", message };
            return Err(AppError::BadUserInput(vec![FieldProblem { path: vec!["ids".into()], problem }]));
        }
        find(ctx, &ids).await
    }
}

/// Finds the requester's objects. Text that is not a UUID identifies nothing.
async fn find(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Arc<Node>>>, AppError> {
    let identity = ctx.caller()?.requester.require_identity()?;
    let ids: Vec<Option<Uuid>> = ids.iter().map(|id| id.parse().ok()).collect();
    let mut found = HashMap::new();
    let user_id = identity.user_id;
    if ids.contains(&Some(user_id)) {
        let user = ctx.state()?.auth.find_user(user_id).await?;
        found.insert(user_id, Arc::new(Node::User(user.into())));
    }
    let others: Vec<_> = ids.iter().flatten().copied().filter(|id| *id != user_id).collect();
    if !others.is_empty() {
        let read = async |conn: &mut _| OwnedRow::find_all(conn, user_id, &others).await;
        let rows = ctx.state()?.database.read_for(user_id, read).await?;
        found.extend(rows.into_iter().map(|(id, row)| (id, Arc::new(Node::new(identity, row)))));
    }
    Ok(ids.into_iter().map(|id| found.get(&id?).cloned()).collect())
}
