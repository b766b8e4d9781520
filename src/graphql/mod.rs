//! The GraphQL schema: thin resolvers over [`crate::auth`] and [`crate::models`], one file per topic.

mod accounts;
mod context;
mod errors;
mod scalars;

use async_graphql::parser::parse_query;
use async_graphql::{EmptySubscription, Request, Response, SDLExportOptions, SchemaBuilder, ServerError};

pub use context::RequestId;
pub use errors::wire_error;

use crate::error::{ErrorCode, UnauthenticatedReason};
use crate::state::AppState;

/// The schema that the service executes.
pub type Schema = async_graphql::Schema<accounts::AccountQuery, accounts::AccountMutation, EmptySubscription>;

fn builder() -> SchemaBuilder<accounts::AccountQuery, accounts::AccountMutation, EmptySubscription> {
    Schema::build(accounts::AccountQuery, accounts::AccountMutation, EmptySubscription)
        .register_output_type::<ErrorCode>()
        .register_output_type::<UnauthenticatedReason>()
}

/// The schema with all that its resolvers may reach.
pub fn schema(state: AppState) -> Schema {
    builder().data(state).finish()
}

/// The schema in GraphQL's schema definition language, as committed in `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    builder().finish().sdl_with_options(options)
}

/// Executes a request; every error of the response carries a code.
pub async fn execute(schema: &Schema, mut request: Request, request_id: RequestId) -> Response {
    match parse_query(&request.query) {
        Ok(document) => request.set_parsed_query(document),
        Err(error) => {
            let error = errors::coded(ServerError::from(error), ErrorCode::GraphqlParseFailed);
            return Response::from_errors(vec![error]);
        }
    }
    let mut response = schema.execute(request).await;
    errors::finish(&mut response, &request_id);
    response
}
