use async_graphql::Context;

use crate::auth::Requester;
use crate::error::AppError;
use crate::state::AppState;

/// What identifies a request in answers and logs.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// What resolvers ask of their context.
pub(super) trait ContextExt {
    /// The parts of the service.
    fn state(&self) -> Result<&AppState, AppError>;
    /// Who asks.
    fn requester(&self) -> Requester;
}

impl ContextExt for Context<'_> {
    fn state(&self) -> Result<&AppState, AppError> {
        let state = self.data::<AppState>();
        state.map_err(|_| AppError::internal(anyhow::anyhow!("the schema was built without state")))
    }

    fn requester(&self) -> Requester {
        self.data_opt::<Requester>().copied().unwrap_or(Requester::Anonymous)
    }
}
