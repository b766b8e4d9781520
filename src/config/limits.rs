use clap::Args;

use super::values::{size, whole};

/// Limits on one request, checked before anything is executed.
///
/// Limits that no client in good faith comes near are constants of the engine, beside their checks.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Size of a request's body
    #[arg(long, env, default_value = "256KiB", value_parser = size(1024..=16 << 20))]
    pub max_body: usize,

    /// Size of a GraphQL document
    #[arg(long, env, default_value = "64KiB", value_parser = size(64..=16 << 20))]
    pub max_document: usize,

    /// Size of the variables, as JSON
    #[arg(long, env, default_value = "128KiB", value_parser = size(64..=16 << 20))]
    pub max_variables: usize,

    /// Tokens of a document: names, values and punctuation
    #[arg(long, env, default_value = "2000", value_parser = whole(10..=1_000_000_usize))]
    pub max_tokens: usize,

    /// Nesting of fields
    #[arg(long, env, default_value = "12", value_parser = whole(1..=30_usize))]
    pub max_depth: usize,

    /// Number of fields, those of a list counted once for each item of its page
    #[arg(long, env, default_value = "5000", value_parser = whole(1..=10_000_000_usize))]
    pub max_complexity: usize,

    /// Fields with an alias
    #[arg(long, env, default_value = "30", value_parser = whole(0..=100_000_usize))]
    pub max_aliases: usize,

    /// Fields at the root of an operation
    #[arg(long, env, default_value = "20", value_parser = whole(1..=100_000_usize))]
    pub max_root_fields: usize,

    /// Operations in a batch
    #[arg(long, env, default_value = "10", value_parser = whole(1..=10_000_usize))]
    pub max_batch: usize,

    /// Requests that this process handles at the same time; further ones are refused with 503
    #[arg(long, env, default_value = "512", value_parser = whole(1..=1_000_000_usize))]
    pub max_concurrent_requests: usize,
}
