//! Limits on the structure of a document, checked before validation, which walks a fragment wherever it is spread.

use std::collections::{HashMap, HashSet};

use apollo_compiler::Name;
use apollo_compiler::ast::{Definition, Document, Selection, Value};
use async_graphql::ServerError;

use super::limits::{MAX_RECURSION, exceeded};
use super::lines::Lines;
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Limit for all operations of a document together, as a multiple of the limit for one: validation walks the fragments
/// once for each operation.
const OPERATIONS_FACTOR: usize = 4;

/// Checks a document's fragments and operations, and returns the operations that are too deep, unless `name` selects one
/// of them: that is an error.
///
/// Each fragment is walked once, so the time grows with the document's length alone.
pub(super) fn check(
    document: &Document,
    lines: &Lines,
    name: Option<&str>,
    limits: &Limits,
) -> Result<HashSet<Option<Name>>, ServerError> {
    let mut names = Vec::new();
    let mut fragments: HashMap<&str, Fragment<'_>> = HashMap::new();
    for definition in &document.definitions {
        if let Definition::FragmentDefinition(fragment) = definition {
            names.push(&fragment.name);
            fragments.insert(&fragment.name, Fragment::Unvisited(&fragment.selection_set));
        }
    }
    let mut walk = Walk { lines, fragments, level: 0 };
    for fragment in names {
        walk.measure_fragment(fragment)?;
    }
    let operations = document.definitions.iter().filter_map(Definition::as_operation_definition);
    let is_only = operations.clone().nth(1).is_none();
    let mut all = 0_usize;
    let mut deep = HashSet::new();
    for operation in operations {
        let size = walk.measure_selections(&operation.selection_set)?;
        // Counts fields below empty lists too: they do not run, but are validated and planned.
        all = all.saturating_add(size.selections);
        if size.selections > limits.max_complexity
            || all > limits.max_complexity.saturating_mul(OPERATIONS_FACTOR)
        {
            let limit = limits.max_complexity;
            return Err(exceeded(ErrorCode::OperationTooComplex, limit, "fields and fragments"));
        }
        if size.depth > limits.max_depth {
            if name.map_or(is_only, |name| operation.name.as_deref() == Some(name)) {
                return Err(too_deep(limits));
            }
            deep.insert(operation.name.clone());
        }
    }
    Ok(deep)
}

/// Returns the error for an operation that is deeper than `MAX_DEPTH`.
pub(super) fn too_deep(limits: &Limits) -> ServerError {
    exceeded(ErrorCode::OperationTooDeep, limits.max_depth, "levels of fields")
}

/// Size of a selection set with all fragments expanded.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Fields, fragments and values.
    selections: usize,
    /// Nested fields, introspection aside.
    depth: usize,
    /// Nested fields and fragments.
    height: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.selections = self.selections.saturating_add(other.selections);
        self.depth = self.depth.max(other.depth);
        self.height = self.height.max(other.height);
    }
}

#[derive(Clone, Copy)]
enum Fragment<'a> {
    Unvisited(&'a [Selection]),
    Visiting,
    Visited(Size),
}

struct Walk<'a> {
    lines: &'a Lines,
    fragments: HashMap<&'a str, Fragment<'a>>,
    level: usize,
}

impl<'a> Walk<'a> {
    fn measure_selections(&mut self, selections: &'a [Selection]) -> Result<Size, ServerError> {
        let too_deep =
            || exceeded(ErrorCode::OperationTooDeep, MAX_RECURSION, "levels of fields and fragments");
        self.level += 1;
        if self.level > MAX_RECURSION {
            return Err(too_deep());
        }
        let mut size = Size::default();
        for selection in selections {
            size.add(match selection {
                Selection::Field(field) => {
                    let children = self.measure_selections(&field.selection_set)?;
                    let depth = if field.name.starts_with("__") { 0 } else { children.depth + 1 };
                    let values: usize =
                        field.arguments.iter().map(|argument| count_values(&argument.value)).sum();
                    Size { depth, selections: children.selections.saturating_add(values), ..children }
                }
                Selection::InlineFragment(inline) => self.measure_selections(&inline.selection_set)?,
                Selection::FragmentSpread(spread) => self.measure_fragment(&spread.fragment_name)?,
            });
        }
        self.level -= 1;
        size.height += 1;
        size.selections = size.selections.saturating_add(1);
        if size.height > MAX_RECURSION {
            return Err(too_deep());
        }
        Ok(size)
    }

    fn measure_fragment(&mut self, name: &'a Name) -> Result<Size, ServerError> {
        let invalid = |message| {
            let locations = vec![self.lines.position(name.location())];
            Err(ServerError { locations, ..wire_error(ErrorCode::GraphqlValidationFailed, message) })
        };
        match self.fragments.get(name.as_str()).copied() {
            Some(Fragment::Visited(size)) => Ok(size),
            Some(Fragment::Visiting) => invalid(format!("Cannot spread fragment \"{name}\" within itself.")),
            None => invalid(format!("Unknown fragment \"{name}\".")),
            Some(Fragment::Unvisited(selections)) => {
                self.fragments.insert(name, Fragment::Visiting);
                let size = self.measure_selections(selections)?;
                self.fragments.insert(name, Fragment::Visited(size));
                Ok(size)
            }
        }
    }
}

/// Counts the values inside a value.
fn count_values(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(|item| count_values(item) + 1).sum(),
        Value::Object(fields) => fields.iter().map(|(_, field)| count_values(field) + 1).sum(),
        _ => 0,
    }
}
