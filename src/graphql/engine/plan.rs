//! Plans: the fields that an operation runs, in the order of the specification (6.3.2), without fragments, directives
//! or repeated keys.

use apollo_compiler::Node;
use apollo_compiler::ast::{FieldDefinition, OperationType as Kind};
use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Pos, ServerError, Value, Variables};

use super::convert;
use super::multiplier::Multiplier;
use super::type_system::TypeSystem;
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::graphql::errors::request_error;

/// The fields that an operation runs.
pub(super) struct Plan {
    pub(super) kind: OperationType,
    /// Name of the operation in the document.
    pub(super) name: Option<Name>,
    pub(super) selection: Selected,
    /// Paths to nullable variables in non-null positions, which are valid because the variable or the position has a
    /// default (5.8.5).
    pub(super) never_null: Vec<(Name, Vec<String>)>,
    /// Variables of `@skip` and `@include`, with the values that this plan is for.
    pub(super) condition_values: Vec<(Name, bool)>,
    /// Number of fields.
    pub(super) size: usize,
}

/// Fields that are selected of a value.
pub(super) enum Selected {
    /// No fields: the value is a scalar or an enum.
    Leaf,
    /// Fields of an object; empty if all are skipped.
    Object(Vec<PlannedField>),
    /// Fields of an interface or union, for each of its possible object types.
    Abstract(Vec<(Name, Vec<PlannedField>)>),
}

/// A field with the selections of all its occurrences merged.
pub(in crate::graphql) struct PlannedField {
    /// Key in the response.
    pub(in crate::graphql) response_key: Name,
    pub(in crate::graphql) name: Name,
    /// Position of the first occurrence.
    pub(in crate::graphql) position: Pos,
    pub(super) definition: Node<FieldDefinition>,
    pub(super) arguments: Vec<PlannedArgument>,
    pub(super) multiplier: Multiplier,
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

/// Arguments of a field with their coerced values; those without a value are absent.
pub(in crate::graphql) type Arguments = Vec<(Name, Value)>;

impl PlannedField {
    /// Returns the fields selected on an object; `None` if the field is no object.
    pub(in crate::graphql) fn selected_fields(&self) -> Option<&[Self]> {
        if let Selected::Object(fields) = &self.selected { Some(fields) } else { None }
    }

    /// Returns the arguments, with variables filled in.
    pub(super) fn arguments(&self, types: &TypeSystem, variables: &Variables) -> Arguments {
        let arguments = self.arguments.iter().filter_map(|argument| {
            let value = match &argument.value {
                ArgumentValue::Constant(value) => value.clone(),
                ArgumentValue::Template { value, ty } => convert::convert_value(types, value, ty, variables)?,
            };
            Some((argument.name.clone(), value))
        });
        arguments.collect()
    }

    pub(super) fn has_alias(&self) -> bool {
        self.response_key != self.name
    }
}

impl Plan {
    /// Returns the fields of the operation itself.
    pub(super) fn root(&self) -> &[PlannedField] {
        if let Selected::Object(fields) = &self.selection { fields } else { &[] }
    }

    /// Returns true if `@skip` and `@include` have the same outcomes for these variables.
    pub(super) fn applies_to(&self, variables: &Variables) -> bool {
        let same = |(name, value): &(Name, bool)| variables.get(name) == Some(&Value::Boolean(*value));
        self.condition_values.iter().all(same)
    }

    /// Fails if a variable in a non-null position is null.
    pub(super) fn check_nulls(&self, variables: &Variables) -> Result<(), ServerError> {
        let null = |(name, _): &&(Name, Vec<String>)| variables.get(name.as_str()) == Some(&Value::Null);
        let paths: Vec<_> = self.never_null.iter().filter(null).map(|(_, path)| path.clone()).collect();
        if paths.is_empty() { Ok(()) } else { Err(null_not_allowed(paths)) }
    }
}

/// Returns the error for null in non-null positions.
pub(super) fn null_not_allowed(paths: Vec<Vec<String>>) -> ServerError {
    let problem = Problem { code: "REQUIRED", message: "This value is required.".into() };
    let problems = paths.into_iter().map(|path| {
        let path = path.into_iter().map(Into::into).collect();
        FieldProblem { path, problem: problem.clone() }
    });
    request_error(AppError::BadUserInput(problems.collect()))
}

pub(super) fn operation_type(kind: Kind) -> OperationType {
    match kind {
        Kind::Query => OperationType::Query,
        Kind::Mutation => OperationType::Mutation,
        Kind::Subscription => OperationType::Subscription,
    }
}
