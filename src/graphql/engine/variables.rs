//! Coercion of variables (6.1.2) before anything is executed.
//!
//! apollo-compiler has its own coercion, but that reports only the first problem, without a path, and does not coerce
//! defaults.

use std::collections::HashSet;

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{ExecutableDocument, Operation, Selection, SelectionSet};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name as SchemaName, ast};
use async_graphql::{Name, Value, Variables};

use super::convert;
use super::type_system::TypeSystem;
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::graphql::scalars;

/// Largest number of problems reported for a request.
const MAX_PROBLEMS: usize = 100;

/// Coerces the variables of an operation; those without a value and a default are absent.
///
/// Fails with up to [`MAX_PROBLEMS`] problems, each with its path from the first field that uses the variable. Only with
/// `suggest` do they list values of enums.
pub(super) fn coerce(
    types: &TypeSystem,
    document: &ExecutableDocument,
    operation: &Operation,
    mut given: Variables,
    suggest: bool,
) -> Result<Variables, AppError> {
    let mut coerced = Variables::default();
    let mut problems = Vec::new();
    for definition in &operation.variables {
        let mut coercion = Coercion { types, suggest, path: Vec::new(), problems: Vec::new() };
        let value = if let Some(value) = given.remove(definition.name.as_str()) {
            Some(coercion.coerce_value(&definition.ty, value))
        } else if let Some(default) = &definition.default_value {
            convert::convert_value(types, default, &definition.ty, &Variables::default())
        } else {
            if definition.ty.is_non_null() {
                coercion.add_problem("REQUIRED", "This value is required.");
            }
            None
        };
        if !coercion.problems.is_empty() {
            let path = find_first_use(document, operation, &definition.name);
            problems.extend(coercion.problems.into_iter().map(|(inner, problem)| {
                let path = path.iter().cloned().chain(inner).map(Into::into).collect();
                FieldProblem { path, problem }
            }));
        }
        if let Some(value) = value {
            coerced.insert(Name::new(&definition.name), value);
        }
    }
    problems.truncate(MAX_PROBLEMS);
    if problems.is_empty() { Ok(coerced) } else { Err(AppError::BadUserInput(problems)) }
}

struct Coercion<'a> {
    types: &'a TypeSystem,
    suggest: bool,
    /// Path inside the variable.
    path: Vec<String>,
    problems: Vec<(Vec<String>, Problem)>,
}

impl Coercion<'_> {
    fn add_problem(&mut self, code: &'static str, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push((self.path.clone(), Problem { code, message: message.into() }));
        }
    }

    fn descend(&mut self, part: String, inner: impl FnOnce(&mut Self) -> Value) -> Value {
        self.path.push(part);
        let value = inner(self);
        self.path.pop();
        value
    }

    /// Coerces a value from JSON, and reports its problems.
    fn coerce_value(&mut self, ty: &Type, value: Value) -> Value {
        match (ty, value) {
            (Type::Named(_) | Type::List(_), Value::Null) => Value::Null,
            (_, Value::Null) => {
                self.add_problem("REQUIRED", "This value is required.");
                Value::Null
            }
            (Type::List(item) | Type::NonNullList(item), Value::List(values)) => {
                let values = values.into_iter().enumerate();
                Value::List(
                    values
                        .map(|(index, value)| {
                            self.descend(index.to_string(), |it| it.coerce_value(item, value))
                        })
                        .collect(),
                )
            }
            (Type::List(item) | Type::NonNullList(item), value) => {
                Value::List(vec![self.coerce_value(item, value)])
            }
            (Type::Named(name) | Type::NonNullNamed(name), value) => self.coerce_named(name, value),
        }
    }

    fn coerce_named(&mut self, name: &SchemaName, value: Value) -> Value {
        match self.types.schema().types.get(name) {
            Some(ExtendedType::InputObject(_)) => self.coerce_input_object(name, value),
            Some(ExtendedType::Enum(definition)) => match value {
                Value::String(text) if definition.values.contains_key(text.as_str()) => {
                    Value::Enum(Name::new(text))
                }
                value => {
                    let values: Vec<_> = definition.values.keys().map(SchemaName::as_str).collect();
                    let choice =
                        if self.suggest { values.join(", ") } else { format!("the values of {name}") };
                    self.add_problem("INVALID", format!("Choose one of {choice}."));
                    value
                }
            },
            _ => self.coerce_scalar(name, value),
        }
    }

    fn coerce_scalar(&mut self, name: &str, value: Value) -> Value {
        let expected = match (name, &value) {
            ("Int", Value::Number(number)) => match parse_int(number) {
                Some(int) => return Value::from(int),
                None => "Enter a whole number from -2147483648 to 2147483647.",
            },
            ("Int", _) => "Enter a whole number from -2147483648 to 2147483647.",
            ("ID", Value::Number(number)) if number.is_i64() || number.is_u64() => {
                return Value::String(number.to_string());
            }
            ("Float", Value::Number(_))
            | ("String" | "ID", Value::String(_))
            | ("Boolean", Value::Boolean(_)) => return value,
            ("Float", _) => "Enter a number.",
            ("String", _) => "Enter text.",
            ("ID", _) => "Enter an identifier.",
            ("Boolean", _) => "Enter true or false.",
            _ => {
                let text = if let Value::String(text) = &value { Some(text.as_str()) } else { None };
                if let Err(message) = scalars::check(name, text) {
                    self.add_problem("INVALID", message);
                }
                return value;
            }
        };
        self.add_problem("INVALID", expected);
        value
    }

    fn coerce_input_object(&mut self, name: &SchemaName, value: Value) -> Value {
        let Some(definition) = self.types.schema().get_input_object(name) else { return value };
        let Value::Object(mut given) = value else {
            self.add_problem("INVALID", format!("Send an object of type {name}."));
            return value;
        };
        for field in definition.fields.values() {
            if let Some(value) = given.get_mut(field.name.as_str()) {
                let given = std::mem::take(value);
                *value = self.descend(field.name.to_string(), |it| it.coerce_value(&field.ty, given));
            } else if field.is_required() {
                self.descend(field.name.to_string(), |it| {
                    it.add_problem("REQUIRED", "This value is required.");
                    Value::Null
                });
            }
        }
        let unknown = given.keys().filter(|key| !definition.fields.contains_key(key.as_str()));
        for key in unknown.cloned().collect::<Vec<_>>() {
            self.descend(key.to_string(), |it| {
                it.add_problem("INVALID", format!("{name} has no field of this name."));
                Value::Null
            });
        }
        Value::Object(given)
    }
}

/// Reads a 32-bit integer, also from 1.0: JSON has one type of numbers, and some clients write all with a fraction.
fn parse_int(number: &async_graphql::Number) -> Option<i32> {
    let whole = number.as_f64().filter(|float| float.fract() == 0.0);
    #[expect(clippy::cast_possible_truncation, reason = "a float out of range becomes one that i32 refuses")]
    number.as_i64().or(whole.map(|float| float as i64)).and_then(|int| int.try_into().ok())
}

/// Returns the path to a variable's first use in an argument: response keys, the argument, input fields and indexes.
///
/// The path of a variable that only directives use is its name.
pub(super) fn find_first_use(
    document: &ExecutableDocument,
    operation: &Operation,
    variable: &str,
) -> Vec<String> {
    let mut search = Search { document, variable, fragments: HashSet::new(), path: Vec::new() };
    if search.search_selections(&operation.selection_set) { search.path } else { vec![variable.to_owned()] }
}

struct Search<'a> {
    document: &'a ExecutableDocument,
    variable: &'a str,
    fragments: HashSet<&'a str>,
    path: Vec<String>,
}

impl<'a> Search<'a> {
    /// Searches one level deeper. Returns true if the variable was found; `path` leads to it then.
    fn descend(&mut self, part: &str, inner: impl FnOnce(&mut Self) -> bool) -> bool {
        self.path.push(part.to_owned());
        let found = inner(self);
        if !found {
            self.path.pop();
        }
        found
    }

    fn search_selections(&mut self, set: &'a SelectionSet) -> bool {
        set.selections.iter().any(|selection| match selection {
            Selection::Field(field) => self.descend(field.response_key(), |it| {
                let mut arguments = field.arguments.iter();
                arguments.any(|argument| it.descend(&argument.name, |it| it.search_value(&argument.value)))
                    || it.search_selections(&field.selection_set)
            }),
            Selection::InlineFragment(inline) => self.search_selections(&inline.selection_set),
            Selection::FragmentSpread(spread) => {
                let fragment = self.document.fragments.get(&spread.fragment_name);
                fragment.is_some_and(|fragment| {
                    self.fragments.insert(&spread.fragment_name)
                        && self.search_selections(&fragment.selection_set)
                })
            }
        })
    }

    fn search_value(&mut self, value: &ast::Value) -> bool {
        match value {
            ast::Value::Variable(name) => name == self.variable,
            ast::Value::List(items) => {
                let mut items = items.iter().enumerate();
                items.any(|(index, item)| self.descend(&index.to_string(), |it| it.search_value(item)))
            }
            ast::Value::Object(fields) => {
                fields.iter().any(|(name, value)| self.descend(name, |it| it.search_value(value)))
            }
            _ => false,
        }
    }
}
