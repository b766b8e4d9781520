//! Values that have been checked: whoever holds one knows that its rules are kept.
//!
//! Fields are private and `parse` is the only way in. Nothing here reads or writes anything.

mod email;
mod name;
mod password;
mod todo;

pub use email::Email;
pub use name::Name;
pub use password::{NewPassword, Password};
pub use todo::{Description, Tags, Title};

/// Why a text is no such value. The message is written for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, for programs: `TOO_SHORT`, `TOO_LONG`, `INVALID`, `REQUIRED`, `TOO_GUESSABLE`.
    pub code: &'static str,
    /// What is wrong and what is allowed, for people.
    pub message: String,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
