use super::Problem;

/// A person's name: trimmed, 1 to 255 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The width of the column, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Parses what somebody typed.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter a name."));
        }
        if name.chars().count() > Self::MAX_CHARS {
            return Err(Problem::new(
                "TOO_LONG",
                format!("A name has at most {} characters.", Self::MAX_CHARS),
            ));
        }
        if name.contains(char::is_control) {
            return Err(Problem::new("INVALID", "A name has no line breaks or other control characters."));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
        assert_eq!(Name::parse("A\0da").unwrap_err().code, "INVALID");
    }
}
