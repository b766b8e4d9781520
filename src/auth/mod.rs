//! The rules of accounts and sessions, without transport: they can be read and tested without GraphQL.

mod access_token;
mod accounts;
mod client;
mod events;
mod keys;
mod last_seen;
mod password;
mod profile;
mod refresh_token;
mod requester;
mod revocations;
mod sessions;
mod throttle;

pub use access_token::{AccessTokens, Claims};
pub use accounts::{Credentials, Registration, create, login, register};
pub use client::Client;
pub use keys::{SigningKey, SigningKeys};
pub use last_seen::LastSeen;
pub use password::PasswordHasher;
pub use profile::{change_email, change_password, delete, delete_account, reset_password, update_profile};
pub use refresh_token::RefreshToken;
pub use requester::{Identity, Requester};
pub use revocations::Revocations;
pub use sessions::{OpenedSession, logout, refresh, revoke, revoke_all};
