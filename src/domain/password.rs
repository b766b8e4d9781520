use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

use super::Problem;

/// A password to be verified: any text of at most 1,024 bytes without NUL.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// Maximum length, in bytes: bounds the time that a request can spend on hashing.
    pub const MAX_BYTES: usize = 1024;

    /// Parses user input, neither trimmed nor normalised.
    pub fn parse(text: String) -> Result<Self, Problem> {
        if text.len() > Self::MAX_BYTES {
            return Err(Problem::new(
                "TOO_LONG",
                format!("A password must have at most {} bytes.", Self::MAX_BYTES),
            ));
        }
        if text.contains('\0') {
            return Err(Problem::new("INVALID", "A password must not contain NUL characters."));
        }
        Ok(Self(text.into()))
    }

    /// Returns the bytes, for hashing.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
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
        let text = password.0.expose_secret();
        if text.len() < Self::MIN_BYTES {
            return Err(Problem::new(
                "TOO_SHORT",
                format!("A password must have at least {} bytes.", Self::MIN_BYTES),
            ));
        }
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
        assert_eq!(Password::parse("correct\0horse".to_owned()).unwrap_err().code, "INVALID");
    }

    #[test]
    fn cannot_be_printed() {
        let password = Password::parse("correct horse battery staple".to_owned()).unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }
}
