//! Routes and middleware, from a connection to the GraphQL executor and back.

mod graphiql;
mod graphql;
mod health;
mod request_id;
mod router;
mod server;
mod shutdown;
mod websocket;

pub use server::serve;
pub use shutdown::Shutdown;
