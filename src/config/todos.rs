use std::time::Duration;

use clap::Args;

use super::values::{days, duration};

/// Retention of todos.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Todos")]
pub struct TodoSettings {
    /// Time for which todos stay in the trash
    #[arg(long, env, default_value = "30d", value_parser = duration(days(1)..=days(3650)))]
    pub trash_retention: Duration,

    /// Time for which changes of todos are kept, for their history, undo and subscribers that resume
    #[arg(long, env, default_value = "365d", value_parser = duration(days(1)..=days(3650)))]
    pub todo_history_retention: Duration,
}
