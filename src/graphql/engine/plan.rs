//! Plans: the fields that an operation runs, in the order of the specification (6.3.2), without fragments, directives
//! or repeated keys.

use apollo_compiler::Node;
use apollo_compiler::ast::{FieldDefinition, OperationType as Kind};
use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Pos, Value, Variables};

use super::complexity::Page;

/// The fields that an operation runs.
pub(super) struct Plan {
    pub(super) kind: OperationType,
    /// Name of the operation in the document.
    pub(super) name: Option<Name>,
    pub(super) selection: Selected,
    /// Variables that may be null and stand where null is not allowed, because they or the place have a default.
    pub(super) never_null: Vec<(Name, Vec<String>)>,
    /// False if `@skip` or `@include` depend on variables, so that the next request may need another plan.
    pub(super) reusable: bool,
    /// Number of fields.
    pub(super) size: usize,
}

/// Fields that are selected of a value.
pub(super) enum Selected {
    /// No fields: the value is a scalar or an enum.
    Leaf,
    /// Fields of an object; none if all are skipped.
    Object(Vec<PlannedField>),
    /// Fields of an interface or union, for each object type that it stands for.
    Abstract(Vec<(Name, Vec<PlannedField>)>),
}

/// A field with the selections of all its occurrences merged.
pub(super) struct PlannedField {
    /// Key in the response.
    pub(super) key: Name,
    pub(super) name: Name,
    /// Position of the first occurrence.
    pub(super) position: Pos,
    pub(super) definition: Node<FieldDefinition>,
    pub(super) arguments: Vec<PlannedArgument>,
    pub(super) page: Page,
    /// True below `__schema` and `__type`, and for the two themselves.
    pub(super) is_introspection: bool,
    pub(super) selected: Selected,
}

/// An argument of a field.
pub(super) struct PlannedArgument {
    pub(super) name: Name,
    pub(super) value: ArgumentValue,
}

/// The value of an argument.
pub(super) enum ArgumentValue {
    Constant(Value),
    /// Depends on variables.
    Template {
        value: Node<apollo_compiler::ast::Value>,
        ty: Node<apollo_compiler::ast::Type>,
    },
}

impl PlannedField {
    pub(super) fn has_alias(&self) -> bool {
        self.key != self.name
    }
}

impl Plan {
    /// Returns the paths where a null variable stands although null is not allowed there.
    pub(super) fn forbidden_nulls<'a>(
        &'a self,
        variables: &'a Variables,
    ) -> impl Iterator<Item = &'a [String]> {
        let null = |(name, _): &&(Name, Vec<String>)| variables.get(name.as_str()) == Some(&Value::Null);
        self.never_null.iter().filter(null).map(|(_, path)| path.as_slice())
    }
}

pub(super) fn operation_type(kind: Kind) -> OperationType {
    match kind {
        Kind::Query => OperationType::Query,
        Kind::Mutation => OperationType::Mutation,
        Kind::Subscription => OperationType::Subscription,
    }
}
