use clap::Args;

use super::values::{integer, size};

/// Limits on one request, checked before anything is executed.
///
/// Limits that no client in good faith comes near are constants of the engine, beside their checks.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Maximum size of a request body
    #[arg(long, env, default_value = "256KiB", value_parser = size(1024..=16 << 20))]
    pub max_body: usize,

    /// Maximum size of a GraphQL document
    #[arg(long, env, default_value = "64KiB", value_parser = size(64..=16 << 20))]
    pub max_document: usize,

    /// Maximum size of the variables, as JSON
    #[arg(long, env, default_value = "128KiB", value_parser = size(64..=16 << 20))]
    pub max_variables: usize,

    /// Maximum number of tokens in a document
    #[arg(long, env, default_value = "2000", value_parser = integer(10..=1_000_000_usize))]
    pub max_tokens: usize,

    /// Maximum nesting of fields
    #[arg(long, env, default_value = "12", value_parser = integer(1..=30_usize))]
    pub max_depth: usize,

    /// Maximum number of fields; those of a list count once per item of its page
    #[arg(long, env, default_value = "5000", value_parser = integer(1..=10_000_000_usize))]
    pub max_complexity: usize,

    /// Maximum number of aliases
    #[arg(long, env, default_value = "30", value_parser = integer(0..=100_000_usize))]
    pub max_aliases: usize,

    /// Maximum number of root fields
    #[arg(long, env, default_value = "20", value_parser = integer(1..=100_000_usize))]
    pub max_root_fields: usize,

    /// Maximum number of operations in a batch
    #[arg(long, env, default_value = "10", value_parser = integer(1..=10_000_usize))]
    pub max_batch: usize,

    /// Maximum number of concurrent requests in this process; others get 503
    #[arg(long, env, default_value = "512", value_parser = integer(1..=1_000_000_usize))]
    pub max_concurrent_requests: usize,
}
