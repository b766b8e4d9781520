use std::time::Duration;

use clap::Args;

use super::values::{days, duration};

/// How long todos are kept.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Todos")]
pub struct TodoSettings {
    /// How long todos stay in the trash
    #[arg(long, env = "TRASH_RETENTION", global = true, hide_env_values = true, default_value = "30d",
        value_parser = duration(days(1)..=days(3650)))]
    pub trash_retention: Duration,

    /// How long it is kept what happened to todos, for their history, for undo and for subscribers that were away
    #[arg(long, env = "TODO_HISTORY_RETENTION", global = true, hide_env_values = true, default_value = "365d",
        value_parser = duration(days(1)..=days(3650)))]
    pub todo_history_retention: Duration,
}
