use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, OperationType, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned};

/// Items of a page when the request does not say how many.
const DEFAULT_PAGE: usize = 20;

/// What a schema says of its fields: the type of each, and whether it is a list.
pub(in crate::graphql) struct Lists {
    types: HashMap<String, HashMap<String, Field>>,
    /// Names of the types of queries, mutations and subscriptions.
    roots: [String; 3],
}

/// A field of a type.
pub(super) struct Field {
    /// Name of its type, without list and non-null.
    pub(super) of: String,
    /// Items to reckon with where the request does not say how many; none for what is no list.
    pub(super) page: Option<usize>,
}

impl Lists {
    /// Reads a schema in the schema definition language.
    pub(in crate::graphql) fn new(sdl: &str) -> anyhow::Result<Self> {
        let (mut types, mut roots) = (HashMap::new(), [const { String::new() }; 3]);
        for definition in parse_schema(sdl)?.definitions {
            let definition = match definition {
                TypeSystemDefinition::Type(definition) => definition,
                TypeSystemDefinition::Schema(schema) => {
                    let schema = schema.node;
                    let name = |root: Option<Positioned<Name>>| {
                        root.map(|name| name.node.to_string()).unwrap_or_default()
                    };
                    roots = [name(schema.query), name(schema.mutation), name(schema.subscription)];
                    continue;
                }
                TypeSystemDefinition::Directive(_) => continue,
            };
            let of = definition.node.name.node.to_string();
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                _ => continue,
            };
            let fields = fields
                .into_iter()
                .map(|field| (field.node.name.node.to_string(), Field::new(&of, &field.node)));
            let fields = fields.collect();
            types.insert(of, fields);
        }
        Ok(Self { types, roots })
    }

    /// The type that an operation's fields are of.
    pub(super) fn root(&self, kind: OperationType) -> &str {
        let [query, mutation, subscription] = &self.roots;
        match kind {
            OperationType::Query => query,
            OperationType::Mutation => mutation,
            OperationType::Subscription => subscription,
        }
    }

    pub(super) fn field(&self, of: &str, name: &str) -> Option<&Field> {
        self.types.get(of)?.get(name)
    }
}

impl Field {
    fn new(of: &str, definition: &FieldDefinition) -> Self {
        let mut list = definition.arguments.iter().any(|argument| argument.node.name.node == "first");
        let mut base = &definition.ty.node.base;
        let name = loop {
            match base {
                BaseType::Named(name) => break name,
                BaseType::List(of) => {
                    list = true;
                    base = &of.base;
                }
            }
        };
        // The list inside a connection has been counted by the connection.
        let inside = of.ends_with("Connection") && matches!(definition.name.node.as_str(), "edges" | "nodes");
        Self { of: name.to_string(), page: (list && !inside).then_some(DEFAULT_PAGE) }
    }
}
