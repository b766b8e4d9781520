//! Limits on a document's text, checked without recursion and in linear time, so that the parser never sees a large or
//! deeply nested one.

use std::borrow::Cow;

use apollo_compiler::ast;
use async_graphql::ServerError;

use super::limits::exceeded;
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Largest number of nested brackets. apollo-compiler recurses as deep.
const MAX_NESTING: usize = 60;

/// Directives in a document. Clients use a few `@include` and `@skip`; thousands would make validation slow.
const MAX_DIRECTIVES: usize = 50;

/// Ignored between tokens (2.1), wherever it stands.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The text of a document within the limits.
pub(super) struct Source<'a> {
    /// Number of tokens, as the grammar counts them.
    pub(super) tokens: usize,
    /// The text without commas and without descriptions of operations, fragments and variables.
    pub(super) text: Cow<'a, str>,
}

impl<'a> Source<'a> {
    /// Checks length, tokens, nesting and directives.
    pub(super) fn check(text: &'a str, limits: &Limits) -> Result<Self, ServerError> {
        if text.len() > limits.max_document {
            return Err(exceeded(ErrorCode::DocumentTooLarge, limits.max_document, "bytes of GraphQL"));
        }
        let mut tokens = 0_usize;
        let mut nesting = 0_usize;
        let mut directives = 0_usize;
        let mut descriptions = Descriptions::default();
        for token in Tokens::new(text) {
            tokens += 1;
            descriptions.observe(token, nesting);
            match token.first {
                b'{' | b'[' | b'(' => nesting += 1,
                b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
                b'@' => directives += 1,
                _ => {}
            }
            if tokens > limits.max_tokens {
                return Err(exceeded(ErrorCode::TooManyTokens, limits.max_tokens, "tokens"));
            }
            if nesting > MAX_NESTING {
                return Err(exceeded(ErrorCode::OperationTooDeep, MAX_NESTING, "levels of brackets"));
            }
            if directives > MAX_DIRECTIVES {
                return Err(exceeded(ErrorCode::TooManyDirectives, MAX_DIRECTIVES, "directives"));
            }
        }
        Ok(Self { tokens, text: descriptions.blank(text)? })
    }
}

/// Returns the offset of the first token of `text` that a parsed document, printed as `printed`, does not have.
///
/// apollo-parser 0.8 leaves out names without a value, as in `f(a b: 1)` and `{ a b: 1 }`, without an error.
pub(super) fn find_dropped(text: &str, printed: &str) -> Option<usize> {
    let mut printed = significant_tokens(printed);
    for token in significant_tokens(text) {
        // A string may be printed in its other form.
        let same =
            |other: Token<'_>| token.text == other.text || (token.first == b'"' && other.first == b'"');
        if !printed.next().is_some_and(same) {
            return Some(token.start);
        }
    }
    None
}

/// Returns the tokens that the printed form of a document keeps: `query { a }` is printed as `{ a }`.
fn significant_tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut nesting = 0_usize;
    let mut tokens = Tokens::new(text).peekable();
    std::iter::from_fn(move || {
        let mut token = tokens.next()?;
        let next = tokens.peek().map(|next| next.first);
        if nesting == 0 && token.text == "query" && next == Some(b'{') {
            token = tokens.next()?;
        }
        match token.first {
            b'{' => nesting += 1,
            b'}' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        Some(token)
    })
}

/// Finds descriptions of operations, fragments and variables (specification of September 2025). apollo-compiler 1.33
/// does not parse them there, and they mean nothing to execution.
#[derive(Default)]
struct Descriptions<'a> {
    previous: Option<Token<'a>>,
    candidate: Option<Token<'a>>,
    found: Vec<Token<'a>>,
}

impl<'a> Descriptions<'a> {
    /// Reads the next token, which is inside `nesting` brackets.
    fn observe(&mut self, token: Token<'a>, nesting: usize) {
        let candidate = self.candidate.take();
        if let Some(candidate) = candidate {
            let keyword = matches!(token.text, "query" | "mutation" | "subscription" | "fragment");
            if (nesting == 0 && keyword) || (nesting == 1 && token.first == b'$') {
                self.found.push(candidate);
            }
        }
        let previous = self.previous.map(|previous| previous.first);
        let may_follow = match nesting {
            // At the beginning of a definition.
            0 => matches!(previous, None | Some(b'}')),
            // A string after `=` is the default of a variable.
            1 => !matches!(previous, Some(b'=' | b':')) && candidate.is_none(),
            _ => false,
        };
        if token.first == b'"' && may_follow {
            self.candidate = Some(token);
        }
        self.previous = Some(token);
    }

    /// Replaces the descriptions and all commas outside strings by blanks, so that lines and columns of all else stay.
    ///
    /// apollo-parser 0.8 does not look past a comma for what follows `...` or an alias.
    fn blank(self, text: &str) -> Result<Cow<'_, str>, ServerError> {
        if self.found.is_empty() && !text.contains(',') {
            return Ok(Cow::Borrowed(text));
        }
        let mut blanked = String::with_capacity(text.len());
        let mut found = self.found.iter().peekable();
        let mut rest = 0;
        let between = |c| if c == ',' { ' ' } else { c };
        for token in Tokens::new(text) {
            blanked.extend(text.get(rest..token.start).unwrap_or_default().chars().map(between));
            if found.next_if(|description| description.start == token.start).is_some() {
                check_description(token)?;
                let inside = |c| if matches!(c, '\n' | '\r') { c } else { ' ' };
                blanked.extend(token.text.chars().map(inside));
            } else {
                blanked.push_str(token.text);
            }
            rest = token.start + token.text.len();
        }
        blanked.extend(text.get(rest..).unwrap_or_default().chars().map(between));
        Ok(Cow::Owned(blanked))
    }
}

fn check_description(description: Token<'_>) -> Result<(), ServerError> {
    let parsed = ast::Document::parse(format!("{} scalar A", description.text), "description");
    let message = "Syntax error: a description is not a valid string.";
    parsed.map(drop).map_err(|_| wire_error(ErrorCode::GraphqlParseFailed, message))
}

/// A token of a document. Text that is not GraphQL is split at arbitrary places; the parser reports it.
#[derive(Clone, Copy)]
struct Token<'a> {
    first: u8,
    /// Offset in bytes.
    start: usize,
    text: &'a str,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let start = self.at;
            let bytes = self.text.as_bytes().get(start..)?;
            let (&first, rest) = bytes.split_first()?;
            let rest = match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => rest,
                b'#' => skip_while(rest, |byte| byte != b'\n' && byte != b'\r'),
                b'"' => skip_string(rest),
                b'.' => skip_while(rest, |byte| byte == b'.'),
                b'-' | b'0'..=b'9' => skip_number(rest),
                _ if is_word(first) => skip_while(rest, is_word),
                // One token for a whole character, so that slices end between characters.
                128.. => skip_while(rest, |byte| byte & 0xC0 == 0x80),
                _ => rest,
            };
            self.at = self.text.len() - rest.len();
            let text = self.text.get(start..self.at)?;
            if !matches!(first, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'#') && text != BYTE_ORDER_MARK {
                return Some(Token { first, start, text });
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns the text after a number whose first byte has been read. A sign belongs to the number only after an `e`.
fn skip_number(text: &[u8]) -> &[u8] {
    let mut previous = 0;
    let end = text.iter().position(|&byte| {
        let sign = matches!(byte, b'+' | b'-') && matches!(previous, b'e' | b'E');
        previous = byte;
        !(sign || byte == b'.' || is_word(byte))
    });
    text.get(end.unwrap_or(text.len())..).unwrap_or_default()
}

fn skip_while(text: &[u8], inside: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !inside(*byte)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// Returns the text after a string whose opening quote has been read. An unterminated string ends with its line, as in
/// the parser, so that the text after it cannot escape the limits.
fn skip_string(text: &[u8]) -> &[u8] {
    let (mut rest, quotes): (_, &[u8]) = match text.strip_prefix(b"\"\"") {
        Some(block) => (block, b"\"\"\""),
        None => (text, b"\""),
    };
    loop {
        if let Some(after) = rest.strip_prefix(quotes) {
            return after;
        }
        rest = match rest {
            [b'\\', b'"', b'"', b'"', after @ ..] if quotes.len() == 3 => after,
            [b'\n' | b'\r', ..] if quotes.len() == 1 => return rest,
            // A backslash does not escape one byte of a longer character.
            [b'\\', b' '..=b'~', after @ ..] if quotes.len() == 1 => after,
            [_, after @ ..] => after,
            [] => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(source: &str) -> usize {
        Tokens::new(source).count()
    }

    #[test]
    fn tokens_are_counted_as_the_grammar_has_them() {
        assert_eq!(count("query Q($a: [Int!] = -1.5e3) { a: b(c: $a) ... on D @e { f } }"), 32);
        assert_eq!(count("1-2 1e-2 -1E+5 -.5"), 5);
        assert_eq!(count("{ a } # b c d\n, ,"), 3);
        assert_eq!(count("{a...F}"), 5);
        assert_eq!(count(r#"{ a(b: "c \" } d", e: """f \""" " } g""") }"#), 11);
        assert_eq!(count("\"never closed"), 1);
        assert_eq!(count("\"ends with its line\n{ a }"), 4);
        assert_eq!(count("\"\"\"never closed \\"), 1);
        assert_eq!(count("{ ä \"ö\\ü\" }"), 4);
        assert_eq!(count("\u{feff}{\u{feff}a }\u{feff}"), 3);
    }

    #[test]
    fn a_token_that_the_parser_dropped_is_found() {
        assert_eq!(find_dropped("query { a(b: \"c\") }", "{\n  a(b: \"\"\"c\"\"\")\n}"), None);
        assert_eq!(find_dropped("\u{feff}{ a, b } # c", "{ a b }"), None);
        assert_eq!(find_dropped("{ a(b c: 1) }", "{ a(c: 1) }"), Some(4));
        assert_eq!(find_dropped("{ a } b", "{ a }"), Some(6));
    }

    fn blanked(source: &str) -> String {
        let mut descriptions = Descriptions::default();
        let mut nesting = 0_usize;
        for token in Tokens::new(source) {
            descriptions.observe(token, nesting);
            match token.first {
                b'{' | b'[' | b'(' => nesting += 1,
                b'}' | b']' | b')' => nesting -= 1,
                _ => {}
            }
        }
        descriptions.blank(source).map_or_else(|error| error.message, Cow::into_owned)
    }

    #[test]
    fn descriptions_are_blanked_and_other_strings_stay() {
        assert_eq!(blanked("\"ä\" query A { a }"), "    query A { a }");
        assert_eq!(blanked("\"\"\"a\nb\"\"\" fragment F on T { a }"), "    \n     fragment F on T { a }");
        assert_eq!(blanked("query(\"a\" $b: Int) { a }"), "query(    $b: Int) { a }");
        assert_eq!(blanked("query($a: S = \"x\" \"y\" $b: S) { a }"), "query($a: S = \"x\"     $b: S) { a }");
        assert_eq!(blanked("\u{feff}\"a\"\u{feff}query A { a }"), "\u{feff}   \u{feff}query A { a }");
        for same in [
            "query($a: S = \"x\" $b: S) { a(b: \"query\") }",
            "query($a: [S] = [\"x\" $b]) { a }",
            "query A @a(b: \"x\") { a }",
            "\"x\" { a }",
            "query \"x\" mutation { a }",
            "fragment F on \"x\" query { a }",
            "\"x\" \"y\" query { a }",
        ] {
            assert_eq!(blanked(same), same);
        }
    }

    #[test]
    fn commas_outside_strings_are_blanked() {
        assert_eq!(
            blanked("{ a,:b(c: \",\", d: \"\"\",\"\"\"), } #, é"),
            "{ a :b(c: \",\"  d: \"\"\",\"\"\")  } #  é"
        );
    }
}
