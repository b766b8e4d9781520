use async_graphql::resolver_utils::EnumType;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::graphql::engine::PlannedField;
use crate::graphql::scalars;

/// The selected fields of an object, each with its key as JSON; `F` enumerates the fields of the type.
pub(super) struct Fields<F>(Vec<(String, F)>);

impl<F> Fields<F> {
    /// Compiles a selection; `None` if `parse` returns `None` for one of its fields.
    pub(super) fn compile(
        fields: &[PlannedField],
        parse: impl Fn(&PlannedField) -> Option<F>,
    ) -> Option<Self> {
        let compile = |field: &PlannedField| Some((format!("\"{}\":", field.response_key), parse(field)?));
        fields.iter().map(compile).collect::<Option<_>>().map(Self)
    }

    /// Returns the fields in the order of the response.
    pub(super) fn iter(&self) -> impl Iterator<Item = &F> {
        self.0.iter().map(|(_, field)| field)
    }
}

/// JSON text under construction.
pub(super) struct JsonBuffer(Vec<u8>);

impl JsonBuffer {
    /// Creates a buffer with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Writes an object; `write_field` writes the value of a field.
    pub(super) fn object<F>(&mut self, fields: &Fields<F>, mut write_field: impl FnMut(&mut Self, &F)) {
        self.0.push(b'{');
        for (index, (key, field)) in fields.0.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.0.extend_from_slice(key.as_bytes());
            write_field(self, field);
        }
        self.0.push(b'}');
    }

    /// Writes a list; `write_item` writes an item.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write_item: impl FnMut(&mut Self, T),
    ) {
        self.0.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            write_item(self, item);
        }
        self.0.push(b']');
    }

    /// Writes a value, or null for `None`.
    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    /// Writes null.
    pub(super) fn null(&mut self) {
        self.append("null");
    }

    /// Appends JSON.
    pub(super) fn append(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Writes text, escaped.
    pub(super) fn text(&mut self, text: &str) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    /// Writes true or false.
    pub(super) fn boolean(&mut self, value: bool) {
        self.0.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes an integer.
    pub(super) fn integer(&mut self, value: i64) {
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    /// Writes a UUID as an identifier.
    pub(super) fn id(&mut self, id: Uuid) {
        self.unescaped(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }

    /// Writes an instant.
    pub(super) fn time(&mut self, time: DateTime<Utc>) {
        self.unescaped(&scalars::DateTime(time).to_text());
    }

    /// Writes a value of an enum.
    pub(super) fn enumeration<T: EnumType>(&mut self, value: T) {
        let item = T::items().iter().find(|item| item.value == value);
        self.optional(item, |json, item| json.unescaped(item.name));
    }

    /// Writes text in which nothing needs escaping, such as names and identifiers.
    pub(super) fn unescaped(&mut self, text: &str) {
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    /// Returns the text.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
