//! Cost of a plan: counts what will run, with the page sizes that are asked for.

use apollo_compiler::Name as SchemaName;
use apollo_compiler::ast::Value as Literal;
use apollo_compiler::executable::Field;
use async_graphql::{Name, ServerError, Value};

use super::limits::exceeded;
use super::plan::{Plan, PlannedField, Selected};
use super::type_system::TypeSystem;
use crate::config::Limits;
use crate::error::ErrorCode;
use crate::graphql::errors::wire_error;

/// Items of a page when the request does not say how many.
const DEFAULT_PAGE: usize = 20;
/// The largest page of any list.
const MAX_PAGE: usize = 100;
/// Fields below `__schema` and `__type`, fragments in place. GraphiQL's and Apollo's introspection queries have some
/// 200; each field is resolved for every type, and for every field of it.
const MAX_INTROSPECTION_FIELDS: usize = 500;
/// Nested lists of introspection. The queries of tools nest three (types, their fields, the arguments of these).
const MAX_INTROSPECTION_DEPTH: usize = 3;
/// Fields of introspection that are lists; each level of them multiplies the answer by the size of the schema.
const INTROSPECTION_LISTS: [&str; 8] =
    ["args", "directives", "enumValues", "fields", "inputFields", "interfaces", "possibleTypes", "types"];

/// Number of times that the children of a field run.
pub(super) enum Page {
    Once,
    /// Once for each item of a list.
    List(PageSize),
    /// Once, but its edges and nodes for each item.
    Connection(PageSize),
    /// Once, but its lists for each item of the longest list in its arguments.
    Payload,
    /// Once for each item of the connection or payload that the field belongs to.
    OfParent,
}

/// Number of items of a list or connection.
pub(super) struct PageSize {
    default: usize,
}

impl Page {
    pub(super) fn of(types: &TypeSystem, parent: &SchemaName, field: &Field) -> Self {
        if parent.starts_with("__") || field.name.starts_with("__") {
            return Self::Once;
        }
        let ty = field.definition.ty.inner_named_type();
        if let Some(first) = field.definition.argument_by_name("first") {
            let default = first.default_value.as_ref().and_then(|default| match &**default {
                Literal::Int(int) => int.as_str().parse().ok(),
                _ => None,
            });
            let size = PageSize { default: default.unwrap_or(DEFAULT_PAGE) };
            return if ty.ends_with("Connection") { Self::Connection(size) } else { Self::List(size) };
        }
        if !field.definition.ty.is_list() {
            return if ty.ends_with("Payload") { Self::Payload } else { Self::Once };
        }
        if parent.ends_with("Connection") || parent.ends_with("Payload") {
            return Self::OfParent;
        }
        // Objects of scalars come with the row that they are part of.
        if types.has_only_scalars(ty) { Self::Once } else { Self::List(PageSize { default: DEFAULT_PAGE }) }
    }
}

impl PageSize {
    /// Returns how many items the arguments ask for.
    pub(super) fn items(&self, arguments: &[(Name, Value)]) -> usize {
        let sizes = arguments.iter().filter(|(name, _)| name == "first" || name == "last");
        let sizes = sizes.filter_map(|(_, value)| match value {
            Value::Null => None,
            Value::Number(number) => {
                let size = number.as_u64().and_then(|size| usize::try_from(size).ok());
                Some(size.unwrap_or(MAX_PAGE).min(MAX_PAGE))
            }
            _ => Some(MAX_PAGE),
        });
        sizes.max().unwrap_or(self.default)
    }
}

/// Returns the length of the longest list in the arguments of a mutation: it returns no more items.
pub(super) fn longest_list(arguments: &[(Name, Value)]) -> usize {
    fn longest(value: &Value) -> usize {
        match value {
            Value::List(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len()),
            Value::Object(fields) => fields.values().map(longest).max().unwrap_or(0),
            _ => 1,
        }
    }
    arguments.iter().map(|(_, value)| longest(value)).max().unwrap_or(DEFAULT_PAGE)
}

/// Checks limits that do not depend on the arguments.
pub(super) fn check(plan: &Plan, limits: &Limits, introspection: bool) -> Result<(), ServerError> {
    use ErrorCode as Code;

    let root = if let Selected::Object(fields) = &plan.selection { fields.as_slice() } else { &[] };
    let is_introspection = |field: &PlannedField| field.name == "__schema" || field.name == "__type";
    if !introspection && root.iter().any(is_introspection) {
        let message = "This service does not describe its schema.";
        return Err(wire_error(Code::IntrospectionDisabled, message));
    }
    let size = Size::of(&plan.selection);
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

/// Checks the number of fields that run, those of lists once for each item.
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
    fn of(selected: &Selected) -> Self {
        let mut size = Self::default();
        let mut add = |fields: &[PlannedField]| {
            for field in fields {
                let field = Self::of_field(field);
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

    fn of_field(field: &PlannedField) -> Self {
        let children = Self::of(&field.selected);
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
