use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, FieldDefinition, TypeKind, TypeSystemDefinition};

/// Items of a page when the request does not say how many.
const DEFAULT_PAGE: usize = 20;

/// What a schema says of its fields: the type of each, and whether it is a list.
pub(in crate::graphql) struct Lists(HashMap<String, HashMap<String, Field>>);

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
        let mut types = HashMap::new();
        for definition in parse_schema(sdl)?.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                _ => continue,
            };
            let fields =
                fields.into_iter().map(|field| (field.node.name.node.to_string(), Field::new(&field.node)));
            types.insert(definition.node.name.node.to_string(), fields.collect());
        }
        Ok(Self(types))
    }

    pub(super) fn field(&self, of: &str, name: &str) -> Option<&Field> {
        self.0.get(of)?.get(name)
    }
}

impl Field {
    fn new(definition: &FieldDefinition) -> Self {
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
        let inside = matches!(definition.name.node.as_str(), "edges" | "nodes");
        Self { of: name.to_string(), page: (list && !inside).then_some(DEFAULT_PAGE) }
    }
}
