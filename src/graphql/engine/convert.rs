//! Conversion of apollo-compiler's values into async-graphql's.

use apollo_compiler::ast::{self, Type};
use async_graphql::{Name, Number, Value, Variables};

use super::type_system::TypeSystem;

/// Converts a value of a document in a position of type `ty`, with coerced variables in place.
///
/// Returns `None` for a variable without a value. Inside an input object its field is absent then, inside a list it is
/// null, as in graphql-js.
pub(super) fn convert_value(
    types: &TypeSystem,
    value: &ast::Value,
    ty: &Type,
    variables: &Variables,
) -> Option<Value> {
    let item = |item: &ast::Value| convert_value(types, item, ty.item_type(), variables);
    Some(match value {
        ast::Value::Variable(name) => return variables.get(name.as_str()).cloned(),
        ast::Value::Null => Value::Null,
        ast::Value::List(items) => Value::List(items.iter().map(|it| item(it).unwrap_or_default()).collect()),
        single if ty.is_list() => Value::List(vec![item(single).unwrap_or_default()]),
        ast::Value::Enum(name) => Value::Enum(Name::new(name)),
        ast::Value::String(text) => Value::String(text.clone()),
        ast::Value::Boolean(value) => Value::Boolean(*value),
        // Identifiers may have more digits than any number.
        ast::Value::Int(int) if ty.inner_named_type() == "ID" => Value::String(int.as_str().to_owned()),
        ast::Value::Int(int) => parse_number(int.as_str()),
        ast::Value::Float(float) => parse_number(float.as_str()),
        ast::Value::Object(fields) => {
            let definition = types.input_object(ty);
            let fields = fields.iter().filter_map(|(name, field)| {
                let ty = &definition?.fields.get(name)?.ty;
                Some((Name::new(name), convert_value(types, field, ty, variables)?))
            });
            Value::Object(fields.collect())
        }
    })
}

fn parse_number(text: &str) -> Value {
    let number = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(int), _) => Some(Number::from(int)),
        (_, Ok(float)) => Number::from_f64(float),
        _ => None,
    };
    number.map_or(Value::Null, Value::Number)
}

/// Returns true if a value contains a variable.
pub(super) fn has_variables(value: &ast::Value) -> bool {
    match value {
        ast::Value::Variable(_) => true,
        ast::Value::List(items) => items.iter().any(|item| has_variables(item)),
        ast::Value::Object(fields) => fields.iter().any(|(_, value)| has_variables(value)),
        _ => false,
    }
}
