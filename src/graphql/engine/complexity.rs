//! Limits on the fields of a plan: depth, number, aliases, introspection.

use async_graphql::ServerError;

use super::limits::exceeded;
use super::plan::{Plan, PlannedField, Selected};
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Fields below `__schema` and `__type`, fragments expanded. GraphiQL's and Apollo's introspection queries have some
/// 200; each field is resolved for every type, and for every field of it.
const MAX_INTROSPECTION_FIELDS: usize = 500;
/// Nested lists of introspection. The queries of tools nest three (types, their fields, the arguments of these).
const MAX_INTROSPECTION_DEPTH: usize = 3;
/// Fields of introspection that are lists; each level of them multiplies the answer by the size of the schema.
const INTROSPECTION_LISTS: [&str; 8] =
    ["args", "directives", "enumValues", "fields", "inputFields", "interfaces", "possibleTypes", "types"];

/// Checks the limits that do not depend on arguments.
pub(super) fn check_plan(plan: &Plan, limits: &Limits, introspection: bool) -> Result<(), ServerError> {
    use ErrorCode as Code;

    let root = if let Selected::Object(fields) = &plan.selection { fields.as_slice() } else { &[] };
    let is_introspection = |field: &PlannedField| field.name == "__schema" || field.name == "__type";
    if !introspection && root.iter().any(is_introspection) {
        let message = "Introspection is disabled.";
        return Err(wire_error(Code::IntrospectionDisabled, message));
    }
    let size = Size::measure(&plan.selection);
    for (actual, limit, code, what) in [
        (size.depth, limits.max_depth, Code::OperationTooDeep, "levels of fields"),
        (
            size.introspection_depth,
            MAX_INTROSPECTION_DEPTH,
            Code::IntrospectionTooDeep,
            "nested lists in introspection",
        ),
        (root.len(), limits.max_root_fields, Code::TooManyRootFields, "fields at its root"),
        (size.aliases, limits.max_aliases, Code::TooManyAliases, "aliases"),
        (size.introspected, MAX_INTROSPECTION_FIELDS, Code::OperationTooComplex, "fields of introspection"),
    ] {
        if actual > limit {
            return Err(exceeded(code, limit, what));
        }
    }
    Ok(())
}

/// Checks the number of fields that run; those of lists count once for each item.
pub(super) fn check_complexity(fields: usize, limits: &Limits) -> Result<(), ServerError> {
    if fields > limits.max_complexity {
        let what = "fields, counted for each item of a list";
        return Err(exceeded(ErrorCode::OperationTooComplex, limits.max_complexity, what));
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Size {
    /// Nested fields, introspection aside.
    depth: usize,
    /// Nested lists of introspection.
    introspection_depth: usize,
    /// Fields of introspection.
    introspected: usize,
    aliases: usize,
}

impl Size {
    fn measure(selected: &Selected) -> Self {
        let mut size = Self::default();
        let mut add = |fields: &[PlannedField]| {
            for field in fields {
                let field = Self::measure_field(field);
                size.depth = size.depth.max(field.depth);
                size.introspection_depth = size.introspection_depth.max(field.introspection_depth);
                size.introspected += field.introspected;
                size.aliases += field.aliases;
            }
        };
        match selected {
            Selected::Leaf => {}
            Selected::Object(fields) => add(fields),
            Selected::Abstract(types) => types.iter().for_each(|(_, fields)| add(fields)),
        }
        size
    }

    fn measure_field(field: &PlannedField) -> Self {
        let children = Self::measure(&field.selected);
        let aliases = children.aliases + usize::from(field.has_alias());
        if field.is_introspection {
            let list = usize::from(INTROSPECTION_LISTS.contains(&field.name.as_str()));
            let introspection_depth = children.introspection_depth + list;
            return Self {
                introspection_depth,
                introspected: children.introspected + 1,
                aliases,
                ..children
            };
        }
        Self { depth: children.depth + 1, aliases, ..children }
    }
}
