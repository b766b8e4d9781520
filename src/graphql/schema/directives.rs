use async_graphql::TypeDirective;

use crate::error::{ErrorCode, UnauthenticatedReason};

/// The codes of the errors with which a field fails by its own rules, and the reasons of those that are
/// `UNAUTHENTICATED`. Any field may fail with `SERVICE_UNAVAILABLE` or `INTERNAL_SERVER_ERROR`, and any operation with
/// the other values of `ErrorCode`.
#[TypeDirective(location = "FieldDefinition")]
pub(super) fn errors(
    #[graphql(desc = "Values of `extensions.code`.")] codes: Vec<ErrorCode>,
    #[graphql(desc = "Values of `extensions.reason`.")] reasons: Vec<UnauthenticatedReason>,
) {
}

/// What may be wrong with the token of an operation that needs one.
pub(super) fn any_reason() -> Vec<UnauthenticatedReason> {
    vec![
        UnauthenticatedReason::Missing,
        UnauthenticatedReason::Malformed,
        UnauthenticatedReason::Expired,
        UnauthenticatedReason::Revoked,
    ]
}
