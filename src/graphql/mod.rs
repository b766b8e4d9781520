//! GraphQL without a transport: the [schema](schema()) and the [`Engine`] that executes requests against it.

mod context;
mod engine;
mod error_code;
mod errors;
mod scalars;
mod schema;
mod written;

pub use context::{Caller, RefreshCookie, RequestId};
pub use engine::{Cost, Engine, GraphqlRequest, InvalidRequest, Operation, TrustedDocuments};
pub(crate) use engine::{exceeded, parse_json_object};
pub use error_code::ErrorCode;
pub(crate) use errors::request_error;
pub use errors::{is_request_error, wire_error};
pub(crate) use schema::refresh_token_in_cookie;
pub use schema::{Cursors, Mutation, Query, Schema, schema, sdl};

use crate::config::Config;
use crate::state::AppState;

/// Builds the engine of the service.
pub fn engine(
    state: AppState,
    config: &Config,
    trusted: Option<TrustedDocuments>,
) -> anyhow::Result<Engine<Schema>> {
    let schema = schema(state.clone(), config.introspection());
    Ok(Engine::new(schema, &sdl(), config, trusted)?.writing(state))
}
