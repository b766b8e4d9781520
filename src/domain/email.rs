use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Problem;

/// An email address: trimmed, NFKC-normalised, at most 254 bytes, an internationalised domain in its Unicode form.
///
/// Keeps the case of the input; the database compares addresses case-insensitively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    /// Alternative spellings of the address; none unless its domain is internationalised.
    aliases: Vec<String>,
}

impl Email {
    /// Maximum length that SMTP can carry, in bytes (RFC 5321, section 4.5.3.1.3, less the brackets).
    pub const MAX_BYTES: usize = 254;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > 4 * Self::MAX_BYTES {
            return Err(Self::too_long());
        }
        let typed: String = text.trim().nfkc().collect();
        if typed.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter an email address."));
        }
        let Self { address, aliases } = Self::spell(typed);
        if address.len() > Self::MAX_BYTES || aliases.iter().any(|alias| alias.len() > Self::MAX_BYTES) {
            return Err(Self::too_long());
        }
        let options = Options::default().without_display_text().without_domain_literal();
        // The form that SMTP carries, whose limits on lengths count.
        let carried = aliases.first().unwrap_or(&address);
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '"';
        if address.contains(odd) || EmailAddress::parse_with_options(carried, options).is_err() {
            return Err(Problem::new("INVALID", "Enter an email address such as name@example.com."));
        }
        Ok(Self { address, aliases })
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// Returns the address without case and marks: equal for all spellings that a database may find equal. Its `lower` depends on
    /// its locale: `İ` becomes `i` in one, and `I` becomes `ı` in another.
    pub fn fold(&self) -> String {
        let letters = self.address.nfkd().filter(|c| !is_combining_mark(*c));
        // By way of upper case, in which more letters agree.
        let upper = letters.flat_map(char::to_lowercase).flat_map(char::to_uppercase);
        upper.flat_map(char::to_lowercase).collect()
    }

    /// Returns alternative spellings of the address, under which older rows may be stored: with the domain in Punycode (RFC 3492),
    /// and as typed.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// Converts an internationalised domain by UTS #46. Keeps one that is invalid by it.
    fn spell(typed: String) -> Self {
        let international = typed.rsplit_once('@').and_then(|(local, domain)| {
            let (unicode, ascii) = convert_domain(domain)?;
            Some((format!("{local}@{unicode}"), format!("{local}@{ascii}")))
        });
        let Some((address, ascii)) = international else {
            return Self { address: typed, aliases: Vec::new() };
        };
        let mut aliases = vec![ascii];
        if typed != address && !aliases.contains(&typed) {
            aliases.push(typed);
        }
        Self { address, aliases }
    }

    fn too_long() -> Problem {
        Problem::new("TOO_LONG", format!("An email address must have at most {} bytes.", Self::MAX_BYTES))
    }
}

/// Returns the Unicode and the ASCII form of a domain; `None` if it is plain ASCII or invalid.
fn convert_domain(domain: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let is_punycode = |label: &str| label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"));
    if domain.is_ascii() && !domain.split('.').any(is_punycode) {
        return None;
    }
    let bytes = domain.as_bytes();
    let (unicode, valid) = Uts46::new().to_unicode(bytes, AsciiDenyList::EMPTY, Hyphens::Allow);
    valid.ok()?;
    let ascii = Uts46::new().to_ascii(bytes, AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
    Some((unicode, ascii.ok()?))
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
    fn spellings_of_one_address_fold_to_one_text() {
        let fold = |text: &str| Email::parse(text).unwrap().fold();
        for (text, folded) in [
            ("Ada@Example.COM", "ada@example.com"),
            ("\u{130}van@example.com", "ivan@example.com"),
            ("\u{131}VAN@example.com", "ivan@example.com"),
            ("ΝΙΚΟΣ@example.com", "νικοσ@example.com"),
            ("νικος@example.com", "νικοσ@example.com"),
            ("STRA\u{1E9E}E@example.com", "strasse@example.com"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
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

    #[test]
    fn an_international_domain_has_one_form_and_knows_the_others() {
        for text in [
            "Ada@bücher.example",
            "Ada@bu\u{308}cher.example",
            "Ada@BÜCHER.Example",
            "Ada@xn--bcher-kva.example",
            "Ada@XN--BCHER-KVA.example",
            "Ada@bücher\u{3002}example",
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!(email.as_str(), "Ada@bücher.example", "{text}");
            assert_eq!(email.aliases()[0], "Ada@xn--bcher-kva.example", "{text}");
        }
        assert_eq!(Email::parse("a@faß.de").unwrap().aliases()[0], "a@xn--fa-hia.de");
        assert_eq!(Email::parse("a@xn--fsqu00a.xn--0zwm56d").unwrap().as_str(), "a@例子.测试");
        assert!(Email::parse("ü@Example.com").unwrap().aliases().is_empty());
    }

    #[test]
    fn an_invalid_international_domain_is_kept() {
        let email = Email::parse("a@xn--zzzzzzzz.example").unwrap();
        assert_eq!((email.as_str(), email.aliases().len()), ("a@xn--zzzzzzzz.example", 0));
    }

    #[test]
    fn the_limit_holds_for_the_form_that_smtp_carries() {
        let domain = "ü".repeat(50);
        let address = |local: usize| format!("{}@{domain}.example", "a".repeat(local));
        assert!(Email::parse(&address(64)).is_ok());
        let long = format!("a@{}example", "üab.".repeat(36));
        assert_eq!(Email::parse(&long).unwrap_err().code, "TOO_LONG");
    }
}
