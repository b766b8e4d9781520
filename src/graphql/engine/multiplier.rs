//! Multipliers of cost: the number of times that the fields below a field run.

use apollo_compiler::Name as SchemaName;
use apollo_compiler::ast::Value as Literal;
use apollo_compiler::executable::Field;
use async_graphql::{Name, Value};

use super::type_system::TypeSystem;

/// Items of a page when the request does not say how many.
const DEFAULT_PAGE: usize = 20;
/// Largest page of any list.
const MAX_PAGE: usize = 100;

/// Number of times that the children of a field run, derived from the field's arguments.
pub(super) enum Multiplier {
    Once,
    /// Once for each item of a list.
    PerItem(PageSize),
    /// Once, but its edges and nodes for each item.
    PerEdge(PageSize),
    /// Once, but its lists for each item of the longest list in its arguments.
    PerArgument,
    /// Once for each item of the longest list in its arguments.
    PerArgumentItem,
    /// Once for each item of the connection or payload that the field belongs to.
    PerParentItem,
}

/// Number of items of a list or connection.
pub(super) struct PageSize {
    default: usize,
}

impl Multiplier {
    pub(super) fn new(types: &TypeSystem, parent: &SchemaName, field: &Field) -> Self {
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
            return if ty.ends_with("Connection") { Self::PerEdge(size) } else { Self::PerItem(size) };
        }
        if !field.definition.ty.is_list() {
            return if ty.ends_with("Payload") { Self::PerArgument } else { Self::Once };
        }
        if parent.ends_with("Connection") || parent.ends_with("Payload") {
            return Self::PerParentItem;
        }
        if field.definition.arguments.iter().any(|argument| argument.ty.is_list()) {
            return Self::PerArgumentItem;
        }
        // Objects of scalars come with the row that they are part of.
        if types.has_only_scalars(ty) {
            Self::Once
        } else {
            Self::PerItem(PageSize { default: DEFAULT_PAGE })
        }
    }
}

impl PageSize {
    /// Returns the number of items that the arguments ask for, at most [`MAX_PAGE`].
    pub(super) fn count_items(&self, arguments: &[(Name, Value)]) -> usize {
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

/// Returns the length of the longest list in the arguments: the result has no more items than that.
pub(super) fn measure_longest_list(arguments: &[(Name, Value)]) -> usize {
    fn measure(value: &Value) -> usize {
        match value {
            Value::List(items) => items.iter().map(measure).max().unwrap_or(0).max(items.len()),
            Value::Object(fields) => fields.values().map(measure).max().unwrap_or(0),
            _ => 1,
        }
    }
    arguments.iter().map(|(_, value)| measure(value)).max().unwrap_or(DEFAULT_PAGE)
}
