use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_graphql::ServerError;
use serde_json::Value;

use super::document_cache::parse_hash;
use crate::config::GraphqlSettings;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Allow-list of documents.
pub struct TrustedDocuments {
    /// Texts by normalized identifier.
    by_id: HashMap<String, Arc<str>>,
    texts: HashSet<Arc<str>>,
}

impl TrustedDocuments {
    /// Reads the manifest that the settings name, if any.
    pub fn from_settings(settings: &GraphqlSettings) -> anyhow::Result<Option<Self>> {
        settings.trusted_documents.as_deref().map(Self::read).transpose()
    }

    /// Reads a manifest: `{"format": "apollo-persisted-query-manifest", "operations": [{"id", "body"}]}` as Apollo's
    /// tools write it, or `{"<hash>": "<document>"}` as GraphQL Code Generator's do.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || Self::parse(&serde_json::from_str(&std::fs::read_to_string(path)?)?);
        read().with_context(|| format!("TRUSTED_DOCUMENTS={} is not a manifest of documents", path.display()))
    }

    fn parse(manifest: &Value) -> anyhow::Result<Self> {
        let Value::Object(entries) = manifest else { bail!("it must be a JSON object") };
        let by_id: HashMap<_, _> =
            match (entries.get("format").and_then(Value::as_str), entries.get("operations")) {
                (Some("apollo-persisted-query-manifest"), Some(Value::Array(operations))) => {
                    let pair = |operation: &Value| {
                        Ok((
                            normalize(text(&operation["id"])?).into_owned(),
                            Arc::from(text(&operation["body"])?),
                        ))
                    };
                    operations.iter().map(pair).collect::<anyhow::Result<_>>()?
                }
                _ => entries
                    .iter()
                    .map(|(id, body)| Ok((normalize(id).into_owned(), Arc::from(text(body)?))))
                    .collect::<anyhow::Result<_>>()?,
            };
        let texts = by_id.values().cloned().collect();
        Ok(Self { by_id, texts })
    }

    /// Returns the text of a request's document, if it is listed.
    pub(super) fn resolve(&self, query: Option<Arc<str>>, id: Option<&str>) -> Result<Arc<str>, ServerError> {
        match (query, id) {
            (Some(query), _) if self.texts.contains(&query) => Ok(query),
            (Some(_), _) => Err(wire_error(
                ErrorCode::QueryNotInSafelist,
                "This document is not on the list of trusted documents.",
            )),
            (None, id) => {
                let text = id.and_then(|id| self.by_id.get(&*normalize(id)));
                text.cloned().ok_or_else(|| {
                    wire_error(
                        ErrorCode::PersistedQueryNotInList,
                        "This hash is not on the list of trusted documents.",
                    )
                })
            }
        }
    }
}

/// Returns the normal form of an identifier: a SHA-256 in lower case without a prefix, any other unchanged.
fn normalize(id: &str) -> Cow<'_, str> {
    parse_hash(id).map_or(Cow::Borrowed(id), |hash| Cow::Owned(hex::encode(hash)))
}

fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("a document must be text")
}
