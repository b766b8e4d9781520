//! Rules of one-line texts, by Unicode's properties.

use icu_properties::props::{
    BidiClass, DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization;

use super::Problem;

/// Normalises a text to NFC and refuses one of more than `max` characters.
pub fn normalise(subject: &str, text: &str, max: usize) -> Result<String, Problem> {
    // One character more than allowed decides; the rest of an overlong text is not read.
    let normalised: String = text.nfc().take(max + 1).collect();
    if normalised.chars().count() > max {
        return Err(Problem::new("TOO_LONG", format!("{subject} must have at most {max} characters.")));
    }
    Ok(normalised)
}

/// Parses a text of one line: trimmed, in NFC, with spaces for tabs, at most `max` characters, some of them visible.
pub(super) fn parse_line(subject: &str, text: &str, max: usize, required: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::new("REQUIRED", required));
    }
    let line = normalise(subject, text, max)?.replace('\t', " ");
    if line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        let message = format!("{subject} must not contain line breaks or control characters.");
        return Err(Problem::new("INVALID", message));
    }
    if !is_visible(&line) {
        return Err(Problem::new("INVALID", format!("{subject} must contain a visible character.")));
    }
    Ok(line)
}

/// Returns true if a text shows anything.
pub fn is_visible(text: &str) -> bool {
    text.chars().any(shows)
}

fn shows(c: char) -> bool {
    // Blank by their glyphs, which no property says: BRAILLE PATTERN BLANK, EGYPTIAN HIEROGLYPH FULL BLANK and HALF BLANK,
    // KHITAN SMALL SCRIPT FILLER and MUSICAL SYMBOL NULL NOTEHEAD.
    if matches!(c, '\u{2800}' | '\u{13441}' | '\u{13442}' | '\u{16FE4}' | '\u{1D159}')
        || CodePointSetData::new::<WhiteSpace>().contains(c)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
    {
        return false;
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control => false,
        // Such as ARABIC NUMBER SIGN, a visible one.
        GeneralCategory::Format => CodePointSetData::new::<PrependedConcatenationMark>().contains(c),
        // Emoji may be newer than the tables, but noncharacters never become visible.
        GeneralCategory::Unassigned => {
            u32::from(c) & 0xFFFE != 0xFFFE && !matches!(c, '\u{FDD0}'..='\u{FDEF}')
        }
        _ => true,
    }
}

/// Returns true if a text has letters that run from right to left, as in Hebrew and Arabic.
pub(super) fn has_right_to_left_letters(text: &str) -> bool {
    let classes = CodePointMapData::<BidiClass>::new();
    // The marks have the class of the letters that they imitate.
    let is_mark = |c| matches!(c, '\u{200F}' | '\u{061C}');
    text.chars()
        .any(|c| !is_mark(c) && matches!(classes.get(c), BidiClass::RightToLeft | BidiClass::ArabicLetter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_ignorable_or_blank_characters_show_nothing() {
        for c in [
            '\u{00AD}',
            '\u{034F}',
            '\u{061C}',
            '\u{115F}',
            '\u{1160}',
            '\u{17B4}',
            '\u{180B}',
            '\u{180E}',
            '\u{200B}',
            '\u{200C}',
            '\u{200D}',
            '\u{200E}',
            '\u{202E}',
            '\u{2060}',
            '\u{2063}',
            '\u{2066}',
            '\u{206F}',
            '\u{2800}',
            '\u{3164}',
            '\u{FE00}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{FFA0}',
            '\u{FFF9}',
            '\u{FFFE}',
            '\u{13441}',
            '\u{13442}',
            '\u{1BCA0}',
            '\u{1D159}',
            '\u{1D173}',
            '\u{E0001}',
            '\u{E0041}',
            '\u{E0100}',
            '\u{10FFFF}',
            ' ',
            '\u{A0}',
            '\u{1680}',
            '\u{2003}',
            '\u{202F}',
            '\u{205F}',
            '\u{3000}',
            '\u{2028}',
            '\0',
            '\u{85}',
        ] {
            assert!(!is_visible(&format!("{c}\u{200B}{c}")), "{c:?}");
            assert!(is_visible(&format!("{c}a")), "{c:?}");
        }
    }

    #[test]
    fn letters_signs_emoji_and_private_characters_show() {
        for text in [
            "a",
            "é",
            "!",
            "牛",
            "ก",
            "👩\u{200D}🚀",
            "🏴\u{E0067}\u{E007F}",
            "\u{600}",
            "\u{301}",
            "\u{E000}",
            "☐",
        ] {
            assert!(is_visible(text), "{text:?}");
        }
    }

    #[test]
    fn a_line_is_in_nfc_and_counted_in_it() {
        let parse = |text: &str| parse_line("A text", text, 3, "Enter a text.");
        assert_eq!(parse(" cafe\u{301}").unwrap_err().code, "TOO_LONG");
        assert_eq!(parse("e\u{301}e\u{301}e\u{301}").unwrap(), "ééé");
        assert_eq!(parse("\u{1112}\u{1161}\u{11AB}").unwrap(), "한");
        assert_eq!(parse("a\tb\t").unwrap(), "a b");
        for (text, code) in [
            ("\t\u{2028}", "REQUIRED"),
            ("a\u{2028}b", "INVALID"),
            ("a\u{2029}b", "INVALID"),
            ("a\u{85}b", "INVALID"),
            ("a\u{B}b", "INVALID"),
            ("\u{200B} \u{AD}", "INVALID"),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text:?}");
        }
    }
}
