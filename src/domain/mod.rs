//! Parsed values ("parse, don't validate"): a value of these types satisfies its rules.
//!
//! Fields are private, and `parse` is the only constructor. Nothing here does input or output.

mod email;
mod name;
mod password;
mod patch;
mod text;
mod todo;

pub use email::Email;
pub use name::Name;
pub use password::{NewPassword, Password};
pub use patch::Patch;
pub use text::{is_visible, normalise};
pub use todo::{Description, Tags, Title};

/// The reason why an input was refused. The message is written for the person who typed the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Code for programs: `TOO_SHORT`, `TOO_LONG`, `INVALID`, `REQUIRED`, `TOO_GUESSABLE`.
    pub code: &'static str,
    /// Message for people: the problem and the rule.
    pub message: String,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
