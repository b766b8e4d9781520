use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use zxcvbn::{Score, zxcvbn};

use super::Problem;

/// A password to be verified: any text of at most 1,024 bytes without NUL.
///
/// Compared as by the profile `OpaqueString` (RFC 8265, section 4.2): in NFC, with plain spaces for other spaces. Keyboards
/// of different systems type the same password in different forms.
#[derive(Clone, Debug)]
pub struct Password {
    /// Form that is judged and hashed.
    normalised: SecretString,
    /// Alternative forms, which an older hash may have been made from: as typed, and in NFD.
    others: Vec<SecretString>,
}

impl Password {
    /// Maximum length, in bytes: bounds the time that a request can spend on hashing.
    pub const MAX_BYTES: usize = 1024;
    /// Maximum length as typed: NFD takes up to three times the bytes of NFC.
    pub const MAX_TYPED_BYTES: usize = 3 * Self::MAX_BYTES;

    /// Parses user input; does not trim it.
    pub fn parse(text: String) -> Result<Self, Problem> {
        if text.len() > Self::MAX_TYPED_BYTES || (text.is_ascii() && text.len() > Self::MAX_BYTES) {
            return Err(Self::too_long());
        }
        if text.contains('\0') {
            return Err(Problem::new("INVALID", "A password must not contain NUL characters."));
        }
        if text.is_ascii() {
            return Ok(Self { normalised: text.into(), others: Vec::new() });
        }
        let normalised: String = text.chars().map(plain_space).nfc().collect();
        // Either form, so that the same password is accepted from any keyboard.
        if normalised.len().min(text.len()) > Self::MAX_BYTES {
            return Err(Self::too_long());
        }
        let decomposed: String = text.nfd().collect();
        let mut others: Vec<SecretString> = Vec::new();
        if decomposed != text && decomposed != normalised {
            others.push(decomposed.into());
        }
        if text != normalised {
            others.insert(0, text.into());
        }
        Ok(Self { normalised: normalised.into(), others })
    }

    fn too_long() -> Problem {
        Problem::new("TOO_LONG", format!("A password must have at most {} bytes.", Self::MAX_BYTES))
    }

    /// Returns the normalised bytes, for hashing.
    pub fn expose(&self) -> &[u8] {
        self.normalised.expose_secret().as_bytes()
    }

    /// Returns the bytes of each form that a hash can match, at most three: the normalised one first.
    pub fn forms(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let forms: Vec<_> = std::iter::once(&self.normalised).chain(&self.others).collect();
        forms.into_iter().map(|form| form.expose_secret().as_bytes())
    }
}

/// A password strong enough to be set: 8 to 1,024 bytes and hard to guess.
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

impl NewPassword {
    /// Minimum length, in bytes (NIST SP 800-63B, section 5.1.1.1).
    pub const MIN_BYTES: usize = 8;

    /// Estimates a password's strength. Words of `context`, such as the email address and the name, count as guessable.
    ///
    /// Computes for some milliseconds, so call it on a blocking thread.
    pub fn parse(password: Password, context: &[&str]) -> Result<Self, Problem> {
        let text = password.normalised.expose_secret();
        if text.len() < Self::MIN_BYTES {
            return Err(Problem::new(
                "TOO_SHORT",
                format!("A password must have at least {} bytes.", Self::MIN_BYTES),
            ));
        }
        let context: Vec<String> = context.iter().map(|text| text.nfc().collect()).collect();
        let context: Vec<&str> = context.iter().flat_map(|text| words(text)).collect();
        // A password with a strong part is strong.
        let beginning = beginning(text);
        let end = end(text);
        let estimate = zxcvbn(beginning, &context);
        let strong = |estimate: &zxcvbn::Entropy| estimate.score() >= Score::Three;
        if !strong(&estimate) && (beginning == end || !strong(&zxcvbn(end, &context))) {
            let advice = estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning);
            let advice = advice.map(|advice| format!(" {advice}")).unwrap_or_default();
            let message = format!("This password is too easy to guess.{advice} Try several uncommon words.");
            return Err(Problem::new("TOO_GUESSABLE", message));
        }
        Ok(Self(password))
    }

    /// Returns the password.
    pub fn password(&self) -> &Password {
        &self.0
    }
}

/// Returns a plain space for any other space, such as the no-break space of Option and Space on a Mac.
fn plain_space(c: char) -> char {
    // The general category Zs: white space that separates neither lines nor paragraphs, and is no control character.
    let is_space = c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    if is_space { ' ' } else { c }
}

/// Characters estimated at once. zxcvbn's time grows faster than the square of the length: 100 characters like `4@8({[<`
/// take 720 ms, 32 take 60 ms.
const JUDGED_CHARS: usize = 32;

fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(JUDGED_CHARS).map_or(text.len(), |(index, _)| index);
    text.get(..end).unwrap_or(text)
}

fn end(text: &str) -> &str {
    let start = text.char_indices().rev().nth(JUDGED_CHARS - 1).map_or(0, |(index, _)| index);
    text.get(start..).unwrap_or(text)
}

/// Returns a text and its words, so that "Ada Lovelace" makes "lovelace" guessable too.
fn words(text: &str) -> impl Iterator<Item = &str> {
    std::iter::once(text).chain(text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, context: &[&str]) -> Result<NewPassword, Problem> {
        NewPassword::parse(Password::parse(text.to_owned())?, context)
    }

    #[test]
    fn uncommon_words_are_accepted() {
        assert!(judge("correct horse battery staple", &[]).is_ok());
    }

    #[test]
    fn short_common_and_guessable_passwords_are_refused() {
        assert_eq!(judge("Xq9$kk1", &[]).unwrap_err().code, "TOO_SHORT");
        for text in ["password1", "12345678901234", "qwertyuiop", "aaaaaaaaaaaaaaaa", "iloveyou2024"] {
            assert_eq!(judge(text, &[]).unwrap_err().code, "TOO_GUESSABLE", "{text}");
        }
    }

    #[test]
    fn personal_data_makes_a_password_guessable() {
        let context = ["grzegorz.brzeczyszczykiewicz@example.com", "Grzegorz Brzeczyszczykiewicz"];
        assert!(judge("brzeczyszczykiewicz", &[]).is_ok());
        assert_eq!(judge("brzeczyszczykiewicz", &context).unwrap_err().code, "TOO_GUESSABLE");
    }

    #[test]
    fn one_strong_part_is_enough() {
        let weak = "a".repeat(40);
        assert_eq!(judge(&weak, &[]).unwrap_err().code, "TOO_GUESSABLE");
        assert!(judge(&format!("{weak}correct horse battery staple"), &[]).is_ok());
        assert!(judge(&format!("correct horse battery staple{weak}"), &[]).is_ok());
        assert_eq!((beginning("é"), end("é")), ("é", "é"));
        assert_eq!(end(&format!("{}é", "a".repeat(40))).chars().count(), JUDGED_CHARS);
    }

    #[test]
    fn the_limit_is_counted_in_bytes_and_nul_is_refused() {
        assert!(Password::parse("é".repeat(512)).is_ok());
        assert_eq!(Password::parse("é".repeat(513)).unwrap_err().code, "TOO_LONG");
        assert_eq!(Password::parse("a".repeat(1025)).unwrap_err().code, "TOO_LONG");
        assert!(Password::parse("e\u{301}".repeat(512)).is_ok());
        assert_eq!(Password::parse("e\u{301}".repeat(513)).unwrap_err().code, "TOO_LONG");
        // Longer in NFC than as typed.
        assert!(Password::parse("\u{958}".repeat(341)).is_ok());
        assert_eq!(Password::parse("correct\0horse".to_owned()).unwrap_err().code, "INVALID");
    }

    #[test]
    fn has_one_normalised_form_and_at_most_two_others() {
        let forms = |text: &str| {
            let password = Password::parse(text.to_owned()).unwrap();
            password.forms().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(forms("correct horse"), ["correct horse"]);
        assert_eq!(forms("牛奶牛奶"), ["牛奶牛奶"]);
        assert_eq!(forms("café"), ["café", "cafe\u{301}"]);
        assert_eq!(forms("cafe\u{301}"), ["café", "cafe\u{301}"]);
        assert_eq!(forms("cafe\u{301} é"), ["café é", "cafe\u{301} é", "cafe\u{301} e\u{301}"]);
        assert_eq!(forms("a\u{A0}\u{3000}b"), ["a  b", "a\u{A0}\u{3000}b"]);
        assert_eq!(forms("é\u{A0}"), ["é ", "é\u{A0}", "e\u{301}\u{A0}"]);
        // Full-width letters are other letters.
        assert_eq!(forms("ＡＢ"), ["ＡＢ"]);
    }

    #[test]
    fn is_judged_in_its_normalised_form() {
        assert!(judge("cafe\u{301} horse battery staple", &[]).is_ok());
        let name = ["Grze\u{301}gorz Brze\u{301}czyszczykiewicz"];
        assert_eq!(judge("brzéczyszczykiewicz", &name).unwrap_err().code, "TOO_GUESSABLE");
    }

    #[test]
    fn cannot_be_printed() {
        let password = Password::parse("correct horse battery staple".to_owned()).unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }
}
