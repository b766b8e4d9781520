//! Parsers whose errors say which values are allowed.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

/// Parses a whole number within a range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + std::fmt::Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Parses a duration with its unit, within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let duration = humantime::parse_duration(text).ok().filter(|duration| range.contains(duration));
        duration.ok_or_else(|| {
            let (from, to) =
                (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            format!("expected a duration such as 500ms, 30s, 15m or 30d, from {from} to {to}")
        })
    }
}

/// Parses a size in bytes, with its unit, within a range.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match text.get(digits.len()..).map(str::trim) {
            Some("" | "B") => Some(1),
            Some("KiB") => Some(1 << 10),
            Some("MiB") => Some(1 << 20),
            _ => None,
        };
        let bytes =
            digits.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            format!(
                "expected a size such as 512B, 64KiB or 1MiB, from {}B to {}B",
                range.start(),
                range.end()
            )
        })
    }
}

/// Parses values separated by commas or line breaks. Blanks around them and empty ones are ignored, as a trailing comma or
/// an unset variable of a template leaves them.
///
/// The fields of lists are spelled `std::vec::Vec`: clap would read a plain `Vec` as an argument of many values.
pub(super) fn list<T, E: std::fmt::Display>(
    parse: impl Fn(&str) -> Result<T, E> + Clone,
) -> impl Fn(&str) -> Result<Vec<T>, String> + Clone {
    move |text| {
        let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| parse(item).map_err(|error| error.to_string())).collect()
    }
}

/// True if a value is still in quotes, as `docker run --env-file` leaves them.
pub(crate) fn is_quoted(value: &[u8]) -> bool {
    matches!(value, [b'"', .., b'"'] | [b'\'', .., b'\''])
}

/// Accepts any text: clap would repeat a refused value in its error. Callers validate the secret when they use it.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a clap parser")]
pub(crate) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(super) const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_with_their_unit() {
        let parse = size(1..=1 << 20);
        assert_eq!((parse("512B"), parse("64KiB"), parse("1MiB")), (Ok(512), Ok(65_536), Ok(1 << 20)));
        for text in ["", "KiB", "1.5MiB", "2MiB", "1GB", "-1B", "99999999999999999999MiB"] {
            assert!(parse(text).unwrap_err().contains("64KiB"), "{text}");
        }
    }

    #[test]
    fn lists_ignore_blanks_and_empty_items() {
        let parse = list(|item: &str| item.parse::<u8>().map_err(|_| "expected a number"));
        for text in ["1,2", "1,2,", " 1 , 2 ", ",1,,2,", "1,\n  2,\n", "1\r\n2"] {
            assert_eq!(parse(text), Ok(vec![1, 2]), "{text:?}");
        }
        assert_eq!(parse(" , "), Ok(Vec::new()));
        assert_eq!(parse("1,two"), Err("expected a number".to_owned()));
    }

    #[test]
    fn errors_on_durations_and_numbers_name_the_range() {
        assert_eq!(duration(seconds(1)..=seconds(60))("15s"), Ok(seconds(15)));
        assert!(duration(seconds(1)..=seconds(60))("2m").unwrap_err().contains("from 1s to 1m"));
        assert!(integer(1..=9_u8)("10").unwrap_err().contains("from 1 to 9"));
    }
}
