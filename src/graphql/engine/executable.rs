//! Plans as documents for the executor, without any construct that it could misread.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, InlineFragment, OperationDefinition, Selection,
    SelectionSet, TypeCondition,
};
use async_graphql::{Name, Pos, Positioned, Value, Variables};

use super::convert;
use super::multiplier::{Multiplier, measure_longest_list};
use super::plan::{ArgumentValue, Plan, PlannedField, Selected};
use super::response::TYPE_NAME_KEY;
use super::type_system::TypeSystem;

/// A document for the executor, and its cost.
pub(super) struct Executable {
    pub(super) document: ExecutableDocument,
    /// Number of fields that run; those of lists count once for each item.
    pub(super) complexity: usize,
}

/// Builds the executor's document: a plan with coerced variables filled in.
pub(super) fn build(types: &TypeSystem, plan: &Plan, variables: &Variables) -> Executable {
    let (set, complexity) = Builder { types, variables }.build_selected(&plan.selection, 1);
    let operation = OperationDefinition {
        ty: plan.kind,
        variable_definitions: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::new(set, Pos::default()),
    };
    let operations = DocumentOperations::Single(Positioned::new(operation, Pos::default()));
    Executable { document: ExecutableDocument { operations, fragments: HashMap::new() }, complexity }
}

struct Builder<'a> {
    types: &'a TypeSystem,
    variables: &'a Variables,
}

impl Builder<'_> {
    /// Returns the selection set and the number of fields that run; `parent_items` is the number of items of the
    /// connection or payload.
    fn build_selected(&self, selected: &Selected, parent_items: usize) -> (SelectionSet, usize) {
        match selected {
            Selected::Leaf => (SelectionSet::default(), 0),
            Selected::Object(fields) => self.build_fields(fields, parent_items),
            Selected::Abstract(types) => {
                let mut most = 0;
                let fragment = |(ty, fields): &(Name, Vec<PlannedField>)| {
                    let (set, fields) = self.build_fields(fields, parent_items);
                    most = most.max(fields);
                    let on = Positioned::new(ty.clone(), Pos::default());
                    let inline = InlineFragment {
                        type_condition: Some(Positioned::new(TypeCondition { on }, Pos::default())),
                        directives: Vec::new(),
                        selection_set: Positioned::new(set, Pos::default()),
                    };
                    let inline = Selection::InlineFragment(Positioned::new(inline, Pos::default()));
                    Positioned::new(inline, Pos::default())
                };
                let items = std::iter::once(select_type_name()).chain(types.iter().map(fragment)).collect();
                (SelectionSet { items }, most)
            }
        }
    }

    fn build_fields(&self, fields: &[PlannedField], parent_items: usize) -> (SelectionSet, usize) {
        let mut complexity = 0_usize;
        let build = |field: &PlannedField| {
            let (field, fields) = self.build_planned_field(field, parent_items);
            complexity = complexity.saturating_add(fields);
            field
        };
        let mut items: Vec<_> = fields.iter().map(build).collect();
        if items.is_empty() {
            // async-graphql answers null for an object without fields.
            items.push(select_type_name());
        }
        (SelectionSet { items }, complexity)
    }

    fn build_planned_field(
        &self,
        planned: &PlannedField,
        parent_items: usize,
    ) -> (Positioned<Selection>, usize) {
        let arguments = planned.arguments.iter().filter_map(|argument| {
            let value = match &argument.value {
                ArgumentValue::Constant(value) => value.clone(),
                ArgumentValue::Template { value, ty } => {
                    convert::convert_value(self.types, value, ty, self.variables)?
                }
            };
            Some((argument.name.clone(), value))
        });
        let arguments: Vec<_> = arguments.collect();
        let (times, parent_items) = match &planned.multiplier {
            Multiplier::Once => (1, 1),
            Multiplier::PerItem(size) => (size.count_items(&arguments), 1),
            Multiplier::PerEdge(size) => (1, size.count_items(&arguments)),
            Multiplier::PerArgument => (1, measure_longest_list(&arguments)),
            Multiplier::PerParentItem => (parent_items, 1),
        };
        let (children, fields) = self.build_selected(&planned.selected, parent_items);
        let complexity = fields.saturating_mul(times).saturating_add(1);
        let alias = planned.has_alias().then(|| planned.response_key.clone());
        let name = Positioned::new(planned.name.clone(), planned.position);
        (build_field(name, alias, arguments, children), complexity)
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
    arguments: Vec<(Name, Value)>,
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
