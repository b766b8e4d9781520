use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Field, FragmentDefinition, Selection, SelectionSet};
use async_graphql::{Name, Positioned, ServerError, Variables};

use super::beyond;
use super::lists::Lists;
use crate::config::Limits;
use crate::error::ErrorCode;
use crate::graphql::errors::wire_error;

/// The largest page that any list gives.
const MAX_PAGE: usize = 100;
/// Sets of fields and fragments within each other. The executor recurses as deep, and bounds it by the same number.
pub(in crate::graphql) const MAX_RECURSION: usize = 60;
/// Fields below `__schema` and `__type`, fragments in place. GraphiQL's and Apollo's questions have some 200; each is
/// answered for every type, and for every field of it.
const MAX_INTROSPECTION_FIELDS: usize = 500;
/// Fields of introspection that are lists; each level of them multiplies the answer by the size of the schema.
const INTROSPECTION_LISTS: [&str; 8] =
    ["args", "directives", "enumValues", "fields", "inputFields", "interfaces", "possibleTypes", "types"];

/// Checks what executing a document would come to, for its most expensive operation.
pub(in crate::graphql) fn check(
    document: &ExecutableDocument,
    variables: &Variables,
    limits: &Limits,
    lists: &Lists,
    introspection: bool,
) -> Result<(), ServerError> {
    let fragments = HashMap::new();
    let mut walk = Walk { document, variables, limits, lists, introspection, fragments, level: 0 };
    // Those that nothing uses are looked at, too: the executor's validation goes through them all.
    for name in document.fragments.keys() {
        walk.fragment(name)?;
    }
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let mut cost = walk.set(&operation.selection_set.node, lists.root(operation.ty))?;
        let variables =
            operation.variable_definitions.iter().map(|definition| definition.node.directives.len());
        cost.directives += operation.directives.len() + variables.sum::<usize>();
        cost.check(limits)?;
    }
    Ok(())
}

fn too_deep() -> ServerError {
    beyond(ErrorCode::OperationTooDeep, MAX_RECURSION, "levels of fields and fragments")
}

/// What a set of fields comes to, with all fragments in place.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Fields and fragments as the executor walks through them, fragments anew wherever they are spread.
    expanded: usize,
    /// Fields, those of a list once for each item.
    complexity: usize,
    depth: usize,
    introspection_depth: usize,
    /// Fields of introspection.
    introspected: usize,
    /// Sets of fields and fragments within each other.
    height: usize,
    /// Fields of the set itself.
    fields: usize,
    aliases: usize,
    directives: usize,
}

impl Cost {
    /// Adds a set that stands beside this one.
    fn add(&mut self, other: Self) {
        self.expanded = self.expanded.saturating_add(other.expanded);
        self.complexity = self.complexity.saturating_add(other.complexity);
        self.depth = self.depth.max(other.depth);
        self.height = self.height.max(other.height);
        self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
        self.introspected = self.introspected.saturating_add(other.introspected);
        self.fields = self.fields.saturating_add(other.fields);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
    }

    /// Compares the cost of a whole operation with the limits.
    fn check(&self, limits: &Limits) -> Result<(), ServerError> {
        use ErrorCode as Code;

        for (actual, limit, code, what) in [
            (self.depth, limits.depth, Code::OperationTooDeep, "levels of fields"),
            (
                self.introspection_depth,
                limits.introspection_depth,
                Code::IntrospectionTooDeep,
                "lists within each other in introspection",
            ),
            (self.fields, limits.root_fields, Code::TooManyRootFields, "fields at its root"),
            (self.aliases, limits.aliases, Code::TooManyAliases, "aliases"),
            (self.directives, limits.directives, Code::TooManyDirectives, "directives"),
            (
                self.complexity,
                limits.complexity,
                Code::OperationTooComplex,
                "fields, those of lists included,",
            ),
            (
                self.introspected,
                MAX_INTROSPECTION_FIELDS,
                Code::OperationTooComplex,
                "fields of introspection",
            ),
            // A list of no items costs nothing, but the executor walks through what is asked of its items.
            (self.expanded, limits.complexity, Code::OperationTooComplex, "fields and fragments"),
        ] {
            if actual > limit {
                return Err(beyond(code, limit, what));
            }
        }
        Ok(())
    }
}

/// A walk through a document.
struct Walk<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    limits: &'a Limits,
    lists: &'a Lists,
    introspection: bool,
    /// What is known of a fragment; nothing yet while it is being walked through.
    fragments: HashMap<&'a Name, Option<Cost>>,
    level: usize,
}

impl<'a> Walk<'a> {
    fn set(&mut self, set: &'a SelectionSet, of: &str) -> Result<Cost, ServerError> {
        self.nested(|walk| walk.selections(set, of, &mut HashMap::new()))
    }

    /// Walks one level further down, if that is not too far.
    fn nested(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Cost, ServerError>,
    ) -> Result<Cost, ServerError> {
        self.level += 1;
        if self.level > MAX_RECURSION {
            return Err(too_deep());
        }
        let mut cost = inner(self)?;
        self.level -= 1;
        cost.height += 1;
        cost.expanded = cost.expanded.saturating_add(1);
        if cost.height > MAX_RECURSION {
            return Err(too_deep());
        }
        Ok(cost)
    }

    /// `seen` counts the fields of one place by name, those in fragments within it included.
    fn selections(
        &mut self,
        set: &'a SelectionSet,
        of: &str,
        seen: &mut HashMap<&'a str, usize>,
    ) -> Result<Cost, ServerError> {
        let mut cost = Cost::default();
        for selection in &set.items {
            cost.directives += selection.node.directives().len();
            cost.add(match &selection.node {
                Selection::Field(field) => {
                    let times = seen.entry(field.node.response_key().node.as_str()).or_default();
                    *times += 1;
                    if *times > self.limits.duplicate_fields {
                        let limit = self.limits.duplicate_fields;
                        return Err(beyond(
                            ErrorCode::TooManyDuplicateFields,
                            limit,
                            "repetitions of one field",
                        ));
                    }
                    self.field(&field.node, of)?
                }
                Selection::InlineFragment(inline) => {
                    let condition =
                        inline.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    let of = condition.map_or(of, Name::as_str);
                    self.nested(|walk| walk.selections(&inline.node.selection_set.node, of, seen))?
                }
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node)?,
            });
        }
        Ok(cost)
    }

    fn field(&mut self, field: &'a Field, of: &str) -> Result<Cost, ServerError> {
        let name = field.name.node.as_str();
        let children = &field.selection_set.node;
        let alias = usize::from(field.alias.is_some());
        if name == "__typename" && !(children.items.is_empty() && field.arguments.is_empty()) {
            let message = "\"__typename\" has no arguments and no fields.";
            return Err(wire_error(ErrorCode::GraphqlValidationFailed, message));
        }
        if of.starts_with("__") || matches!(name, "__schema" | "__type") {
            if !self.introspection {
                let message = "This service does not describe its schema.";
                return Err(wire_error(ErrorCode::IntrospectionDisabled, message));
            }
            let inner = self.set(children, "__")?;
            let list = usize::from(INTROSPECTION_LISTS.contains(&name));
            let introspection_depth = inner.introspection_depth + list;
            return Ok(Cost {
                complexity: inner.complexity.saturating_add(1),
                introspection_depth,
                introspected: inner.introspected.saturating_add(1),
                fields: 1,
                aliases: inner.aliases.saturating_add(alias),
                ..inner
            });
        }
        let known = self.lists.field(of, name);
        let inner = self.set(children, known.map_or("", |field| field.of.as_str()))?;
        let page = known.and_then(|field| field.page);
        let items = page.map_or(1, |default| self.page(field).unwrap_or(default));
        Ok(Cost {
            complexity: inner.complexity.saturating_mul(items).saturating_add(1),
            depth: inner.depth + 1,
            fields: 1,
            aliases: inner.aliases.saturating_add(alias),
            ..inner
        })
    }

    /// How many items a request asks for, if it says so; as many as can be where only the executor will know.
    fn page(&self, field: &Field) -> Option<usize> {
        let arguments = ["first", "last"].into_iter().filter_map(|name| field.get_argument(name));
        let numbers = arguments.map(|argument| {
            let variable = |name| self.variables.get(&name).cloned().ok_or(());
            let value = argument.node.clone().into_const_with(variable).ok();
            let number = value.and_then(|value| value.into_json().ok()).and_then(|value| value.as_u64());
            number.and_then(|number| usize::try_from(number).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE)
        });
        numbers.max()
    }

    fn fragment(&mut self, name: &'a Name) -> Result<Cost, ServerError> {
        match self.fragments.get(name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                let message = format!("The fragment \"{name}\" contains itself.");
                return Err(wire_error(ErrorCode::GraphqlValidationFailed, message));
            }
            None => {}
        }
        let Some(fragment): Option<&Positioned<FragmentDefinition>> = self.document.fragments.get(name)
        else {
            let message = format!("The fragment \"{name}\" is not in the document.");
            return Err(wire_error(ErrorCode::GraphqlValidationFailed, message));
        };
        self.fragments.insert(name, None);
        let condition = fragment.node.type_condition.node.on.node.as_str();
        let mut cost = self.set(&fragment.node.selection_set.node, condition)?;
        cost.directives += fragment.node.directives.len();
        self.fragments.insert(name, Some(cost));
        Ok(cost)
    }
}
