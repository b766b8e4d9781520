use async_graphql::OutputType;

use super::json::{Fields, JsonBuffer};
use crate::graphql::engine::PlannedField;
use crate::graphql::schema::accounts::User;
use crate::models;

/// Typical size of a user as JSON, in bytes; sizes the buffer.
pub(super) const USER_BYTES: usize = 256;

/// The selected fields of a user.
pub(super) struct UserFields(Fields<UserField>);

#[derive(Clone, Copy)]
enum UserField {
    TypeName,
    Id,
    Email,
    Name,
    CreatedAt,
    UpdatedAt,
}

impl UserFields {
    pub(super) fn compile(field: &PlannedField) -> Option<Self> {
        Fields::compile(field.selected_fields()?, parse_field).map(Self)
    }

    pub(super) fn write(&self, json: &mut JsonBuffer, user: &models::User) {
        json.object(&self.0, |json, field| match field {
            UserField::TypeName => json.unescaped(&User::type_name()),
            UserField::Id => json.id(user.id),
            UserField::Email => json.text(&user.email),
            UserField::Name => json.text(&user.name),
            UserField::CreatedAt => json.time(user.created_at),
            UserField::UpdatedAt => json.time(user.updated_at),
        });
    }
}

fn parse_field(field: &PlannedField) -> Option<UserField> {
    Some(match field.name.as_str() {
        "__typename" => UserField::TypeName,
        "id" => UserField::Id,
        "email" => UserField::Email,
        "name" => UserField::Name,
        "createdAt" => UserField::CreatedAt,
        "updatedAt" => UserField::UpdatedAt,
        _ => return None,
    })
}
