use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{Datelike, SecondsFormat, Timelike, Utc};

/// An instant. The doc of the scalar below is its description in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateTime(pub(super) chrono::DateTime<Utc>);

impl DateTime {
    /// Parses RFC 3339 text, as restricted by the scalar's specification. The error is a message for people.
    fn parse_text(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "Enter a date and time with an offset, such as 2026-11-23T09:00:00Z.";
        // chrono accepts more than RFC 3339: a blank for the T, a Unicode minus sign, second 60.
        let bytes = text.as_bytes();
        let strict =
            text.is_ascii() && matches!(bytes.get(10), Some(b'T' | b't')) && bytes.get(17) != Some(&b'6');
        let instant = chrono::DateTime::parse_from_rfc3339(text).ok().filter(|_| strict).ok_or(FORM)?;
        let fraction = bytes.get(19..).unwrap_or_default().strip_prefix(b".").unwrap_or_default();
        if fraction.iter().take_while(|byte| byte.is_ascii_digit()).count() > 6 {
            return Err("Enter a time with at most six fractional digits.");
        }
        Ok(Self(instant.to_utc()))
    }

    /// Formats the instant as the schema specifies results.
    ///
    /// Not by chrono, which takes 1,000 instructions, three times as many: a page has a hundred instants.
    pub(super) fn to_text(self) -> String {
        if !is_representable(self.0) {
            return self.0.to_rfc3339_opts(SecondsFormat::Micros, true);
        }
        let date = self.0.date_naive();
        let time = self.0.time();
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let numbers = [
            (0..4, date.year().unsigned_abs()),
            (5..7, date.month()),
            (8..10, date.day()),
            (11..13, time.hour()),
            (14..16, time.minute()),
            (17..19, time.second()),
            (20..26, self.0.timestamp_subsec_micros()),
        ];
        for (place, mut number) in numbers {
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit += u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        }
        // ASCII. Collecting characters would take longer than all of the above.
        String::from_utf8(text.to_vec()).unwrap_or_default()
    }
}

/// A date and time as RFC 3339 text, such as `2026-11-23T09:00:00.123456Z`. Results are in UTC with six fractional
/// digits; inputs may have any offset and up to six fractional digits.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/chillicream/date-time.html")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        Self::parse_text(text).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_text())
    }
}

/// Checks a value of a custom scalar; `text` is `None` if the value is not a string. The error is a message for people.
/// Scalars without rules accept any value.
pub(super) fn check(scalar: &str, text: Option<&str>) -> Result<(), String> {
    match scalar {
        "DateTime" => DateTime::parse_text(text.unwrap_or_default()).map(drop).map_err(str::to_owned),
        _ => Ok(()),
    }
}

/// Returns true for the years 1 to 9999, which both PostgreSQL and RFC 3339 can write.
pub(super) fn is_representable(time: chrono::DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_formatted_as_by_chrono() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            // The years 1 to 9999, and some beyond.
            let micros = rng.i64(-70_000_000_000_000_000..260_000_000_000_000_000);
            let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(DateTime(time).to_text(), time.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
    }

    #[test]
    fn instants_parse_by_their_specification_and_have_one_written_form() {
        for (text, expected) in [
            ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00.000000Z"),
            ("2026-11-23t09:00:00.1z", "2026-11-23T09:00:00.100000Z"),
            ("2026-11-23T09:00:00.123456+02:00", "2026-11-23T07:00:00.123456Z"),
            ("2026-11-23T09:00:00-23:59", "2026-11-24T08:59:00.000000Z"),
            ("2026-11-23T09:00:00-00:00", "2026-11-23T09:00:00.000000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            let value = DateTime::parse_text(text).map(|time| time.to_value());
            assert_eq!(value, Ok(Value::from(expected)), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2026-11-23",
            "2026-11-23T09:00:00",
            "2026-11-23 09:00:00Z",
            "2026-11-23T09:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T09:60:00Z",
            "2026-11-23T09:00:60Z",
            "2016-12-31T23:59:60Z",
            "2026-02-30T09:00:00Z",
            "2026-11-23T09:00:00.Z",
            "2026-11-23T09:00:00.1234567Z",
            "2026-11-23T09:00:00+24:00",
            "2026-11-23T09:00:00+02",
            "2026-11-23T09:00:00+0200",
            "2026-11-23T09:00:00+02:00:00",
            "2026-11-23T09:00:00\u{2212}02:00",
            "2026-11-23T09:00:00 UTC",
            " 2026-11-23T09:00:00Z",
            "2026-11-23T09:00:00Z ",
            "+2026-11-23T09:00:00Z",
            "12026-11-23T09:00:00Z",
        ] {
            assert!(DateTime::parse_text(text).is_err(), "{text}");
        }
    }
}
