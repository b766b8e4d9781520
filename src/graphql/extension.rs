use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::{CacheControl, ServerError, ValidationResult};

/// Marks a request whose document has passed the validation before and has no variables: the verdict would be the
/// same again.
pub(super) struct Validated;

/// Leaves the validation out where its verdict is known.
pub(super) struct SkipKnownValidation;

impl ExtensionFactory for SkipKnownValidation {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for SkipKnownValidation {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        match ctx.data_opt::<Validated>() {
            Some(Validated) => {
                Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 })
            }
            None => next.run(ctx).await,
        }
    }
}
