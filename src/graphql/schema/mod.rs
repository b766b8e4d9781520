//! The GraphQL schema: thin resolvers over [`crate::auth`] and [`crate::models`], one file per topic.

pub(super) mod accounts;
pub(super) mod connections;
mod cookie;
pub(super) mod cursors;
mod directives;
mod nodes;
mod profile;
mod security_events;
mod sessions;
pub(super) mod todos;

use async_graphql::dataloader::DataLoader;
use async_graphql::{MergedObject, SDLExportOptions, SchemaBuilder, ValidationMode};

pub(crate) use cookie::read as refresh_token_in_cookie;
pub use cursors::Cursors;

use super::engine::MAX_RECURSION;
use crate::state::AppState;
use crate::telemetry::RequestContext;

/// The schema that the service executes.
pub type Schema = async_graphql::Schema<Query, Mutation, todos::Subscription>;

/// Read operations.
#[derive(Default, MergedObject)]
pub struct Query(accounts::AccountQuery, todos::TodoQuery, nodes::NodeQuery);

/// Write operations.
#[derive(Default, MergedObject)]
pub struct Mutation(
    accounts::AccountMutation,
    sessions::SessionMutation,
    profile::ProfileMutation,
    todos::TodoMutation,
);

fn builder() -> SchemaBuilder<Query, Mutation, todos::Subscription> {
    Schema::build(Query::default(), Mutation::default(), todos::Subscription::default())
        .limit_recursive_depth(MAX_RECURSION)
        // The engine has validated every document.
        .validation_mode(ValidationMode::Fast)
}

/// Builds the schema with the data of its resolvers. Without introspection its errors suggest nothing, either.
pub fn schema(state: AppState, introspection: bool) -> Schema {
    // On tasks of their own, which still belong to the request.
    let spawn = |load| tokio::spawn(RequestContext::current().scope(load));
    let history = DataLoader::new(todos::HistoryLoader(state.clone()), spawn);
    let builder = builder().data(history).data(state);
    if introspection {
        builder.finish()
    } else {
        builder.disable_introspection().disable_suggestions().finish()
    }
}

/// Returns the schema in GraphQL's schema definition language, as committed in `schema.graphql`.
pub fn sdl() -> String {
    let options =
        SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items().include_specified_by();
    builder().finish().sdl_with_options(options)
}
