//! Completes responses of the executor: the order of fields (6.3.2) and nulls in place of failed fields (6.4.4).

use apollo_compiler::ast::Type;
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};

use super::plan::{Plan, PlannedField, Selected};

/// Key of the `__typename` that the engine adds to selections.
pub(super) const TYPE_NAME_KEY: &str = " type";

/// Completes the data of a response to a plan.
///
/// async-graphql 7.2.1 answers fields in the order in which they were resolved, leaves out those that failed, and answers
/// null for objects without fields.
pub(super) fn fill_in(plan: &Plan, data: &mut Value) {
    if let Selected::Object(fields) = &plan.selection
        && let Err(Failed) = complete_object(fields, data)
    {
        *data = Value::Null;
    }
}

/// Failure of a field in a non-null position, which its parent has to absorb.
struct Failed;

fn complete_value(ty: &Type, selected: &Selected, data: &mut Value) -> Result<(), Failed> {
    let completed = match (ty, &mut *data) {
        (_, Value::Null) => Err(Failed),
        (Type::List(item) | Type::NonNullList(item), Value::List(items)) => {
            items.iter_mut().try_for_each(|it| complete_value(item, selected, it))
        }
        _ => match selected {
            Selected::Leaf => Ok(()),
            Selected::Object(fields) => complete_object(fields, data),
            Selected::Abstract(types) => complete_object(find_fields(types, data), data),
        },
    };
    match completed {
        Err(Failed) if !ty.is_non_null() => {
            *data = Value::Null;
            Ok(())
        }
        completed => completed,
    }
}

fn complete_object(fields: &[PlannedField], data: &mut Value) -> Result<(), Failed> {
    let Value::Object(values) = data else {
        // All fields of the object have failed.
        let mut values = IndexMap::new();
        let completed = arrange(fields, &mut values);
        *data = Value::Object(values);
        return completed;
    };
    let in_order = fields.len() == values.len()
        && fields.iter().zip(values.keys()).all(|(it, key)| it.response_key == *key);
    if !in_order {
        return arrange(fields, values);
    }
    for (field, data) in fields.iter().zip(values.values_mut()) {
        if !matches!(field.selected, Selected::Leaf) {
            complete_value(&field.definition.ty, &field.selected, data)?;
        }
    }
    Ok(())
}

/// Puts the fields in order, with null for those that are missing.
fn arrange(fields: &[PlannedField], values: &mut IndexMap<Name, Value>) -> Result<(), Failed> {
    let mut arranged = IndexMap::with_capacity(fields.len());
    for field in fields {
        let mut data = values.swap_remove(&field.response_key).unwrap_or_default();
        complete_value(&field.definition.ty, &field.selected, &mut data)?;
        arranged.insert(field.response_key.clone(), data);
    }
    *values = arranged;
    Ok(())
}

/// Returns the fields of the object type that the data is of.
fn find_fields<'a>(types: &'a [(Name, Vec<PlannedField>)], data: &Value) -> &'a [PlannedField] {
    let Value::Object(values) = data else { return &[] };
    let Some(Value::String(name)) = values.get(TYPE_NAME_KEY) else { return &[] };
    types.iter().find(|(ty, _)| ty == name).map_or(&[], |(_, fields)| fields.as_slice())
}
