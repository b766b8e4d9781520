use std::borrow::Cow;

use async_graphql::{ServerError, Variables};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::limits::exceeded;
use crate::config::Limits;
use crate::error::ErrorCode;
use crate::graphql::errors::wire_error;

/// A request as GraphQL over HTTP and `graphql-transport-ws` have it.
#[derive(Debug, Default)]
pub struct GraphqlRequest {
    /// The document, unless it is named by a hash.
    pub query: Option<String>,
    /// Which operation of the document is meant.
    pub operation_name: Option<String>,
    /// Values of the operation's variables.
    pub variables: Variables,
    /// SHA-256 of the document, in hexadecimal, or another identifier that a list of trusted documents has.
    pub document_id: Option<String>,
}

/// The parameters as they stand in JSON; those that are objects are looked at later.
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

/// What we read of `extensions`: Apollo's automatic persisted queries.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    persisted_query: Option<PersistedQuery>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    version: u32,
    sha256_hash: String,
}

impl GraphqlRequest {
    /// Reads a request from a JSON object.
    pub fn from_json(json: &str, limits: &Limits) -> Result<Self, ServerError> {
        const FORM: &str = "The request must be {\"query\": \"...\", \"operationName\": \"...\", \"variables\": {...}, \
            \"extensions\": {...}}, all but the query optional.";
        // serde would take an array of the fields, too.
        let parameters =
            json.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten();
        let parameters: Parameters<'_> = parameters.ok_or_else(|| wire_error(ErrorCode::BadRequest, FORM))?;
        Self::new(
            parameters.query.map(Cow::into_owned),
            parameters.operation_name.map(Cow::into_owned),
            parameters.variables.map(RawValue::get),
            parameters.extensions.map(RawValue::get),
            parameters.document_id.map(Cow::into_owned),
            limits,
        )
    }

    /// Makes a request from its parameters; `variables` and `extensions` are JSON.
    pub fn new(
        query: Option<String>,
        operation_name: Option<String>,
        variables: Option<&str>,
        extensions: Option<&str>,
        document_id: Option<String>,
        limits: &Limits,
    ) -> Result<Self, ServerError> {
        if variables.is_some_and(|json| json.len() > limits.max_variables) {
            return Err(exceeded(ErrorCode::VariablesTooLarge, limits.max_variables, "bytes of variables"));
        }
        let variables = object::<Variables>(variables, "variables")?.unwrap_or_default();
        let extensions = object::<Extensions>(extensions, "extensions")?.unwrap_or_default();
        let hash = extensions.persisted_query.map(|persisted| match persisted.version {
            1 => Ok(persisted.sha256_hash.to_ascii_lowercase()),
            _ => Err(wire_error(ErrorCode::BadRequest, "Persisted queries must be of version 1.")),
        });
        let document_id = hash.transpose()?.or(document_id);
        if query.is_none() && document_id.is_none() {
            return Err(wire_error(ErrorCode::BadRequest, "The parameter query is missing."));
        }
        Ok(Self { query, operation_name, variables, document_id })
    }
}

/// Reads a parameter that must be a JSON object or null.
fn object<'de, T: Deserialize<'de>>(json: Option<&'de str>, name: &str) -> Result<Option<T>, ServerError> {
    let Some(json) = json.map(str::trim_ascii).filter(|json| *json != "null") else {
        return Ok(None);
    };
    let wrong = |what| wire_error(ErrorCode::BadRequest, format!("The parameter {name} {what}."));
    if !json.starts_with('{') {
        return Err(wrong("must be a JSON object"));
    }
    serde_json::from_str(json).map(Some).map_err(|_| wrong("has a value that can't be read"))
}
