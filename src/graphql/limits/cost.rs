use std::collections::HashMap;

use async_graphql::parser::types::{
    ExecutableDocument, Field, FragmentDefinition, OperationType, Selection, SelectionSet,
};
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
        let root = match operation.node.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut cost = walk.set(&operation.node.selection_set.node, root)?;
        cost.directives += operation.node.directives.len();
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
    /// Fields, those of a list once for each item.
    complexity: usize,
    depth: usize,
    introspection_depth: usize,
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
        self.complexity = self.complexity.saturating_add(other.complexity);
        self.depth = self.depth.max(other.depth);
        self.height = self.height.max(other.height);
        self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
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
        self.level += 1;
        if self.level > MAX_RECURSION {
            return Err(too_deep());
        }
        let mut cost = self.selections(set, of)?;
        self.level -= 1;
        cost.height += 1;
        if cost.height > MAX_RECURSION {
            return Err(too_deep());
        }
        Ok(cost)
    }

    fn selections(&mut self, set: &'a SelectionSet, of: &str) -> Result<Cost, ServerError> {
        let mut cost = Cost::default();
        let mut seen: HashMap<&str, usize> = HashMap::new();
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
                    self.set(&inline.node.selection_set.node, condition.map_or(of, Name::as_str))?
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
        let argument = field.get_argument("first").or_else(|| field.get_argument("last"))?;
        let value =
            argument.node.clone().into_const_with(|name| self.variables.get(&name).cloned().ok_or(()));
        let number = value.ok().and_then(|value| value.into_json().ok()).and_then(|value| value.as_u64());
        Some(number.and_then(|number| usize::try_from(number).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE))
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
        // One that is not there is for the validation to name.
        let Some(fragment): Option<&Positioned<FragmentDefinition>> = self.document.fragments.get(name)
        else {
            return Ok(Cost::default());
        };
        self.fragments.insert(name, None);
        let condition = fragment.node.type_condition.node.on.node.as_str();
        let mut cost = self.set(&fragment.node.selection_set.node, condition)?;
        cost.directives += fragment.node.directives.len();
        self.fragments.insert(name, Some(cost));
        Ok(cost)
    }
}
