//! Rules for values in documents that apollo-compiler 1.33 does not check (docs/graphql.md lists them).

use std::collections::HashSet;

use apollo_compiler::ast::{Argument, DirectiveList, InputValueDefinition, Type, Value, VariableDefinition};
use apollo_compiler::executable::{Selection, SelectionSet};
use apollo_compiler::schema::InputObjectType;
use apollo_compiler::{Name, Node};
use async_graphql::{Pos, ServerError};

use super::document::ValidDocument;
use super::type_system::TypeSystem;
use super::variables;
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::{coded, request_error};
use crate::graphql::scalars;

/// Checks input object fields (5.6.3), variables inside lists and input objects (5.8.5), and literals of custom scalars.
pub(super) fn check(types: &TypeSystem, document: &ValidDocument) -> Vec<ServerError> {
    let mut errors = Vec::new();
    let mut problems = Vec::new();
    for operation in document.executable.operations.iter() {
        let mut walk = Walk {
            types,
            document,
            variables: &operation.variables,
            fragments: HashSet::new(),
            path: Vec::new(),
            errors: Vec::new(),
            problems: Vec::new(),
        };
        for variable in &operation.variables {
            walk.check_directives(&variable.directives);
            if let Some(default) = &variable.default_value {
                walk.path = variables::find_first_use(&document.executable, operation, &variable.name);
                walk.check_value(default, &variable.ty, false);
                walk.path.clear();
            }
        }
        walk.check_directives(&operation.directives);
        walk.check_selections(&operation.selection_set);
        errors.extend(walk.errors);
        problems.extend(walk.problems);
    }
    if !problems.is_empty() {
        let (positions, problems) = problems.into_iter().unzip();
        let error = request_error(AppError::BadUserInput(problems));
        errors.push(ServerError { locations: positions, ..error });
    }
    errors
}

struct Walk<'a> {
    types: &'a TypeSystem,
    document: &'a ValidDocument,
    variables: &'a [Node<VariableDefinition>],
    /// Fragments that have been walked for this operation.
    fragments: HashSet<&'a str>,
    path: Vec<String>,
    errors: Vec<ServerError>,
    problems: Vec<(Pos, FieldProblem)>,
}

impl<'a> Walk<'a> {
    fn descend(&mut self, part: &str, inner: impl FnOnce(&mut Self)) {
        self.path.push(part.to_owned());
        inner(self);
        self.path.pop();
    }

    fn check_selections(&mut self, set: &'a SelectionSet) {
        for selection in &set.selections {
            self.check_directives(selection.directives());
            match selection {
                Selection::Field(field) => self.descend(field.response_key(), |walk| {
                    walk.check_arguments(&field.arguments, &field.definition.arguments);
                    walk.check_selections(&field.selection_set);
                }),
                Selection::InlineFragment(inline) => self.check_selections(&inline.selection_set),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.executable.fragments.get(&spread.fragment_name)
                        && self.fragments.insert(&spread.fragment_name)
                    {
                        self.check_directives(&fragment.directives);
                        self.check_selections(&fragment.selection_set);
                    }
                }
            }
        }
    }

    fn check_directives(&mut self, directives: &'a DirectiveList) {
        for directive in directives {
            if let Some(definition) = self.types.schema().directive_definitions.get(&directive.name) {
                self.check_arguments(&directive.arguments, &definition.arguments);
            }
        }
    }

    fn check_arguments(&mut self, given: &'a [Node<Argument>], definitions: &[Node<InputValueDefinition>]) {
        for argument in given {
            if let Some(definition) = definitions.iter().find(|definition| definition.name == argument.name) {
                let has_default = definition.default_value.is_some();
                self.descend(&argument.name, |walk| {
                    walk.check_value(&argument.value, &definition.ty, has_default);
                });
            }
        }
    }

    fn check_value(&mut self, value: &'a Node<Value>, ty: &Type, has_default: bool) {
        match &**value {
            Value::Variable(name) => self.check_variable(value, name, ty, has_default),
            Value::List(items) if ty.is_list() => {
                for (index, item) in items.iter().enumerate() {
                    self.descend(&index.to_string(), |walk| walk.check_value(item, ty.item_type(), false));
                }
            }
            Value::Object(fields) => match self.types.input_object(ty) {
                Some(definition) => self.check_object(fields, definition),
                None => self.check_scalar(value, ty),
            },
            Value::Null => {}
            _ => self.check_scalar(value, ty),
        }
    }

    fn check_object(&mut self, fields: &'a [(Name, Node<Value>)], definition: &InputObjectType) {
        let mut seen = HashSet::new();
        for (name, field) in fields {
            if !seen.insert(name.as_str()) {
                self.add_error(field, format!("There can be only one input field named \"{name}\"."));
            }
            if let Some(definition) = definition.fields.get(name) {
                let has_default = definition.default_value.is_some();
                self.descend(name, |walk| walk.check_value(field, &definition.ty, has_default));
            }
        }
    }

    fn check_scalar(&mut self, value: &Node<Value>, ty: &Type) {
        let text = if let Value::String(text) = &**value { Some(text.as_str()) } else { None };
        if let Err(message) = scalars::check(ty.inner_named_type(), text) {
            let path = self.path.iter().cloned().map(Into::into).collect();
            let problem = FieldProblem { path, problem: Problem { code: "INVALID", message } };
            self.problems.push((self.document.lines.position(value.location()), problem));
        }
    }

    /// Checks `IsVariableUsageAllowed` (5.8.5).
    fn check_variable(&mut self, value: &Node<Value>, name: &str, ty: &Type, has_default: bool) {
        let Some(definition) = self.variables.iter().find(|definition| definition.name == name) else {
            return;
        };
        let non_null_default = definition.default_value.as_ref().is_some_and(|default| !default.is_null());
        let allowed = if ty.is_non_null() && !definition.ty.is_non_null() {
            (non_null_default || has_default) && definition.ty.is_assignable_to(&ty.clone().nullable())
        } else {
            definition.ty.is_assignable_to(ty)
        };
        if !allowed {
            let declared = &definition.ty;
            let message = format!(
                "Variable \"${name}\" of type \"{declared}\" cannot be used where \"{ty}\" is expected."
            );
            self.add_error(value, message);
        }
    }

    fn add_error(&mut self, value: &Node<Value>, message: String) {
        let position = self.document.lines.position(value.location());
        self.errors
            .push(coded(ServerError::new(message, Some(position)), ErrorCode::GraphqlValidationFailed));
    }
}
