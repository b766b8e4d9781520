//! Parsers whose errors say what is allowed.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

/// A whole number within a range.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + std::fmt::Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a whole number from {} to {} is needed", range.start(), range.end()))
    }
}

/// A duration with its unit, within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let duration = humantime::parse_duration(text).ok().filter(|duration| range.contains(duration));
        duration.ok_or_else(|| {
            let (from, to) =
                (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
            format!("a duration such as 500ms, 30s, 15m or 30d is needed, from {from} to {to}")
        })
    }
}

/// A size in bytes with its unit, within a range.
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
                "a size such as 512B, 64KiB or 1MiB is needed, from {}B to {}B",
                range.start(),
                range.end()
            )
        })
    }
}

/// Takes anything, since clap would repeat a refused value; who uses the secret judges it.
#[expect(clippy::unnecessary_wraps, reason = "the form of a parser")]
pub(crate) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

/// Seconds as a duration.
pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Days as a duration.
pub(super) const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_their_unit() {
        let parse = size(1..=1 << 20);
        assert_eq!((parse("512B"), parse("64KiB"), parse("1MiB")), (Ok(512), Ok(65_536), Ok(1 << 20)));
        for text in ["", "KiB", "1.5MiB", "2MiB", "1GB", "-1B", "99999999999999999999MiB"] {
            assert!(parse(text).unwrap_err().contains("64KiB"), "{text}");
        }
    }

    #[test]
    fn durations_and_numbers_say_their_range() {
        assert_eq!(duration(seconds(1)..=seconds(60))("15s"), Ok(seconds(15)));
        assert!(duration(seconds(1)..=seconds(60))("2m").unwrap_err().contains("from 1s to 1m"));
        assert!(whole(1..=9_u8)("10").unwrap_err().contains("from 1 to 9"));
    }
}
