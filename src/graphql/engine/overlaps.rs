use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, Value};
use apollo_compiler::executable::Field;

/// Returns true if two fields have the same arguments, in any order (5.3.2).
///
/// apollo-compiler 1.33 considers lists of different lengths the same if one is a prefix of the other.
pub(super) fn have_same_arguments(one: &Field, other: &Field) -> bool {
    one.arguments.len() == other.arguments.len()
        && one.arguments.iter().all(|argument| {
            let same = |other: &&Node<Argument>| other.name == argument.name;
            other
                .arguments
                .iter()
                .find(same)
                .is_some_and(|other| is_same_value(&argument.value, &other.value))
        })
}

fn is_same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    let same = |(other, _): &&(_, Node<Value>)| other == name;
                    other.iter().find(same).is_some_and(|(_, other)| is_same_value(value, other))
                })
        }
        (one, other) => one == other,
    }
}
