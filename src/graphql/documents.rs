//! Documents that are known already: executed before, or listed as trusted.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, InlineFragment, Selection, SelectionSet,
};
use async_graphql::{Positioned, ServerError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;

use super::errors::wire_error;
use crate::config::GraphqlSettings;
use crate::crypto;
use crate::error::ErrorCode;

/// Memory for documents, in bytes.
const CAPACITY: u64 = 32 << 20;
/// What a token of a parsed document takes, in bytes: 230 as measured with inline fragments, the most costly ones.
const TOKEN_BYTES: usize = 256;
/// Documents that are expected; the cache sizes its tables by it.
const EXPECTED: usize = 1024;

/// SHA-256 of a document's text.
pub(super) type Hash = [u8; 32];

/// A document that has been parsed.
pub(super) struct Document {
    /// About how much memory it takes, in bytes.
    weight: usize,
    pub(super) parsed: ExecutableDocument,
    /// Without variables the validation's verdict on a document is always the same.
    pub(super) has_variables: bool,
}

impl Document {
    pub(super) fn new(tokens: usize, mut parsed: ExecutableDocument) -> Self {
        for fragment in parsed.fragments.values_mut() {
            wrap_typename(&mut fragment.node.selection_set.node);
        }
        match &mut parsed.operations {
            DocumentOperations::Single(operation) => wrap_typename(&mut operation.node.selection_set.node),
            DocumentOperations::Multiple(operations) => {
                for operation in operations.values_mut() {
                    wrap_typename(&mut operation.node.selection_set.node);
                }
            }
        }
        let has_variables = parsed.operations.iter().any(|(_, op)| !op.node.variable_definitions.is_empty());
        Self { weight: (tokens + 1) * TOKEN_BYTES, parsed, has_variables }
    }
}

/// Moves the directives of `__typename` to an inline fragment around it, where they mean the same.
///
/// The executor does not look at them in the place where they were: it says that a variable is not used that stands
/// nowhere else, and takes one that is not defined.
fn wrap_typename(set: &mut SelectionSet) {
    for selection in &mut set.items {
        let pos = selection.pos;
        match &mut selection.node {
            Selection::Field(field)
                if field.node.name.node == "__typename" && !field.node.directives.is_empty() =>
            {
                let directives = std::mem::take(&mut field.node.directives);
                let items = vec![Positioned::new(Selection::Field(field.clone()), pos)];
                let selection_set = Positioned::new(SelectionSet { items }, pos);
                let inline = InlineFragment { type_condition: None, directives, selection_set };
                selection.node = Selection::InlineFragment(Positioned::new(inline, pos));
            }
            Selection::Field(field) => wrap_typename(&mut field.node.selection_set.node),
            Selection::InlineFragment(inline) => wrap_typename(&mut inline.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
        }
    }
}

#[derive(Clone)]
struct Length;

impl Weighter<Hash, Arc<Document>> for Length {
    fn weight(&self, _: &Hash, document: &Arc<Document>) -> u64 {
        document.weight as u64
    }
}

/// The documents that have passed the validation lately. Those that are asked for by hash are among them: a hash
/// can stand for nothing but its document, whoever sent it.
pub(super) struct DocumentCache(Cache<Hash, Arc<Document>, Length>);

impl DocumentCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, CAPACITY, Length))
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<Document>> {
        self.0.get(hash)
    }

    pub(super) fn keep(&self, hash: Hash, document: Arc<Document>) {
        self.0.insert(hash, document);
    }
}

/// The documents that are trusted, where only listed ones run: text by identifier.
pub struct TrustedDocuments {
    by_id: HashMap<String, String>,
    texts: std::collections::HashSet<Hash>,
}

impl TrustedDocuments {
    /// The list that the settings name, if they do.
    pub fn from_settings(settings: &GraphqlSettings) -> anyhow::Result<Option<Self>> {
        settings.trusted_documents.as_deref().map(Self::read).transpose()
    }

    /// Reads a manifest: `{"format": "apollo-persisted-query-manifest", "operations": [{"id", "body"}]}` as Apollo's
    /// tools write it, or `{"<hash>": "<document>"}` as GraphQL Code Generator's do.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || Self::parse(&serde_json::from_str(&std::fs::read_to_string(path)?)?);
        read().with_context(|| format!("TRUSTED_DOCUMENTS={} is no manifest of documents", path.display()))
    }

    fn parse(manifest: &Value) -> anyhow::Result<Self> {
        let Value::Object(entries) = manifest else { bail!("it must be a JSON object") };
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a document must be text");
        let by_id: HashMap<_, _> =
            match (entries.get("format").and_then(Value::as_str), entries.get("operations")) {
                (Some("apollo-persisted-query-manifest"), Some(Value::Array(operations))) => {
                    let pair = |operation: &Value| Ok((text(&operation["id"])?, text(&operation["body"])?));
                    operations.iter().map(pair).collect::<anyhow::Result<_>>()?
                }
                _ => entries
                    .iter()
                    .map(|(id, body)| Ok((id.clone(), text(body)?)))
                    .collect::<anyhow::Result<_>>()?,
            };
        let texts = by_id.values().map(|text| crypto::sha256(text.as_bytes())).collect();
        Ok(Self { by_id, texts })
    }

    /// The text of a request's document, if it is listed.
    pub(super) fn resolve(&self, query: Option<String>, id: Option<&str>) -> Result<String, ServerError> {
        match (query, id) {
            (Some(query), _) if self.texts.contains(&crypto::sha256(query.as_bytes())) => Ok(query),
            (Some(_), _) => Err(wire_error(
                ErrorCode::QueryNotInSafelist,
                "This document is not among those that may be run.",
            )),
            (None, id) => {
                let text = id.and_then(|id| self.by_id.get(id.strip_prefix("sha256:").unwrap_or(id)));
                text.cloned().ok_or_else(|| {
                    wire_error(
                        ErrorCode::PersistedQueryNotInList,
                        "This hash is not among those that may be run.",
                    )
                })
            }
        }
    }
}
