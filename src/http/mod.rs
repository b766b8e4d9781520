//! Routes and middleware, from a connection to the GraphQL executor and back.

mod client;
mod graphiql;
mod graphql;
mod headers;
mod health;
mod jwks;
mod metrics;
mod observation;
mod origin;
mod router;
mod server;
mod shutdown;
mod websocket;

pub use metrics::serve_metrics;
pub use server::serve;
pub use shutdown::Shutdown;
