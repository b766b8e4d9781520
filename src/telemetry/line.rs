//! Pieces of log lines in JSON.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;

/// Writes the time in UTC. All but the fraction is formatted once per second.
pub(super) fn push_time(line: &mut String) {
    thread_local! {
        static LAST: Cell<(u64, String)> = const { Cell::new((u64::MAX, String::new())) };
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "logs show the system's time, not that of the injected clock"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.take();
    if second != now.as_secs() {
        second = now.as_secs();
        let time = DateTime::UNIX_EPOCH + Duration::from_secs(second);
        text = time.format("%Y-%m-%dT%H:%M:%S.").to_string();
    }
    line.push_str(&text);
    LAST.set((second, text));
    let digit = |power: u32| char::from_digit(now.subsec_micros() / power % 10, 10);
    line.extend([100_000, 10_000, 1_000, 100, 10, 1].into_iter().filter_map(digit));
    line.push('Z');
}

pub(super) fn push_all<const N: usize>(line: &mut String, texts: [&str; N]) {
    for text in texts {
        line.push_str(text);
    }
}

/// Appends a JSON string.
pub(super) fn push_quoted(line: &mut String, text: &str) {
    line.push('"');
    push_escaped(line, text);
    line.push('"');
}

/// Escapes text for a JSON string.
pub(super) struct Escaped<'a>(pub(super) &'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_escaped(line: &mut String, text: &str) {
    let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Most texts are plain. Without an early exit the compiler vectorises this search.
    if !text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        return line.push_str(text);
    }
    let mut rest = text;
    while let Some(index) = rest.bytes().position(needs_escape)
        && let Some((plain, special)) = rest.split_at_checked(index)
    {
        line.push_str(plain);
        let mut special = special.chars();
        match special.next().unwrap_or_default() {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\u{8}' => line.push_str("\\b"),
            '\u{c}' => line.push_str("\\f"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
        }
        rest = special.as_str();
    }
    line.push_str(rest);
}
