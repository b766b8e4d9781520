use apollo_compiler::parser::SourceSpan;
use async_graphql::Pos;

/// Line index of a document, for the `locations` of errors.
pub(super) struct Lines {
    text: String,
    /// Offset of each line's first byte.
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn new(text: String) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the line and the column, in characters, of a span's start; both start at 1.
    pub(super) fn position(&self, span: Option<SourceSpan>) -> Pos {
        self.position_at(span.map_or(0, |span| span.offset()))
    }

    /// Like `position`, for an offset in bytes.
    pub(super) fn position_at(&self, offset: usize) -> Pos {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Pos { line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_terminator_of_the_grammar_begins_a_line() {
        assert_eq!(Lines::new("a\nb\r\nc\rd".into()).starts, [0, 2, 5, 7]);
    }
}
