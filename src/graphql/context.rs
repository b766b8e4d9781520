use std::sync::Arc;

use async_graphql::Context;
use secrecy::SecretString;

use crate::auth::{Client, Requester};
use crate::error::AppError;
use crate::state::AppState;

/// What identifies a request in answers and logs.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Who asks, and by which way.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose access token the request carries.
    pub requester: Requester,
    /// Where the request comes from.
    pub client: Arc<Client>,
    /// What there is of browser mode.
    pub cookie: RefreshCookie,
}

/// What an operation may do with the cookie that holds the refresh token.
#[derive(Clone, Debug)]
pub enum RefreshCookie {
    /// Nothing: refresh tokens travel in answers.
    Off,
    /// Nothing, as the way it came by can't set cookies.
    OutOfReach,
    /// Nothing, as a page of another site may have sent the request.
    Untrusted,
    /// Use it and set it; with the token that it held.
    Usable(Option<SecretString>),
}

impl RefreshCookie {
    /// Whether there is browser mode, if it may be used; it is an error to come by a way that can't.
    pub(super) fn is_used(&self) -> Result<bool, AppError> {
        match self {
            Self::Off => Ok(false),
            Self::OutOfReach => {
                Err(AppError::Forbidden("Sessions begin and go on by HTTP only: cookies can't be set here."))
            }
            Self::Untrusted => Err(AppError::Forbidden(
                "Send the header Apollo-Require-Preflight: true, from a page of this site or of an allowed origin.",
            )),
            Self::Usable(_) => Ok(true),
        }
    }

    /// The token that it held.
    pub(super) fn token(&self) -> Option<&SecretString> {
        match self {
            Self::Usable(token) => token.as_ref(),
            _ => None,
        }
    }
}

/// What resolvers ask of their context.
pub(super) trait ContextExt {
    /// The parts of the service.
    fn state(&self) -> Result<&AppState, AppError>;
    /// Who asks, and by which way.
    fn caller(&self) -> Result<&Caller, AppError>;
}

impl ContextExt for Context<'_> {
    fn state(&self) -> Result<&AppState, AppError> {
        let state = self.data::<AppState>();
        state.map_err(|_| AppError::internal(anyhow::anyhow!("the schema was built without state")))
    }

    fn caller(&self) -> Result<&Caller, AppError> {
        let caller = self.data::<Caller>();
        caller.map_err(|_| AppError::internal(anyhow::anyhow!("nobody asked")))
    }
}
