use std::collections::HashSet;

use apollo_compiler::ast::{DirectiveList, Type, Value as Literal};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::executable::{Field, Operation, Selection, SelectionSet};
use apollo_compiler::{Name as SchemaName, Node};
use async_graphql::{Name, ServerError, Value, Variables};

use super::convert;
use super::document::ValidDocument;
use super::limits::exceeded;
use super::multiplier::Multiplier;
use super::overlaps::have_same_arguments;
use super::plan::{
    ArgumentValue, Plan, PlannedArgument, PlannedField, Selected, null_not_allowed, operation_type,
};
use super::type_system::TypeSystem;
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Selections of one field under one response key at one place. Fragments of a client overlap now and then; comparing
/// the arguments of many would be slow.
const MAX_DUPLICATE_FIELDS: usize = 10;

/// Builds the plan of an operation by collecting its fields (6.3.2).
pub(super) struct Planner<'a> {
    types: &'a TypeSystem,
    document: &'a ValidDocument,
    operation: &'a Operation,
    conditions: Conditions<'a>,
    limits: &'a Limits,
    /// Number of visited selections; those of a fragment count wherever it is spread.
    visited: usize,
    size: usize,
    /// Variables of the `@skip` and `@include` met so far, with their values.
    condition_values: Vec<(Name, bool)>,
    never_null: Vec<(Name, Vec<String>)>,
    /// Path to the argument that is being planned.
    path: Vec<String>,
}

/// Inputs to the decision of `@skip` and `@include`.
#[derive(Clone, Copy)]
pub(super) enum Conditions<'a> {
    /// Coerced variables.
    Variables(&'a Variables),
    /// Includes every selection, as validation must.
    Ignored,
}

/// Occurrences of one field by response key, in the order of the specification.
type Groups<'a> = IndexMap<&'a SchemaName, Vec<&'a Node<Field>>>;

impl<'a> Planner<'a> {
    pub(super) fn new(
        types: &'a TypeSystem,
        document: &'a ValidDocument,
        operation: &'a Operation,
        conditions: Conditions<'a>,
        limits: &'a Limits,
    ) -> Self {
        Self {
            types,
            document,
            operation,
            conditions,
            limits,
            visited: 0,
            size: 0,
            condition_values: Vec::new(),
            never_null: Vec::new(),
            path: Vec::new(),
        }
    }

    pub(super) fn plan(mut self) -> Result<Plan, ServerError> {
        let set = &self.operation.selection_set;
        let selection = Selected::Object(self.plan_object(&set.ty, &[set])?);
        Ok(Plan {
            kind: operation_type(self.operation.operation_type),
            name: self.operation.name.as_deref().map(Name::new),
            selection,
            never_null: self.never_null,
            condition_values: self.condition_values,
            size: self.size,
        })
    }

    /// Plans the fields of an object from all selection sets that apply to it.
    fn plan_object(
        &mut self,
        ty: &SchemaName,
        sets: &[&'a SelectionSet],
    ) -> Result<Vec<PlannedField>, ServerError> {
        let mut groups = Groups::default();
        let mut fragments = HashSet::new();
        for set in sets {
            self.collect(ty, set, &mut fragments, &mut groups)?;
        }
        groups.into_iter().map(|(key, fields)| self.plan_field(ty, key, &fields)).collect()
    }

    fn collect(
        &mut self,
        ty: &SchemaName,
        set: &'a SelectionSet,
        fragments: &mut HashSet<&'a str>,
        groups: &mut Groups<'a>,
    ) -> Result<(), ServerError> {
        for selection in &set.selections {
            self.visited += 1;
            if self.is_limited() && self.visited > self.limits.max_complexity {
                return Err(exceeded(
                    ErrorCode::OperationTooComplex,
                    self.limits.max_complexity,
                    "fields and fragments",
                ));
            }
            if !self.includes(selection.directives())? {
                continue;
            }
            match selection {
                Selection::Field(field) => {
                    let group = groups.entry(field.response_key()).or_default();
                    let conflict =
                        group.first().is_some_and(|first: &&Node<Field>| !have_same_arguments(first, field));
                    group.push(field);
                    if conflict {
                        return Err(self.conflict(field));
                    }
                    if self.is_limited() && group.len() > MAX_DUPLICATE_FIELDS {
                        return Err(exceeded(
                            ErrorCode::TooManyDuplicateFields,
                            MAX_DUPLICATE_FIELDS,
                            "repetitions of one field",
                        ));
                    }
                }
                Selection::InlineFragment(inline) => {
                    if inline
                        .type_condition
                        .as_ref()
                        .is_none_or(|condition| self.types.is_applicable(condition, ty))
                    {
                        self.collect(ty, &inline.selection_set, fragments, groups)?;
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.executable.fragments.get(&spread.fragment_name);
                    if let Some(fragment) = fragment
                        && fragments.insert(&spread.fragment_name)
                        && self.types.is_applicable(fragment.type_condition(), ty)
                    {
                        self.collect(ty, &fragment.selection_set, fragments, groups)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns true if the plan will be executed; limits apply to no other.
    fn is_limited(&self) -> bool {
        matches!(self.conditions, Conditions::Variables(_))
    }

    /// Returns false if `@skip` or `@include` excludes a selection.
    fn includes(&mut self, directives: &DirectiveList) -> Result<bool, ServerError> {
        let Conditions::Variables(variables) = self.conditions else { return Ok(true) };
        for (name, included) in [("skip", false), ("include", true)] {
            let condition =
                directives.get(name).and_then(|directive| directive.specified_argument_by_name("if"));
            let condition = match condition.map(|condition| &**condition) {
                Some(Literal::Boolean(value)) => *value,
                Some(Literal::Variable(variable)) => {
                    let Some(Value::Boolean(value)) = variables.get(variable.as_str()) else {
                        return Err(null_not_allowed(vec![vec![variable.to_string()]]));
                    };
                    self.note_condition(variable, *value);
                    *value
                }
                _ => continue,
            };
            if condition != included {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn note_condition(&mut self, variable: &SchemaName, value: bool) {
        if !self.condition_values.iter().any(|(known, _)| known == variable.as_str()) {
            self.condition_values.push((Name::new(variable), value));
        }
    }

    fn plan_field(
        &mut self,
        parent: &SchemaName,
        key: &SchemaName,
        fields: &[&'a Node<Field>],
    ) -> Result<PlannedField, ServerError> {
        let Some(first) = fields.first() else {
            return Err(wire_error(
                ErrorCode::InternalServerError,
                "A field was planned without occurrences.",
            ));
        };
        self.size += 1;
        self.path.push(key.to_string());
        let arguments = self.plan_arguments(first);
        let sets: Vec<_> = fields.iter().map(|field| &field.selection_set).collect();
        let selected = self.plan_selected(first.definition.ty.inner_named_type(), &sets)?;
        self.path.pop();
        Ok(PlannedField {
            response_key: Name::new(key),
            name: Name::new(&first.name),
            position: self.document.lines.position(first.location()),
            definition: first.definition.clone(),
            arguments,
            multiplier: Multiplier::new(self.types, parent, first),
            is_introspection: parent.starts_with("__")
                || matches!(first.name.as_str(), "__schema" | "__type"),
            selected,
        })
    }

    fn plan_selected(&mut self, ty: &SchemaName, sets: &[&'a SelectionSet]) -> Result<Selected, ServerError> {
        if let Some(possible) = self.types.possible_types(ty) {
            let types = possible.iter().map(|ty| Ok((Name::new(ty), self.plan_object(ty, sets)?)));
            return Ok(Selected::Abstract(types.collect::<Result<_, ServerError>>()?));
        }
        Ok(if self.types.is_composite(ty) {
            Selected::Object(self.plan_object(ty, sets)?)
        } else {
            Selected::Leaf
        })
    }

    fn plan_arguments(&mut self, field: &'a Field) -> Vec<PlannedArgument> {
        let arguments = field.arguments.iter().filter_map(|argument| {
            let definition = field.definition.argument_by_name(&argument.name)?;
            self.path.push(argument.name.to_string());
            self.find_never_null(&argument.value, &definition.ty);
            self.path.pop();
            let value = if convert::has_variables(&argument.value) {
                ArgumentValue::Template { value: argument.value.clone(), ty: definition.ty.clone() }
            } else {
                let none = Variables::default();
                let value = convert::convert_value(self.types, &argument.value, &definition.ty, &none);
                ArgumentValue::Constant(value.unwrap_or_default())
            };
            Some(PlannedArgument { name: Name::new(&argument.name), value })
        });
        arguments.collect()
    }

    /// Records nullable variables in non-null positions.
    fn find_never_null(&mut self, value: &'a Literal, ty: &Type) {
        match value {
            Literal::Variable(name) if ty.is_non_null() => {
                let mut definitions = self.operation.variables.iter();
                if definitions.any(|definition| definition.name == *name && !definition.ty.is_non_null()) {
                    self.never_null.push((Name::new(name), self.path.clone()));
                }
            }
            Literal::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(index.to_string());
                    self.find_never_null(item, ty.item_type());
                    self.path.pop();
                }
            }
            Literal::Object(fields) => {
                let types = self.types;
                let Some(definition) = types.input_object(ty) else { return };
                for (name, field) in fields {
                    if let Some(definition) = definition.fields.get(name) {
                        self.path.push(name.to_string());
                        self.find_never_null(field, &definition.ty);
                        self.path.pop();
                    }
                }
            }
            _ => {}
        }
    }

    fn conflict(&self, field: &Node<Field>) -> ServerError {
        let message =
            format!("Fields \"{}\" conflict because they have different arguments.", field.response_key());
        let mut error = wire_error(ErrorCode::GraphqlValidationFailed, message);
        error.locations = vec![self.document.lines.position(field.location())];
        error
    }
}
