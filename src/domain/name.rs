use super::Problem;

/// A person's name: trimmed, 1 to 255 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter a name."));
        }
        if name.chars().count() > Self::MAX_CHARS {
            return Err(Problem::new(
                "TOO_LONG",
                format!("A name must have at most {} characters.", Self::MAX_CHARS),
            ));
        }
        if name.contains(|c: char| c.is_control() || is_deceptive(c)) {
            return Err(Problem::new(
                "INVALID",
                "A name must not contain line breaks, control or invisible characters.",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Matches invisible characters and those that change the direction of text, but not the joiners of letters and emoji.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
        | '\u{2800}' | '\u{3164}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_trimmed() {
        assert_eq!(Name::parse("  Ada Lovelace ").unwrap().as_str(), "Ada Lovelace");
    }

    #[test]
    fn is_counted_in_characters() {
        assert!(Name::parse(&"é".repeat(255)).is_ok());
        assert_eq!(Name::parse(&"é".repeat(256)).unwrap_err().code, "TOO_LONG");
    }

    #[test]
    fn refuses_blanks_and_control_characters() {
        assert_eq!(Name::parse(" \t ").unwrap_err().code, "REQUIRED");
        for text in ["A\0da", "\u{200B}", "\u{202E}evil", "\u{FEFF}Ada"] {
            assert_eq!(Name::parse(text).unwrap_err().code, "INVALID", "{text:?}");
        }
        assert!(Name::parse("👩\u{200D}🚀 Ada").is_ok());
    }
}
