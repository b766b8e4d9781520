use std::sync::Arc;

use async_graphql::Context;
use secrecy::SecretString;

use crate::auth::{Client, Requester};
use crate::error::AppError;
use crate::state::AppState;

/// Identifier of a request in responses and logs.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Requester, client and cookie of an operation.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Authentication state of the request.
    pub requester: Requester,
    /// Client that sent the request.
    pub client: Arc<Client>,
    /// Access to the cookie of browser mode.
    pub cookie: RefreshCookie,
}

/// Access of an operation to the cookie that holds the refresh token.
#[derive(Clone, Debug)]
pub enum RefreshCookie {
    /// Browser mode is off: refresh tokens travel in responses.
    Off,
    /// No access: this transport can't set cookies.
    Unavailable,
    /// No access: a page of another origin may have sent the request.
    Untrusted,
    /// Read and write; holds the token that was sent.
    Usable(Option<SecretString>),
}

impl RefreshCookie {
    /// Fails if browser mode is on and this request cannot be trusted with cookies.
    pub(super) fn require_trusted(&self) -> Result<(), AppError> {
        match self {
            Self::Off | Self::Usable(_) => Ok(()),
            Self::Unavailable => Err(AppError::Forbidden(
                "Sessions are opened and refreshed over HTTP only: cookies can't be set here.",
            )),
            Self::Untrusted => Err(AppError::Forbidden(
                "Cookies are accepted only from pages of this host and of allowed origins, by a POST of application/json.",
            )),
        }
    }

    /// Returns true if this request can read and write the cookie.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, Self::Usable(_))
    }

    /// Returns the token that was sent in it.
    pub(super) fn token(&self) -> Option<&SecretString> {
        match self {
            Self::Usable(token) => token.as_ref(),
            _ => None,
        }
    }
}

/// Access to the data of a request from resolvers.
pub(super) trait ContextExt {
    /// Returns the shared state.
    fn state(&self) -> Result<&AppState, AppError>;
    /// Returns the operation's caller.
    fn caller(&self) -> Result<&Caller, AppError>;
}

impl ContextExt for Context<'_> {
    fn state(&self) -> Result<&AppState, AppError> {
        let state = self.data::<AppState>();
        state.map_err(|_| AppError::internal(anyhow::anyhow!("the schema was built without state")))
    }

    fn caller(&self) -> Result<&Caller, AppError> {
        let caller = self.data::<Caller>();
        caller.map_err(|_| AppError::internal(anyhow::anyhow!("the operation has no caller")))
    }
}
