//! The rules of accounts and sessions, without transport: they can be read and tested without GraphQL.

mod access_token;
mod accounts;
mod password;
mod refresh_token;
mod requester;
mod sessions;

pub use access_token::{AccessTokens, Claims};
pub use accounts::{Credentials, Registration, login, register};
pub use password::PasswordHasher;
pub use refresh_token::RefreshToken;
pub use requester::Requester;
pub use sessions::OpenedSession;
