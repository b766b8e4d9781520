//! The file `.env`. Nothing in a value is substituted: a `$` in a password stays.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context, bail};

const EXPECTED: &str = "expected NAME=value";
const UNCLOSED: &str = "a quote is not closed";
const BLANKS: &str = "a value with blanks needs quotes";
const BACKSLASH: &str = "a backslash is written \\\\, or the value in single quotes";

/// A variable of the file, and the line where it begins.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    value: String,
    line: usize,
}

/// A mistake and its line. Names no value, which may be secret.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: usize,
    reason: &'static str,
}

/// Loads `.env` of the current directory into the environment, whose own variables take precedence. Returns warnings, as
/// nothing is logged yet.
pub(crate) fn load() -> anyhow::Result<Vec<String>> {
    let bytes = match std::fs::read(".env") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => bail!("cannot read .env: {error}"),
    };
    let entries = match decode(&bytes).and_then(|text| parse(&text)) {
        Ok(entries) => entries,
        Err(Mistake { line, reason }) => bail!(".env line {line}: {reason}"),
    };
    let (entries, warnings) = without_duplicates(entries);
    set(entries.iter().filter(|entry| std::env::var_os(&entry.name).is_none()))?;
    Ok(warnings)
}

fn decode(bytes: &[u8]) -> Result<String, Mistake> {
    let line_of = |offset| 1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Mistake { line: line_of(error.valid_up_to()), reason: "is not UTF-8" })?;
    if let Some(offset) = text.find('\0') {
        return Err(Mistake { line: line_of(offset), reason: "has a NUL character" });
    }
    Ok(text.trim_start_matches('\u{FEFF}').replace("\r\n", "\n"))
}

/// Keeps the first of equal names, as the diesel CLI does.
fn without_duplicates(entries: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut warnings = Vec::new();
    let mut kept = Vec::new();
    for entry in entries {
        let first = *lines.entry(entry.name.clone()).or_insert(entry.line);
        if first == entry.line {
            kept.push(entry);
        } else {
            let Entry { name, line, .. } = entry;
            warnings.push(format!(
                ".env line {line}: {name} is already set in line {first}, which takes precedence; remove one of them"
            ));
        }
    }
    (kept, warnings)
}

/// Sets variables of this process. `std::env::set_var` is unsafe, so dotenvy sets them, from text in which nothing is left
/// to substitute.
fn set<'a>(entries: impl Iterator<Item = &'a Entry>) -> anyhow::Result<()> {
    let line = |Entry { name, value, .. }: &Entry| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
        format!("{name}=\"{value}\"\n")
    };
    let text: Vec<String> = entries.map(line).collect();
    // The library's own error would repeat the value.
    dotenvy::from_read(text.concat().as_bytes()).ok().context("cannot set the variables of .env")
}

fn parse(text: &str) -> Result<Vec<Entry>, Mistake> {
    let mut parser = Parser { rest: text.chars().peekable(), line: 1 };
    let mut entries = Vec::new();
    while parser.rest.peek().is_some() {
        let line = parser.line;
        match parser.entry() {
            Ok(None) => {}
            Ok(Some((name, value))) => entries.push(Entry { name, value, line }),
            // At the end of the file, where an unclosed quote is noticed, its line says nothing.
            Err(UNCLOSED) => return Err(Mistake { line, reason: UNCLOSED }),
            Err(reason) => return Err(Mistake { line: parser.line, reason }),
        }
    }
    Ok(entries)
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Parser<'_> {
    /// Parses a line, or several if a quoted value goes on; `None` for an empty line or a comment.
    fn entry(&mut self) -> Result<Option<(String, String)>, &'static str> {
        self.skip_blanks();
        if matches!(self.rest.peek(), None | Some('\n' | '#')) {
            return self.end_of_line().map(|()| None);
        }
        let mut name = self.name()?;
        if name == "export" && self.rest.peek() != Some(&'=') {
            name = self.name()?;
        }
        if self.rest.next() != Some('=') {
            return Err(EXPECTED);
        }
        if self.skip_blanks() && self.rest.peek() == Some(&'#') {
            return self.end_of_line().map(|()| Some((name, String::new())));
        }
        Ok(Some((name, self.value()?)))
    }

    fn name(&mut self) -> Result<String, &'static str> {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || ['_', '.'].contains(c)) {
            name.push(c);
        }
        self.skip_blanks();
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') { Ok(name) } else { Err(EXPECTED) }
    }

    /// Parses the rest of the line; quoted parts may be anywhere in it, as in a shell.
    fn value(&mut self) -> Result<String, &'static str> {
        let mut value = String::new();
        loop {
            match self.rest.peek() {
                None | Some('\n') => break,
                Some(c) if is_blank(*c) => break,
                _ => {}
            }
            match self.rest.next() {
                Some(quote @ ('\'' | '"')) => self.quoted(quote, &mut value)?,
                Some('\\') => value.push(self.escape()?),
                c => value.extend(c),
            }
        }
        self.end_of_line().map(|()| value)
    }

    /// Parses the rest of a quoted part. It may span lines only at the beginning of a value: an apostrophe within one would
    /// swallow the lines up to the next.
    fn quoted(&mut self, quote: char, value: &mut String) -> Result<(), &'static str> {
        let may_span = value.is_empty();
        loop {
            match self.rest.next() {
                None => return Err(UNCLOSED),
                Some('\n') if !may_span => return Err(UNCLOSED),
                Some(c) if c == quote => return Ok(()),
                Some('\\') if quote == '"' => value.push(self.escape()?),
                Some(c) => {
                    self.line += usize::from(c == '\n');
                    value.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        match self.rest.next() {
            Some(c @ ('\\' | '\'' | '"' | '$' | ' ')) => Ok(c),
            Some('n') => Ok('\n'),
            _ => Err(BACKSLASH),
        }
    }

    /// Skips a comment and the line break.
    fn end_of_line(&mut self) -> Result<(), &'static str> {
        self.skip_blanks();
        match self.rest.next() {
            None => return Ok(()),
            Some('\n') => {}
            Some('#') => {
                self.rest.by_ref().find(|c| *c == '\n');
            }
            Some(_) => return Err(BLANKS),
        }
        self.line += 1;
        Ok(())
    }

    /// Returns true if there were any.
    fn skip_blanks(&mut self) -> bool {
        let mut found = false;
        while self.rest.next_if(|c| is_blank(*c)).is_some() {
            found = true;
        }
        found
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Result<String, &'static str> {
        let mut entries = parse(&format!("NAME={line}")).map_err(|mistake| mistake.reason)?;
        Ok(entries.remove(0).value)
    }

    #[test]
    fn nothing_is_substituted() {
        for text in
            ["$", "a$b", "$HOME", "${HOME}", "a$1$$", "a${b", "$(id)", "`id`", "#a", "a#b", "a=b", "é"]
        {
            assert_eq!(value(text).as_deref(), Ok(text));
            assert_eq!(value(&format!("\"{text}\"")).as_deref(), Ok(text));
            assert_eq!(value(&format!("'{text}'")).as_deref(), Ok(text));
        }
    }

    #[test]
    fn quotes_blanks_and_comments_are_those_of_a_shell() {
        for (line, expected) in [
            ("", ""),
            ("  ", ""),
            (" a ", "a"),
            ("a # comment", "a"),
            (" # comment", ""),
            ("'a # b' # comment", "a # b"),
            ("\"a b\"", "a b"),
            ("\"a\\n\\\"\\\\\\$\"", "a\n\"\\$"),
            ("'a\\n'", "a\\n"),
            ("a\\$b\\ c", "a$b c"),
            ("a\"b c\"'d e'", "ab cd e"),
            ("\"two\nlines\"", "two\nlines"),
            ("'two\nlines'", "two\nlines"),
            ("a\r", "a"),
        ] {
            assert_eq!(value(line).as_deref(), Ok(expected), "{line}");
        }
        for (line, reason) in [
            ("don't\nB=it's", UNCLOSED),
            ("a b", BLANKS),
            ("'a' b", BLANKS),
            ("'a", UNCLOSED),
            ("\"a", UNCLOSED),
            ("a\\b", BACKSLASH),
        ] {
            assert_eq!(value(line), Err(reason), "{line}");
        }
    }

    #[test]
    fn the_example_is_valid_with_all_its_settings() {
        let example = include_str!("../../.env.example");
        let settings = example.lines().filter_map(|line| line.strip_prefix('#'));
        let settings = settings.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let text: Vec<_> = settings.collect();
        assert_eq!(parse(&text.join("\n")).unwrap().len(), text.len());
    }

    #[test]
    fn names_may_be_exported_and_stand_apart() {
        let text = "\u{FEFF}# comment\r\n\r\nexport A=1\r\n  B = 2\nexport=3\n\nKEY=\"a\nb\"\nC=4";
        let entries = parse(&decode(text.as_bytes()).unwrap()).unwrap();
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.value.as_str(), e.line)).collect();
        assert_eq!(
            seen,
            [("A", "1", 3), ("B", "2", 4), ("export", "3", 5), ("KEY", "a\nb", 7), ("C", "4", 9)]
        );
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, line) in [
            ("A=1\nB", 2),
            ("\n\n1A=2", 3),
            ("A=1\nexport B\n", 2),
            ("A='1\n2'\nB C=3", 3),
            ("A=1\nB=\"2\nC=3\n", 2),
            ("A=1\nB=a b\n", 2),
            ("A=1\n=2", 2),
            ("A=\"1\n\\x\"", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(decode(b"A=1\nB=\xff").unwrap_err().line, 2);
        assert_eq!(decode(b"A=1\n\nB=\0").unwrap_err().line, 3);
    }

    #[test]
    fn the_first_of_equal_names_wins_and_the_second_is_reported() {
        let (kept, warnings) = without_duplicates(parse("A=1\nB=2\nA=3\n").unwrap());
        assert_eq!(kept.iter().map(|entry| entry.value.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with(".env line 3: A is already set in line 1"), "{warnings:?}");
    }
}
