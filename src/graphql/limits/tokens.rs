use async_graphql::ServerError;

use super::beyond;
use crate::config::Limits;
use crate::error::ErrorCode;

/// Brackets within each other, of whatever kind. The parser gives up at 64 and recurses until then.
const MAX_NESTING: usize = 60;

/// Checks length, number of tokens and nesting of a document's text; returns the number of tokens.
pub(in crate::graphql) fn check(source: &str, limits: &Limits) -> Result<usize, ServerError> {
    if source.len() > limits.document {
        return Err(beyond(ErrorCode::DocumentTooLarge, limits.document, "bytes of GraphQL"));
    }
    let (mut tokens, mut nesting) = (0_usize, 0_usize);
    for token in Tokens(source.as_bytes()) {
        tokens += 1;
        match token {
            b'{' | b'[' | b'(' => nesting += 1,
            b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        if tokens > limits.tokens {
            return Err(beyond(ErrorCode::TooManyTokens, limits.tokens, "tokens"));
        }
        if nesting > MAX_NESTING {
            return Err(beyond(ErrorCode::OperationTooDeep, MAX_NESTING, "levels of brackets"));
        }
    }
    Ok(tokens)
}

/// The first bytes of a text's tokens. What is no GraphQL is cut somehow; the parser will say so.
struct Tokens<'a>(&'a [u8]);

impl Iterator for Tokens<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            let (&first, rest) = self.0.split_first()?;
            self.0 = match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => rest,
                b'#' => after(rest, |byte| byte != b'\n' && byte != b'\r'),
                b'"' => after_string(rest),
                b'.' => after(rest, |byte| byte == b'.'),
                b'-' | b'0'..=b'9' => after(rest, |byte| is_word(byte) || matches!(byte, b'.' | b'+' | b'-')),
                _ if is_word(first) => after(rest, is_word),
                _ => rest,
            };
            if !matches!(first, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'#') {
                return Some(first);
            }
        }
    }
}

/// Bytes of names.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn after(text: &[u8], inside: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !inside(*byte)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// What follows a string whose opening quote has been read.
fn after_string(text: &[u8]) -> &[u8] {
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
            [b'\\', _, after @ ..] if quotes.len() == 1 => after,
            [_, after @ ..] => after,
            [] => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(source: &str) -> usize {
        Tokens(source.as_bytes()).count()
    }

    #[test]
    fn tokens_are_counted_as_the_grammar_has_them() {
        assert_eq!(count("query Q($a: [Int!] = -1.5e3) { a: b(c: $a) ... on D @e { f } }"), 32);
        assert_eq!(count("{ a } # b c d\n, ,"), 3);
        assert_eq!(count("{a...F}"), 5);
        assert_eq!(count(r#"{ a(b: "c \" } d", e: """f \""" " } g""") }"#), 11);
        assert_eq!(count("\"never closed"), 1);
        assert_eq!(count("\"\"\"never closed \\"), 1);
    }
}
