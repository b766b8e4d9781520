use async_graphql::TypeDirective;

use crate::graphql::error_code::{ErrorCode, Reason};

/// The error codes that are specific to a field, and the possible reasons of `UNAUTHENTICATED`. In addition, any field may
/// fail with `SERVICE_UNAVAILABLE` or `INTERNAL_SERVER_ERROR`, and any operation with the other values of `ErrorCode`.
#[TypeDirective(location = "FieldDefinition")]
pub(super) fn errors(
    #[graphql(desc = "Possible values of `extensions.code`.")] codes: Vec<ErrorCode>,
    #[graphql(desc = "Possible values of `extensions.reason`.")] reasons: Vec<Reason>,
) {
}

/// Returns all reasons for which a required token can be refused.
pub(super) fn any_reason() -> Vec<Reason> {
    vec![Reason::Missing, Reason::Malformed, Reason::Expired, Reason::Revoked]
}
