use super::Problem;
use super::text::{normalise, parse_line};

/// The title of a todo: one trimmed line in NFC, 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 200;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        parse_line("A title", text, Self::MAX_CHARS, "Enter a title.").map(Self)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The notes of a todo, in NFC: at most 10,000 characters, with no control characters but tabs and line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 10_000;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let text = normalise("A description", text, Self::MAX_CHARS)?;
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Problem::new(
                "INVALID",
                "A description must not contain control characters except line breaks and tabs.",
            ));
        }
        Ok(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The labels of a todo: at most 20 distinct ones in the order given, each a trimmed line in NFC of 1 to 50 characters.
///
/// Their case is significant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// Maximum number of tags.
    pub const MAX: usize = 20;
    /// Maximum length of a tag, in characters.
    pub const MAX_CHARS: usize = 50;

    /// Parses user input; drops repeated tags.
    pub fn parse(texts: &[String]) -> Result<Self, Problem> {
        let mut tags = Vec::new();
        for text in texts {
            let tag = parse_line("A tag", text, Self::MAX_CHARS, "A tag must not be empty.")?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > Self::MAX {
                return Err(Problem::new(
                    "TOO_LONG",
                    format!("A todo must have at most {} tags.", Self::MAX),
                ));
            }
        }
        Ok(Self(tags))
    }

    /// Returns the texts.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_trimmed_lines_counted_in_characters() {
        assert_eq!(Title::parse(" Buy milk\n").unwrap().as_str(), "Buy milk");
        assert!(Title::parse(&"é".repeat(200)).is_ok());
        assert_eq!(Title::parse("Milk\t2 l\t").unwrap().as_str(), "Milk 2 l");
        assert_eq!(Title::parse("Cafe\u{301}").unwrap().as_str(), "Café");
        for (text, code) in [
            (" ", "REQUIRED"),
            (&*"é".repeat(201), "TOO_LONG"),
            ("a\nb", "INVALID"),
            ("a\0", "INVALID"),
            ("a\u{2028}b", "INVALID"),
            ("\u{E0041}\u{FE0F}", "INVALID"),
        ] {
            assert_eq!(Title::parse(text).unwrap_err().code, code, "{text:?}");
        }
    }

    #[test]
    fn descriptions_have_lines_and_no_other_control_characters() {
        assert_eq!(Description::parse("a\r\n\tb ").unwrap().as_str(), "a\r\n\tb ");
        assert!(Description::parse(&"é".repeat(10_000)).is_ok());
        assert!(Description::parse(&"e\u{301}".repeat(10_000)).is_ok());
        assert_eq!(Description::parse(&"é".repeat(10_001)).unwrap_err().code, "TOO_LONG");
        assert_eq!(Description::parse("\0").unwrap_err().code, "INVALID");
        assert_eq!(Description::parse("a\u{2028}e\u{301}").unwrap().as_str(), "a\u{2028}é");
    }

    #[test]
    fn tags_are_few_and_different() {
        let tags = |tags: &[&str]| Tags::parse(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert_eq!(tags(&["home", " home", "Home"]).unwrap().as_slice(), ["home", "Home"]);
        assert_eq!(tags(&["é", "e\u{301}", "a\tb"]).unwrap().as_slice(), ["é", "a b"]);
        assert_eq!(tags(&["a", "\u{200D}"]).unwrap_err().code, "INVALID");
        assert_eq!(tags(&["a", " "]).unwrap_err().code, "REQUIRED");
        assert_eq!(tags(&[&"é".repeat(51)]).unwrap_err().code, "TOO_LONG");
        let many: Vec<_> = (0..21).map(|n| n.to_string()).collect();
        assert_eq!(Tags::parse(&many).unwrap_err().code, "TOO_LONG");
        assert!(Tags::parse(&many[..20]).is_ok());
    }
}
