use super::Problem;
use super::text::{has_right_to_left_letters, parse_line};

/// A person's name: one trimmed line in NFC, 1 to 255 characters, none of them deceptive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let name = parse_line("A name", text, Self::MAX_CHARS, "Enter a name.")?;
        let may_have_marks = has_right_to_left_letters(&name);
        if name.contains(|c| is_deceptive(c) || (is_direction_mark(c) && !may_have_marks)) {
            return Err(Problem::new("INVALID", "A name must not contain invisible characters."));
        }
        Ok(Self(name))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Matches invisible characters and those that reorder text, but not the joiners of letters and emoji.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{2800}' | '\u{3164}')
}

/// Matches the marks that keep punctuation in place beside letters that run from right to left.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}')
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

    #[test]
    fn direction_marks_belong_to_letters_that_run_from_right_to_left() {
        for name in
            ["דוד (\u{200F}Dave\u{200E})", "محمد\u{200E}", "\u{61C}محمد", "ܡܪܝܡ\u{200F}", "علی\u{200C}رضا"]
        {
            assert_eq!(Name::parse(name).unwrap().as_str(), name);
        }
        for name in ["Ada\u{200E}", "\u{200F}Ada", "Ada\u{61C}", "\u{200F}", "דוד\u{202E}", "דוד\u{200B}"]
        {
            assert_eq!(Name::parse(name).unwrap_err().code, "INVALID", "{name:?}");
        }
    }

    #[test]
    fn is_normalised_with_spaces_for_tabs() {
        assert_eq!(Name::parse("Ange\u{301}lica\tNguye\u{302}\u{303}n").unwrap().as_str(), "Angélica Nguyễn");
        assert_eq!(Name::parse("\u{AD}\u{115F}\u{FE0F}").unwrap_err().code, "INVALID");
        assert_eq!(Name::parse("Ada\u{2028}Lovelace").unwrap_err().code, "INVALID");
    }
}
