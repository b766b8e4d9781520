use clap::Args;

use super::values::{size, whole};

/// Bounds on what one request may ask for; each is checked before anything is executed.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Size of a request's body
    #[arg(id = "max_body", long = "max-body", env = "MAX_BODY", global = true, hide_env_values = true,
        value_name = "MAX_BODY", default_value = "256KiB", value_parser = size(1024..=16 << 20))]
    pub body: usize,

    /// Size of a GraphQL document
    #[arg(id = "max_document", long = "max-document", env = "MAX_DOCUMENT", global = true, hide_env_values = true,
        value_name = "MAX_DOCUMENT", default_value = "64KiB", value_parser = size(64..=16 << 20))]
    pub document: usize,

    /// Size of the variables, as JSON
    #[arg(id = "max_variables", long = "max-variables", env = "MAX_VARIABLES", global = true, hide_env_values = true,
        value_name = "MAX_VARIABLES", default_value = "128KiB", value_parser = size(64..=16 << 20))]
    pub variables: usize,

    /// Tokens of a document: names, values and punctuation
    #[arg(id = "max_tokens", long = "max-tokens", env = "MAX_TOKENS", global = true, hide_env_values = true,
        value_name = "MAX_TOKENS", default_value = "2000", value_parser = whole(10..=1_000_000_usize))]
    pub tokens: usize,

    /// Levels of fields below each other
    #[arg(id = "max_depth", long = "max-depth", env = "MAX_DEPTH", global = true, hide_env_values = true,
        value_name = "MAX_DEPTH", default_value = "12", value_parser = whole(1..=30_usize))]
    pub depth: usize,

    /// Lists within each other below __schema and __type
    #[arg(id = "max_introspection_depth", long = "max-introspection-depth", env = "MAX_INTROSPECTION_DEPTH",
        global = true, hide_env_values = true, value_name = "MAX_INTROSPECTION_DEPTH", default_value = "3",
        value_parser = whole(1..=30_usize))]
    pub introspection_depth: usize,

    /// Fields, those of a list counted once for each item of its page
    #[arg(id = "max_complexity", long = "max-complexity", env = "MAX_COMPLEXITY", global = true,
        hide_env_values = true, value_name = "MAX_COMPLEXITY", default_value = "5000",
        value_parser = whole(1..=10_000_000_usize))]
    pub complexity: usize,

    /// Fields with an alias
    #[arg(id = "max_aliases", long = "max-aliases", env = "MAX_ALIASES", global = true, hide_env_values = true,
        value_name = "MAX_ALIASES", default_value = "30", value_parser = whole(0..=100_000_usize))]
    pub aliases: usize,

    /// Fields at the root of an operation
    #[arg(id = "max_root_fields", long = "max-root-fields", env = "MAX_ROOT_FIELDS", global = true,
        hide_env_values = true, value_name = "MAX_ROOT_FIELDS", default_value = "20",
        value_parser = whole(1..=100_000_usize))]
    pub root_fields: usize,

    /// Directives in a document
    #[arg(id = "max_directives", long = "max-directives", env = "MAX_DIRECTIVES", global = true,
        hide_env_values = true, value_name = "MAX_DIRECTIVES", default_value = "50",
        value_parser = whole(0..=100_000_usize))]
    pub directives: usize,

    /// How often one field may be asked for under one name at one place
    #[arg(id = "max_duplicate_fields", long = "max-duplicate-fields", env = "MAX_DUPLICATE_FIELDS", global = true,
        hide_env_values = true, value_name = "MAX_DUPLICATE_FIELDS", default_value = "10",
        value_parser = whole(1..=100_000_usize))]
    pub duplicate_fields: usize,

    /// Operations in a batch
    #[arg(id = "max_batch", long = "max-batch", env = "MAX_BATCH", global = true, hide_env_values = true,
        value_name = "MAX_BATCH", default_value = "10", value_parser = whole(1..=10_000_usize))]
    pub batch: usize,

    /// Requests under way at once in this process; further ones are turned away
    #[arg(id = "max_concurrent_requests", long = "max-concurrent-requests", env = "MAX_CONCURRENT_REQUESTS",
        global = true, hide_env_values = true, value_name = "MAX_CONCURRENT_REQUESTS", default_value = "512",
        value_parser = whole(1..=1_000_000_usize))]
    pub concurrent_requests: usize,
}
