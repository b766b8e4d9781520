use super::Problem;

/// The title of a todo: trimmed, 1 to 200 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 200;

    /// Parses user input.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let title = text.trim();
        if title.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter a title."));
        }
        within("A title", title, Self::MAX_CHARS)?;
        if title.contains(char::is_control) {
            return Err(Problem::new(
                "INVALID",
                "A title must not contain line breaks or control characters.",
            ));
        }
        Ok(Self(title.to_owned()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The notes of a todo: at most 10,000 characters, with no control characters but tabs and line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 10_000;

    /// Parses user input.
    pub fn parse(text: String) -> Result<Self, Problem> {
        within("A description", &text, Self::MAX_CHARS)?;
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

/// The labels of a todo: at most 20 distinct ones, each trimmed, of 1 to 50 characters, in the order given.
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
        for tag in texts.iter().map(|text| text.trim()) {
            if tag.is_empty() {
                return Err(Problem::new("REQUIRED", "A tag must not be empty."));
            }
            within("A tag", tag, Self::MAX_CHARS)?;
            if tag.contains(char::is_control) {
                return Err(Problem::new(
                    "INVALID",
                    "A tag must not contain line breaks or control characters.",
                ));
            }
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
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

fn within(what: &str, text: &str, max: usize) -> Result<(), Problem> {
    // Bytes first, as counting characters takes time in the length of the text.
    if text.len() > max && text.chars().count() > max {
        return Err(Problem::new("TOO_LONG", format!("{what} must have at most {max} characters.")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_trimmed_lines_counted_in_characters() {
        assert_eq!(Title::parse(" Buy milk\n").unwrap().as_str(), "Buy milk");
        assert!(Title::parse(&"é".repeat(200)).is_ok());
        for (text, code) in
            [(" ", "REQUIRED"), (&*"é".repeat(201), "TOO_LONG"), ("a\nb", "INVALID"), ("a\0", "INVALID")]
        {
            assert_eq!(Title::parse(text).unwrap_err().code, code, "{text:?}");
        }
    }

    #[test]
    fn descriptions_have_lines_and_no_other_control_characters() {
        assert_eq!(Description::parse("a\r\n\tb ".into()).unwrap().as_str(), "a\r\n\tb ");
        assert!(Description::parse("é".repeat(10_000)).is_ok());
        assert_eq!(Description::parse("é".repeat(10_001)).unwrap_err().code, "TOO_LONG");
        assert_eq!(Description::parse("\0".into()).unwrap_err().code, "INVALID");
    }

    #[test]
    fn tags_are_few_and_different() {
        let tags = |tags: &[&str]| Tags::parse(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert_eq!(tags(&["home", " home", "Home"]).unwrap().as_slice(), ["home", "Home"]);
        assert_eq!(tags(&["a", " "]).unwrap_err().code, "REQUIRED");
        assert_eq!(tags(&[&"é".repeat(51)]).unwrap_err().code, "TOO_LONG");
        let many: Vec<_> = (0..21).map(|n| n.to_string()).collect();
        assert_eq!(Tags::parse(&many).unwrap_err().code, "TOO_LONG");
        assert!(Tags::parse(&many[..20]).is_ok());
    }
}
