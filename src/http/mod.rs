//! The HTTP server: listener, routes, middleware, health, metrics and the IDE's page.

mod connections;
mod cors;
mod graphiql;
mod health;
mod host;
mod index;
mod jwks;
mod lingering;
mod metrics;
mod middleware;
mod router;
mod routes;
mod server;

pub use graphiql::missing as missing_ide;
pub use server::Server;
