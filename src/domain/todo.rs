use super::Problem;

/// What is to be done, in a line: trimmed, 1 to 200 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// The width of the column, in characters.
    pub const MAX_CHARS: usize = 200;

    /// Parses what somebody typed.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let title = text.trim();
        if title.is_empty() {
            return Err(Problem::new("REQUIRED", "Enter a title."));
        }
        within("A title", title, Self::MAX_CHARS)?;
        if title.contains(char::is_control) {
            return Err(Problem::new("INVALID", "A title has no line breaks or control characters."));
        }
        Ok(Self(title.to_owned()))
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What else there is to say of a todo: up to 10,000 characters, of control characters only tabs and line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// The width of the column, in characters.
    pub const MAX_CHARS: usize = 10_000;

    /// Parses what somebody typed.
    pub fn parse(text: String) -> Result<Self, Problem> {
        within("A description", &text, Self::MAX_CHARS)?;
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Problem::new(
                "INVALID",
                "A description has no control characters but line breaks and tabs.",
            ));
        }
        Ok(Self(text))
    }

    /// The description as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Words to sort todos by: up to 20 different ones, each trimmed, of 1 to 50 characters, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// The most tags of one todo.
    pub const MAX: usize = 20;
    /// The most characters of one tag.
    pub const MAX_CHARS: usize = 50;

    /// Parses what somebody typed; a tag that is given twice counts once.
    pub fn parse(texts: &[String]) -> Result<Self, Problem> {
        let mut tags = Vec::new();
        for tag in texts.iter().map(|text| text.trim()) {
            if tag.is_empty() {
                return Err(Problem::new("REQUIRED", "A tag is not empty."));
            }
            within("A tag", tag, Self::MAX_CHARS)?;
            if tag.contains(char::is_control) {
                return Err(Problem::new("INVALID", "A tag has no line breaks or control characters."));
            }
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
            if tags.len() > Self::MAX {
                return Err(Problem::new("TOO_LONG", format!("A todo has at most {} tags.", Self::MAX)));
            }
        }
        Ok(Self(tags))
    }

    /// The tags as texts.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn within(what: &str, text: &str, max: usize) -> Result<(), Problem> {
    // Bytes first: they are counted at once.
    if text.len() > max && text.chars().count() > max {
        return Err(Problem::new("TOO_LONG", format!("{what} has at most {max} characters.")));
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
