use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{Directive, LevelFilter};

use super::values::{duration, list, seconds};

/// Logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Format of log lines
    #[arg(long, env, default_value = "pretty")]
    pub log_format: LogFormat,

    /// Level, or directives such as info,todo_api=debug
    #[arg(long = "log", env, default_value = "info", value_parser = filter)]
    pub rust_log: String,

    /// Queries and mutations that take at least this long are logged as slow, at level warn
    #[arg(long, env, default_value = "1s", value_parser = duration(Duration::from_millis(1)..=seconds(600)))]
    pub slow_operation: Duration,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people
    Pretty,
    /// JSON, one object per line
    Json,
}

/// Parses directives. `EnvFilter` alone takes an unknown word for a target: `warning` would switch off all logs.
fn filter(text: &str) -> Result<String, String> {
    let directives = list(directive)(text)?;
    if directives.is_empty() { Err(EXPECTED.into()) } else { Ok(directives.join(",")) }
}

const EXPECTED: &str = "expected a level (error, warn, info, debug, trace or off), or directives such as \
    info,todo_api=debug";

fn directive(text: &str) -> Result<String, String> {
    let is_level = text.parse::<LevelFilter>().is_ok();
    let target = text.split(['=', '[']).next().unwrap_or_default();
    let mistake = if is_level {
        None
    } else if !text.contains(['=', '[']) {
        Some(format!("{text} is not a level; all of a target is {text}=trace"))
    } else if target.contains(|c: char| !c.is_ascii_alphanumeric() && !['_', ':'].contains(&c)) {
        Some(format!("{target} is not a target, which is a module's path such as todo_api::operation"))
    } else if text.ends_with('=') || Directive::from_str(text).is_err() {
        Some(format!("{text} is not target=level"))
    } else {
        None
    };
    mistake.map_or_else(|| Ok(text.to_owned()), |mistake| Err(format!("{mistake}; {EXPECTED}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_accepted() {
        for text in ["warn", "WARN", "Info", "off", "0", "5", "hyper=trace", "info,todo_api::operation=warn"]
        {
            assert_eq!(filter(text).as_deref(), Ok(text));
        }
        assert_eq!(filter(" info , todo_api=debug, ").as_deref(), Ok("info,todo_api=debug"));
        assert!(filter("warn,todo_api[request]=debug,[{id}]=info").is_ok());
    }

    #[test]
    fn words_that_would_switch_logs_off_are_refused() {
        for text in [
            "warning",
            "warn,verbose",
            "none",
            "hyper",
            "todo_api=debugg",
            "todo_api=",
            "=debug",
            "todo-api=debug",
            "info todo_api=debug",
            "warn;todo_api=debug",
            ",",
            "6",
            "todo_api:debug",
        ] {
            assert!(filter(text).unwrap_err().contains("expected a level"), "{text}");
        }
    }
}
