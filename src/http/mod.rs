//! Routes and middleware, from a connection to the GraphQL executor and back.

mod graphiql;
mod headers;
mod health;
mod jwks;
mod metrics;
mod router;
mod server;
mod shutdown;

pub use metrics::serve_metrics;
pub use server::serve;
pub use shutdown::Shutdown;
