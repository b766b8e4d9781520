use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

use super::Problem;

/// An email address: trimmed, NFKC-normalised, at most 254 bytes.
///
/// Keeps the case of the input; the database compares addresses case-insensitively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Maximum length that SMTP can carry, in bytes (RFC 5321, section 4.5.3.1.3, less the brackets).
    pub const MAX_BYTES: usize = 254;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > 4 * Self::MAX_BYTES {
            return Err(Self::too_long());
        }
        let address: String = text.trim().nfkc().collect();
        if address.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter an email address."));
        }
        if address.len() > Self::MAX_BYTES {
            return Err(Self::too_long());
        }
        let options = Options::default().without_display_text().without_domain_literal();
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '"';
        if address.contains(odd) || EmailAddress::parse_with_options(&address, options).is_err() {
            return Err(Problem::new("INVALID", "Enter an email address such as name@example.com."));
        }
        Ok(Self(address))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn too_long() -> Problem {
        Problem::new("TOO_LONG", format!("An email address must have at most {} bytes.", Self::MAX_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_and_normalises_but_keeps_the_case() {
        let typed = " \u{FF21}da@Example.COM\n";
        assert_eq!(Email::parse(typed).unwrap().as_str(), "Ada@Example.COM");
    }

    #[test]
    fn refuses_malformed_addresses() {
        for text in ["", "  ", "ada", "@example.com", "ada@", "a b@example.com", "ada@exa\0mple.com", "a@b@c"]
        {
            assert!(Email::parse(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(300))).unwrap_err().code, "TOO_LONG");
        assert_eq!(Email::parse(&"a".repeat(1 << 20)).unwrap_err().code, "TOO_LONG");
    }

    #[test]
    fn accepts_addresses_of_other_scripts_and_with_tags() {
        for text in ["ada+todo@example.com", "用户@例子.广告", "o'neil@mail.example.co.uk", "ada@localhost"]
        {
            assert!(Email::parse(text).is_ok(), "{text:?} was refused");
        }
    }
}
