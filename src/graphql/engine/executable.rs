//! Plans as documents for the executor, without any construct that it could misread.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, InlineFragment, OperationDefinition, Selection,
    SelectionSet, TypeCondition,
};
use async_graphql::{Name, Pos, Positioned, Value, Variables};

use super::plan::{Arguments, Plan, PlannedField, Selected};
use super::response::TYPE_NAME_KEY;
use super::type_system::TypeSystem;

/// Builds the executor's document: a plan with coerced variables filled in.
pub(super) fn build(types: &TypeSystem, plan: &Plan, variables: &Variables) -> ExecutableDocument {
    let set = Builder { types, variables }.build_selected(&plan.selection);
    let operation = OperationDefinition {
        ty: plan.kind,
        variable_definitions: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::new(set, Pos::default()),
    };
    let operations = DocumentOperations::Single(Positioned::new(operation, Pos::default()));
    ExecutableDocument { operations, fragments: HashMap::new() }
}

struct Builder<'a> {
    types: &'a TypeSystem,
    variables: &'a Variables,
}

impl Builder<'_> {
    fn build_selected(&self, selected: &Selected) -> SelectionSet {
        match selected {
            Selected::Leaf => SelectionSet::default(),
            Selected::Object(fields) => self.build_fields(fields.iter()),
            Selected::Abstract(types) => {
                let fragments = types.iter().map(|(ty, fields)| self.build_fragment(ty, fields));
                SelectionSet { items: std::iter::once(select_type_name()).chain(fragments).collect() }
            }
        }
    }

    fn build_fragment(&self, ty: &Name, fields: &[PlannedField]) -> Positioned<Selection> {
        let on = Positioned::new(ty.clone(), Pos::default());
        let inline = InlineFragment {
            type_condition: Some(Positioned::new(TypeCondition { on }, Pos::default())),
            directives: Vec::new(),
            selection_set: Positioned::new(self.build_fields(fields.iter()), Pos::default()),
        };
        let inline = Selection::InlineFragment(Positioned::new(inline, Pos::default()));
        Positioned::new(inline, Pos::default())
    }

    fn build_fields<'a>(&self, fields: impl Iterator<Item = &'a PlannedField>) -> SelectionSet {
        let mut items: Vec<_> = fields.map(|field| self.build_planned_field(field)).collect();
        if items.is_empty() {
            // async-graphql answers null for an object without fields.
            items.push(select_type_name());
        }
        SelectionSet { items }
    }

    fn build_planned_field(&self, planned: &PlannedField) -> Positioned<Selection> {
        let arguments = planned.arguments(self.types, self.variables);
        let alias = planned.has_alias().then(|| planned.response_key.clone());
        let name = Positioned::new(planned.name.clone(), planned.position);
        let children = match &planned.selected {
            // async-graphql answers the description of the type `__Schema`; the schema has none. A field that is not sent
            // to it is null in the response.
            Selected::Object(fields) if planned.name == "__schema" => {
                self.build_fields(fields.iter().filter(|field| field.name != "description"))
            }
            selected => self.build_selected(selected),
        };
        build_field(name, alias, arguments, children)
    }
}

/// Selects `__typename` under a key that no document can contain; `response::fill_in` takes it out again.
fn select_type_name() -> Positioned<Selection> {
    let name = Positioned::new(Name::new("__typename"), Pos::default());
    build_field(name, Some(Name::new(TYPE_NAME_KEY)), Vec::new(), SelectionSet::default())
}

fn build_field(
    name: Positioned<Name>,
    alias: Option<Name>,
    arguments: Arguments,
    children: SelectionSet,
) -> Positioned<Selection> {
    let at = name.pos;
    let argument =
        |(name, value): (Name, Value)| (Positioned::new(name, at), Positioned::new(value.into_value(), at));
    let field = Field {
        alias: alias.map(|alias| Positioned::new(alias, at)),
        name,
        arguments: arguments.into_iter().map(argument).collect(),
        directives: Vec::new(),
        selection_set: Positioned::new(children, at),
    };
    Positioned::new(Selection::Field(Positioned::new(field, at)), at)
}
