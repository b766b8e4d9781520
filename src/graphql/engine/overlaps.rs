use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, Value};
use apollo_compiler::executable::Field;
use async_graphql::ServerError;

use super::planner::{Conditions, Planner};
use super::type_system::TypeSystem;
use super::validation::ValidDocument;
use crate::config::Limits;

/// Checks that fields with one response key have the same arguments (5.3.2).
///
/// apollo-compiler 1.33 takes lists of different lengths for the same if one begins with the other.
pub(super) fn check(types: &TypeSystem, document: &ValidDocument, limits: &Limits) -> Vec<ServerError> {
    let operations = document.executable.operations.iter();
    let plans = operations
        .map(|operation| Planner::new(types, document, operation, Conditions::Ignored, limits).plan());
    plans.filter_map(Result::err).collect()
}

/// Compares the arguments of two fields, in any order.
pub(super) fn same_arguments(one: &Field, other: &Field) -> bool {
    one.arguments.len() == other.arguments.len()
        && one.arguments.iter().all(|argument| {
            let same = |other: &&Node<Argument>| other.name == argument.name;
            other.arguments.iter().find(same).is_some_and(|other| same_value(&argument.value, &other.value))
        })
}

fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    let same = |(other, _): &&(_, Node<Value>)| other == name;
                    other.iter().find(same).is_some_and(|(_, other)| same_value(value, other))
                })
        }
        (one, other) => one == other,
    }
}
