use std::collections::HashMap;

use anyhow::anyhow;
use apollo_compiler::ast::{DirectiveList, FieldDefinition, InputValueDefinition, Type};
use apollo_compiler::schema::{Component, ExtendedType, InputObjectType};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Node, Schema, name};

/// The schema's types, indexed for validation, coercion and planning.
pub(super) struct TypeSystem {
    schema: Valid<Schema>,
    /// Possible object types of each interface and union.
    possible: HashMap<Name, Vec<Name>>,
}

impl TypeSystem {
    /// Reads a schema in the schema definition language.
    pub(super) fn parse(sdl: &str) -> anyhow::Result<Self> {
        let schema = Schema::parse_and_validate(sdl, "schema.graphql");
        let mut schema = schema.map_err(|error| anyhow!("the schema is invalid: {error}"))?.into_inner();
        add_is_one_of(&mut schema);
        forbid_null_include_deprecated(&mut schema);
        let possible = schema.implementers_map().into_iter();
        let mut possible: HashMap<_, Vec<_>> =
            possible.map(|(name, by)| (name, by.objects.into_iter().collect())).collect();
        for (name, ty) in &schema.types {
            if let ExtendedType::Union(union) = ty {
                possible
                    .insert(name.clone(), union.members.iter().map(|member| member.name.clone()).collect());
            }
        }
        for names in possible.values_mut() {
            names.sort();
        }
        Ok(Self { schema: Valid::assume_valid(schema), possible })
    }

    pub(super) fn schema(&self) -> &Valid<Schema> {
        &self.schema
    }

    /// Returns true if a fragment on `condition` applies to objects of type `object`.
    pub(super) fn is_applicable(&self, condition: &Name, object: &Name) -> bool {
        condition == object || self.schema.is_subtype(condition, object)
    }

    /// Returns the possible object types of an interface or union; `None` for any other type.
    pub(super) fn possible_types(&self, name: &Name) -> Option<&[Name]> {
        match self.schema.types.get(name)? {
            ExtendedType::Interface(_) | ExtendedType::Union(_) => {
                Some(self.possible.get(name).map_or(&[], Vec::as_slice))
            }
            _ => None,
        }
    }

    /// Returns true for objects, interfaces and unions.
    pub(super) fn is_composite(&self, name: &Name) -> bool {
        let ty = self.schema.types.get(name);
        ty.is_some_and(|ty| ty.is_object() || ty.is_interface() || ty.is_union())
    }

    /// Returns true for an object type whose fields are all scalars or enums without arguments.
    pub(super) fn has_only_scalars(&self, name: &Name) -> bool {
        self.schema.get_object(name).is_some_and(|ty| {
            let scalar = |field: &Component<FieldDefinition>| {
                field.arguments.is_empty() && !self.is_composite(field.ty.inner_named_type())
            };
            ty.fields.values().all(scalar)
        })
    }

    /// Returns the input object that a type names, inside lists too.
    pub(super) fn input_object(&self, ty: &Type) -> Option<&InputObjectType> {
        self.schema.get_input_object(ty.inner_named_type()).map(AsRef::as_ref)
    }
}

/// Adds `__Type.isOneOf` (specification of September 2025), which async-graphql serves and apollo-compiler 1.33 does
/// not know.
fn add_is_one_of(schema: &mut Schema) {
    if let Some(ExtendedType::Object(ty)) = schema.types.get_mut("__Type") {
        let field = FieldDefinition {
            description: None,
            name: name!(isOneOf),
            arguments: Vec::new(),
            ty: Type::Named(name!(Boolean)),
            directives: DirectiveList::default(),
        };
        ty.make_mut().fields.entry(name!(isOneOf)).or_insert_with(|| Component::new(field));
    }
}

/// Makes `includeDeprecated` non-null as in the specification of September 2025: async-graphql fails with null.
fn forbid_null_include_deprecated(schema: &mut Schema) {
    for name in ["__Type", "__Field", "__Directive"] {
        let Some(ExtendedType::Object(ty)) = schema.types.get_mut(name) else { continue };
        for field in ty.make_mut().fields.values_mut() {
            let deprecated =
                |argument: &&mut Node<InputValueDefinition>| argument.name == "includeDeprecated";
            for argument in field.make_mut().arguments.iter_mut().filter(deprecated) {
                argument.make_mut().ty = Node::new(Type::NonNullNamed(name!(Boolean)));
            }
        }
    }
}
