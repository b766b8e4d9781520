use std::path::PathBuf;

use clap::Args;

use super::Switch;

/// What the GraphQL endpoint offers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "GraphQL")]
pub struct GraphqlSettings {
    /// Whether the schema describes itself: introspection and "did you mean" [default: on in development, off in
    /// production]
    #[arg(long, env = "INTROSPECTION", global = true, hide_env_values = true)]
    pub introspection: Option<Switch>,

    /// Whether the IDE is served at /graphiql [default: on in development, off in production]
    #[arg(long, env = "GRAPHIQL", global = true, hide_env_values = true)]
    pub graphiql: Option<Switch>,

    /// Run only the operations in this file: a manifest as Apollo's generate-persisted-query-manifest or GraphQL
    /// Code Generator's client preset writes it
    #[arg(long, env = "TRUSTED_DOCUMENTS", global = true, hide_env_values = true)]
    pub trusted_documents: Option<PathBuf>,
}
