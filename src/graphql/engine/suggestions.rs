//! "Did you mean": names of the schema that resemble the misspelt ones of an invalid document.

use apollo_compiler::ast::{
    Argument, Definition, Document, FieldDefinition, InputValueDefinition, Selection, Type, Value,
};
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name, Node};
use async_graphql::{Pos, ServerError};

use super::lines::Lines;
use super::type_system::TypeSystem;

/// Largest number of suggestions for a name.
const MAX_SUGGESTIONS: usize = 3;
/// Longest name that gets suggestions, in bytes.
const MAX_LENGTH: usize = 64;
/// Least Jaro-Winkler similarity of a suggestion; 1 is equality.
const SIMILARITY: f64 = 0.8;

/// Suggestions by the position of the misspelt name.
pub(super) struct Suggestions<'a> {
    types: &'a TypeSystem,
    lines: &'a Lines,
    /// Offsets of the names that errors are about.
    wanted: &'a [usize],
    found: Vec<(Pos, String)>,
}

impl<'a> Suggestions<'a> {
    /// Searches a document for unknown names at the offsets of errors.
    pub(super) fn find(
        types: &'a TypeSystem,
        document: &Document,
        lines: &'a Lines,
        wanted: &'a [usize],
    ) -> Self {
        let mut suggestions = Self { types, lines, wanted, found: Vec::new() };
        for definition in &document.definitions {
            match definition {
                Definition::OperationDefinition(operation) => {
                    let root = types.schema().root_operation(operation.operation_type);
                    suggestions.visit_selections(root, &operation.selection_set);
                }
                Definition::FragmentDefinition(fragment) => {
                    suggestions.visit_selections(Some(&fragment.type_condition), &fragment.selection_set);
                }
                _ => {}
            }
        }
        suggestions
    }

    /// Adds the suggestions to the errors at their positions.
    pub(super) fn add_to(&self, errors: &mut [ServerError]) {
        for error in errors {
            let found = self.found.iter().find(|(position, _)| error.locations.first() == Some(position));
            if let Some((_, suggestion)) = found {
                error.message = format!("{} {suggestion}", error.message);
            }
        }
    }

    fn visit_selections(&mut self, parent: Option<&Name>, selections: &[Selection]) {
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let definition =
                        parent.and_then(|parent| self.types.schema().type_field(parent, &field.name).ok());
                    let definition: Option<Node<FieldDefinition>> = definition.map(|it| it.node.clone());
                    match &definition {
                        Some(definition) => self.visit_arguments(&field.arguments, &definition.arguments),
                        None => self.suggest(field.name.location(), &field.name, self.field_names(parent)),
                    }
                    let ty = definition.as_ref().map(|definition| definition.ty.inner_named_type());
                    self.visit_selections(ty, &field.selection_set);
                }
                Selection::InlineFragment(inline) => {
                    self.visit_selections(inline.type_condition.as_ref().or(parent), &inline.selection_set);
                }
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    fn field_names(&self, parent: Option<&Name>) -> Vec<Name> {
        match parent.and_then(|parent| self.types.schema().types.get(parent)) {
            Some(ExtendedType::Object(ty)) => ty.fields.keys().cloned().collect(),
            Some(ExtendedType::Interface(ty)) => ty.fields.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn visit_arguments(&mut self, given: &[Node<Argument>], definitions: &[Node<InputValueDefinition>]) {
        for argument in given {
            if let Some(definition) = definitions.iter().find(|definition| definition.name == argument.name) {
                self.visit_value(&argument.value, &definition.ty);
            } else {
                let names = definitions.iter().map(|definition| definition.name.clone()).collect();
                self.suggest(argument.location(), &argument.name, names);
            }
        }
    }

    fn visit_value(&mut self, value: &Node<Value>, ty: &Type) {
        match (&**value, self.types.schema().types.get(ty.inner_named_type())) {
            (Value::List(items), _) => items.iter().for_each(|item| self.visit_value(item, ty.item_type())),
            (Value::Enum(name), Some(ExtendedType::Enum(ty))) if !ty.values.contains_key(name) => {
                self.suggest(name.location(), name, ty.values.keys().cloned().collect());
            }
            (Value::Object(fields), Some(ExtendedType::InputObject(ty))) => {
                for (name, field) in fields {
                    match ty.fields.get(name) {
                        Some(definition) => self.visit_value(field, &definition.ty),
                        None => self.suggest(field.location(), name, ty.fields.keys().cloned().collect()),
                    }
                }
            }
            _ => {}
        }
    }

    fn suggest(&mut self, at: Option<SourceSpan>, name: &str, candidates: Vec<Name>) {
        if name.len() > MAX_LENGTH || !at.is_some_and(|at| self.wanted.contains(&at.offset())) {
            return;
        }
        let name = name.to_ascii_lowercase();
        let rated = candidates
            .into_iter()
            .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_ascii_lowercase()), candidate));
        let mut alike: Vec<_> = rated.filter(|(similarity, _)| *similarity >= SIMILARITY).collect();
        alike.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let quoted = alike.iter().take(MAX_SUGGESTIONS).map(|(_, name)| format!("\"{name}\""));
        let quoted: Vec<_> = quoted.collect();
        if !quoted.is_empty() {
            self.found.push((self.lines.position(at), format!("Did you mean {}?", quoted.join(" or "))));
        }
    }
}
