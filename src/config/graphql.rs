use std::path::PathBuf;

use clap::Args;

use super::Switch;

/// Features of the GraphQL endpoint.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "GraphQL")]
pub struct GraphqlSettings {
    /// Describe the schema: introspection, and "did you mean" in errors [default: on in development, off in production]
    #[arg(long, env)]
    pub introspection: Option<Switch>,

    /// Serve the IDE at /graphiql [default: on in development, off in production]
    #[arg(long, env)]
    pub graphiql: Option<Switch>,

    /// Run only the operations in this file: a manifest written by Apollo's generate-persisted-query-manifest or
    /// GraphQL Code Generator's client preset
    #[arg(long, env)]
    pub trusted_documents: Option<PathBuf>,
}
