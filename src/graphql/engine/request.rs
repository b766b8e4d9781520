use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{ServerError, Variables};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::complexity::Cost;
use super::limits::exceeded;
use crate::config::Limits;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// A request of GraphQL over HTTP or a WebSocket.
#[derive(Default)]
pub struct GraphqlRequest {
    /// Document, unless `document_id` identifies it.
    pub query: Option<Arc<str>>,
    /// Name of the operation to execute.
    pub operation_name: Option<String>,
    /// Values of the operation's variables.
    pub variables: Variables,
    /// SHA-256 of the document in hexadecimal, or its identifier in the list of trusted documents.
    pub document_id: Option<String>,
}

/// JSON parameters of a request; objects are parsed later.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    #[serde(borrow, default)]
    query: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    variables: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    document_id: Option<Cow<'a, str>>,
}

/// The part of `extensions` in use: Apollo's automatic persisted queries.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions<'a> {
    #[serde(borrow, default)]
    persisted_query: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    version: u32,
    sha256_hash: String,
}

impl GraphqlRequest {
    /// Parses a request from a JSON object.
    pub fn from_json(json: &str, limits: &Limits) -> Result<Self, ServerError> {
        const FORM: &str = "The request must be {\"query\": \"...\", \"operationName\": \"...\", \"variables\": {...}, \
            \"extensions\": {...}}, all but the query optional.";
        let parameters = parse_json_object::<Parameters<'_>>(json);
        let parameters = parameters.ok_or_else(|| wire_error(ErrorCode::BadRequest, FORM))?;
        Self::new(
            parameters.query.map(Arc::from),
            parameters.operation_name.map(Cow::into_owned),
            parameters.variables.map(RawValue::get),
            parameters.extensions.map(RawValue::get),
            parameters.document_id.map(Cow::into_owned),
            limits,
        )
    }

    /// Creates a request from its parameters; `variables` and `extensions` are JSON.
    pub fn new(
        query: Option<Arc<str>>,
        operation_name: Option<String>,
        variables: Option<&str>,
        extensions: Option<&str>,
        document_id: Option<String>,
        limits: &Limits,
    ) -> Result<Self, ServerError> {
        if variables.is_some_and(|json| json.len() > limits.max_variables) {
            return Err(exceeded(ErrorCode::VariablesTooLarge, limits.max_variables, "bytes of variables"));
        }
        let variables = parse_object::<Variables>(variables, "variables")?.unwrap_or_default();
        let extensions = parse_object::<Extensions<'_>>(extensions, "extensions")?.unwrap_or_default();
        let persisted = extensions.persisted_query.map(RawValue::get);
        let persisted = parse_object::<PersistedQuery>(persisted, "extensions.persistedQuery")?;
        let hash = persisted.map(|persisted| match persisted.version {
            1 => Ok(persisted.sha256_hash),
            _ => Err(wire_error(ErrorCode::BadRequest, "Persisted queries must be of version 1.")),
        });
        let document_id = hash.transpose()?.or(document_id);
        if query.is_none() && document_id.is_none() {
            return Err(wire_error(ErrorCode::BadRequest, "The parameter query is missing."));
        }
        Ok(Self { query, operation_name, variables, document_id })
    }
}

impl fmt::Debug for GraphqlRequest {
    /// Prints the operation's name alone: variables and literals may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphqlRequest").field("operation_name", &self.operation_name).finish_non_exhaustive()
    }
}

/// A request that cannot be executed.
pub struct InvalidRequest {
    /// Reasons, at least one.
    pub errors: Vec<ServerError>,
    /// Kind of its operation, if the document could be parsed.
    pub kind: Option<OperationType>,
    /// Cost of its operation, if it exceeds the limit.
    pub cost: Option<Cost>,
}

impl From<Vec<ServerError>> for InvalidRequest {
    fn from(errors: Vec<ServerError>) -> Self {
        Self { errors, kind: None, cost: None }
    }
}

impl From<ServerError> for InvalidRequest {
    fn from(error: ServerError) -> Self {
        vec![error].into()
    }
}

/// Parses a struct from a JSON object. serde would accept an array of the fields, too.
pub(crate) fn parse_json_object<'de, T: Deserialize<'de>>(json: &'de str) -> Option<T> {
    json.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// Parses a parameter that must be a JSON object or null.
fn parse_object<'de, T: Deserialize<'de>>(
    json: Option<&'de str>,
    name: &str,
) -> Result<Option<T>, ServerError> {
    let Some(json) = json.map(str::trim_ascii).filter(|json| *json != "null") else {
        return Ok(None);
    };
    let wrong = |what| wire_error(ErrorCode::BadRequest, format!("The parameter {name} {what}."));
    if !json.starts_with('{') {
        return Err(wrong("must be a JSON object"));
    }
    serde_json::from_str(json).map(Some).map_err(|_| wrong("is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_values_of_a_request() {
        let query = "query Me { me(password: \"hunter2\") }";
        let variables = Variables::from_json(serde_json::json!({ "input": { "password": "hunter2" } }));
        let request = GraphqlRequest {
            query: Some(query.into()),
            operation_name: Some("Me".into()),
            variables,
            document_id: Some("hunter2".into()),
        };
        assert_eq!(format!("{request:?}"), "GraphqlRequest { operation_name: Some(\"Me\"), .. }");
    }
}
