//! Limits on the fields of a plan: depth, number, aliases, introspection.

use async_graphql::{ServerError, Value, Variables, value};

use super::limits::exceeded;
use super::multiplier::{Multiplier, measure_longest_list};
use super::plan::{Plan, PlannedField, Selected};
use super::type_system::TypeSystem;
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Limit on the fields below lists of introspection, fragments expanded: each is resolved for every type, or even for
/// every field of every type. The queries of tools have some 120.
const MAX_INTROSPECTION_FIELDS: usize = 500;
/// Nested lists of introspection. The queries of tools nest three (types, their fields, the arguments of these).
const MAX_INTROSPECTION_DEPTH: usize = 3;
/// Fields of introspection that are lists; each level of them multiplies the answer by the size of the schema.
const INTROSPECTION_LISTS: [&str; 8] =
    ["args", "directives", "enumValues", "fields", "inputFields", "interfaces", "possibleTypes", "types"];
/// Wrappers of the most wrapped type in the schema: `[Todo!]!` is a non-null list of non-null. Below them `ofType` is null,
/// so the fields in it never run.
const MAX_WRAPPERS: usize = 3;

/// Checks the limits that do not depend on arguments.
pub(super) fn check_plan(plan: &Plan, limits: &Limits, introspection: bool) -> Result<(), ServerError> {
    use ErrorCode as Code;

    let root = plan.root();
    let is_introspection = |field: &PlannedField| field.name == "__schema" || field.name == "__type";
    if !introspection && root.iter().any(is_introspection) {
        let message = "Introspection is disabled.";
        return Err(wire_error(Code::IntrospectionDisabled, message));
    }
    let size = Size::measure(&plan.selection, Ancestors::default());
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

/// Cost of an operation: the number of fields that run, those of a list counted for each of its items.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    requested: usize,
    limit: usize,
}

impl Cost {
    /// Measures an operation.
    pub(super) fn measure(types: &TypeSystem, plan: &Plan, variables: &Variables, limits: &Limits) -> Self {
        let requested = FieldCounter { types, variables }.count(&plan.selection, 1);
        Self { requested, limit: limits.max_complexity }
    }

    /// Fails if the cost exceeds its limit.
    pub(super) fn check(self) -> Result<(), ServerError> {
        let what = "fields, counted for each item of a list";
        let fits = self.requested <= self.limit;
        if fits { Ok(()) } else { Err(exceeded(ErrorCode::OperationTooComplex, self.limit, what)) }
    }

    /// Returns the value of `extensions.cost` in a response.
    pub fn to_value(self) -> Value {
        value!({ "requested": self.requested, "limit": self.limit })
    }
}

/// Counter of the fields that run.
struct FieldCounter<'a> {
    types: &'a TypeSystem,
    variables: &'a Variables,
}

impl FieldCounter<'_> {
    /// Counts selected fields; `parent_items` is the number of items of the connection or payload.
    fn count(&self, selected: &Selected, parent_items: usize) -> usize {
        let sum = |fields: &[PlannedField]| {
            let counts = fields.iter().map(|field| self.count_field(field, parent_items));
            counts.fold(0, usize::saturating_add)
        };
        match selected {
            Selected::Leaf => 0,
            Selected::Object(fields) => sum(fields),
            Selected::Abstract(types) => types.iter().map(|(_, fields)| sum(fields)).max().unwrap_or(0),
        }
    }

    fn count_field(&self, field: &PlannedField, parent_items: usize) -> usize {
        let arguments = || field.arguments(self.types, self.variables);
        let (times, parent_items) = match &field.multiplier {
            Multiplier::Once => (1, 1),
            Multiplier::PerItem(size) => (size.count_items(&arguments()), 1),
            Multiplier::PerEdge(size) => (1, size.count_items(&arguments())),
            Multiplier::PerArgument => (1, measure_longest_list(&arguments())),
            Multiplier::PerArgumentItem => (measure_longest_list(&arguments()), 1),
            Multiplier::PerParentItem => (parent_items, 1),
        };
        self.count(&field.selected, parent_items).saturating_mul(times).saturating_add(1)
    }
}

#[derive(Clone, Copy, Default)]
struct Size {
    /// Nested fields, introspection aside.
    depth: usize,
    /// Nested lists of introspection.
    introspection_depth: usize,
    /// Fields of introspection that run for each item of a list.
    introspected: usize,
    aliases: usize,
}

/// Ancestors of a field of introspection.
#[derive(Clone, Copy, Default)]
struct Ancestors {
    /// True below a list of introspection.
    in_list: bool,
    /// Number of `ofType` directly above.
    wrappers: usize,
}

impl Ancestors {
    /// Returns the ancestors of the fields below `field`.
    fn append(self, field: &PlannedField) -> Self {
        Self {
            in_list: self.in_list || is_introspection_list(field),
            wrappers: if field.name == "ofType" { self.wrappers + 1 } else { 0 },
        }
    }
}

fn is_introspection_list(field: &PlannedField) -> bool {
    INTROSPECTION_LISTS.contains(&field.name.as_str())
}

impl Size {
    fn measure(selected: &Selected, ancestors: Ancestors) -> Self {
        match selected {
            Selected::Leaf => Self::default(),
            Selected::Object(fields) => Self::measure_fields(fields, ancestors),
            // An object has only one of the types, so the largest of them counts.
            Selected::Abstract(types) => {
                let sizes = types.iter().map(|(_, fields)| Self::measure_fields(fields, ancestors));
                sizes.fold(Self::default(), |size, other| Self {
                    depth: size.depth.max(other.depth),
                    introspection_depth: size.introspection_depth.max(other.introspection_depth),
                    introspected: size.introspected.max(other.introspected),
                    aliases: size.aliases.max(other.aliases),
                })
            }
        }
    }

    fn measure_fields(fields: &[PlannedField], ancestors: Ancestors) -> Self {
        let sizes = fields.iter().map(|field| Self::measure_field(field, ancestors));
        sizes.fold(Self::default(), |size, field| Self {
            depth: size.depth.max(field.depth),
            introspection_depth: size.introspection_depth.max(field.introspection_depth),
            introspected: size.introspected + field.introspected,
            aliases: size.aliases + field.aliases,
        })
    }

    fn measure_field(field: &PlannedField, ancestors: Ancestors) -> Self {
        let children = Self::measure(&field.selected, ancestors.append(field));
        let aliases = children.aliases + usize::from(field.has_alias());
        if field.is_introspection {
            let list = usize::from(is_introspection_list(field));
            let counted = usize::from(ancestors.in_list && ancestors.wrappers <= MAX_WRAPPERS);
            return Self {
                introspection_depth: children.introspection_depth + list,
                introspected: children.introspected + counted,
                aliases,
                ..children
            };
        }
        Self { depth: children.depth + 1, aliases, ..children }
    }
}
