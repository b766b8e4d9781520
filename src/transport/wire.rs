//! Responses as JSON.

use async_graphql::{Response, Value};

use crate::graphql::is_request_error;

/// Size of a response without its data, in bytes.
const ENVELOPE_BYTES: usize = 128;

/// Serializes a response.
pub(super) fn to_json(response: &Response) -> Vec<u8> {
    let mut json = Vec::with_capacity(estimate_size(&response.data) + ENVELOPE_BYTES);
    write_response(&mut json, response);
    json
}

/// Serializes a response as text.
pub(super) fn to_text(response: &Response) -> String {
    String::from_utf8(to_json(response)).unwrap_or_default()
}

/// Appends a response: without `data`, not even null, if the request was not executed.
pub(super) fn write_response(json: &mut Vec<u8>, response: &Response) {
    json.push(b'{');
    let has_data = !is_request_error(response);
    if has_data {
        json.extend_from_slice(b"\"data\":");
        match &response.data {
            // async-graphql returns null where @skip or @include leave out every field; by the specification it is {}.
            Value::Null if response.errors.is_empty() => json.extend_from_slice(b"{}"),
            data => write_value(json, data),
        }
    }
    if !response.errors.is_empty() {
        json.extend_from_slice(if has_data { b",\"errors\":" } else { b"\"errors\":" });
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *json, &response.errors);
    }
    if !response.extensions.is_empty() {
        json.extend_from_slice(b",\"extensions\":");
        let _ = serde_json::to_writer(&mut *json, &response.extensions);
    }
    json.push(b'}');
}

/// Appends a value. Not by serde, which would write `Value::Binary`, the JSON of `graphql::written`, as a list of bytes.
fn write_value(json: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Binary(written) => json.extend_from_slice(written),
        Value::List(items) => write_items(json, *b"[]", items, write_value),
        Value::Object(fields) => write_items(json, *b"{}", fields, |json, (name, value)| {
            let _ = serde_json::to_writer(&mut *json, name.as_str());
            json.push(b':');
            write_value(json, value);
        }),
        leaf => {
            let _ = serde_json::to_writer(json, leaf);
        }
    }
}

/// Returns a lower bound on a value's size as JSON, in bytes; only the JSON of `graphql::written` is counted.
fn estimate_size(value: &Value) -> usize {
    match value {
        Value::Binary(written) => written.len(),
        Value::Object(fields) => fields.values().map(estimate_size).sum(),
        _ => 0,
    }
}

/// Appends items between brackets, separated by commas.
pub(super) fn write_items<T>(
    json: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    json.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write(json, item);
    }
    json.push(close);
}
