//! Caches of prepared documents.

use std::sync::Arc;

use async_graphql::{ServerError, Variables};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::document::ValidDocument;
use super::plan::Plan;
use crate::crypto;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;
use crate::graphql::written::WrittenQuery;

/// Memory of the cached documents, in bytes.
const CAPACITY: u64 = 32 << 20;
/// Memory of the texts of persisted queries, in bytes.
const PERSISTED_CAPACITY: u64 = 8 << 20;
/// Memory of a valid document per token, in bytes. Measured: some 210 for fields without aliases, the costliest.
const TOKEN_BYTES: usize = 256;
/// Copies of a document's text: the key, one for positions, and apollo-compiler's own. Comments have no tokens.
const TEXTS: usize = 3;
/// Memory of a plan per field, in bytes.
const FIELD_BYTES: usize = 512;
/// Memory of the plans of a document besides the latest, in bytes: far below a shard of the cache, which takes nothing larger.
const MAX_PLANS_BYTES: usize = 256 << 10;
/// Maximum number of plans of a document: one for each operation and each outcome of `@skip` and `@include`.
const MAX_PLANS: usize = 8;
/// Expected number of documents, which sizes the cache's tables.
const EXPECTED: usize = 1024;

/// SHA-256 of a document's text.
pub(super) type Hash = [u8; 32];

/// A valid document and the plans of its operations.
pub(super) struct Document {
    text: Arc<str>,
    pub(super) valid: Arc<ValidDocument>,
    plans: Vec<Arc<PreparedPlan>>,
}

/// A plan within the limits.
pub(super) struct PreparedPlan {
    pub(super) plan: Plan,
    /// Query that bypasses the executor; `None` if a field has no written form.
    pub(super) written: Option<Arc<WrittenQuery>>,
}

impl PreparedPlan {
    /// Returns the size in bytes, at most: a plan holds each literal of the document's text once.
    fn size(&self, text: &str) -> usize {
        (self.plan.size + 1) * FIELD_BYTES + text.len()
    }
}

impl Document {
    /// Returns the cached plan of an operation that applies to the variables.
    pub(super) fn find_plan(
        &self,
        operation: Option<&str>,
        variables: &Variables,
    ) -> Option<&Arc<PreparedPlan>> {
        let fits = |plan: &Plan| plan.name.as_deref() == operation && plan.applies_to(variables);
        self.plans.iter().find(|prepared| fits(&prepared.plan))
    }
}

#[derive(Clone)]
struct Memory;

impl Weighter<Arc<str>, Arc<Document>> for Memory {
    fn weight(&self, text: &Arc<str>, document: &Arc<Document>) -> u64 {
        let plans: usize = document.plans.iter().map(|prepared| prepared.size(text)).sum();
        ((document.valid.tokens + 1) * TOKEN_BYTES + text.len() * TEXTS + plans) as u64
    }
}

impl Weighter<Hash, Arc<str>> for Memory {
    fn weight(&self, hash: &Hash, text: &Arc<str>) -> u64 {
        (text.len() + hash.len()) as u64
    }
}

/// Recently used documents, shared by all clients.
pub(super) struct DocumentCache {
    /// Documents by text, which is compared as a whole: two texts with the same hash in the table stay apart.
    documents: Cache<Arc<str>, Arc<Document>, Memory>,
    /// Texts of automatic persisted queries: <https://www.apollographql.com/docs/apollo-server/performance/apq>.
    persisted: Cache<Hash, Arc<str>, Memory>,
}

impl DocumentCache {
    pub(super) fn new() -> Self {
        Self {
            documents: Cache::with_weighter(EXPECTED, CAPACITY, Memory),
            persisted: Cache::with_weighter(EXPECTED, PERSISTED_CAPACITY, Memory),
        }
    }

    pub(super) fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.documents.get(text)
    }

    pub(super) fn insert(&self, text: Arc<str>, valid: ValidDocument) -> Arc<Document> {
        let document = Arc::new(Document { text, valid: Arc::new(valid), plans: Vec::new() });
        self.documents.insert(Arc::clone(&document.text), Arc::clone(&document));
        document
    }

    /// Replaces a document by one with a further plan. The oldest plans go if there are too many.
    pub(super) fn insert_plan(&self, document: &Document, plan: &Arc<PreparedPlan>) {
        let Document { text, valid, plans } = document;
        let mut size = 0;
        let has_room = |known: &&Arc<PreparedPlan>| {
            size += known.size(text);
            size <= MAX_PLANS_BYTES
        };
        let latest = plans.iter().take(MAX_PLANS - 1).take_while(has_room);
        let plans = std::iter::once(plan).chain(latest).cloned().collect();
        let document = Document { text: Arc::clone(text), valid: Arc::clone(valid), plans };
        self.documents.insert(Arc::clone(text), Arc::new(document));
    }

    /// Checks the hash that a client sends with the text of a document.
    pub(super) fn check_hash(id: &str, text: &str) -> Result<Hash, ServerError> {
        let hash = crypto::sha256(text.as_bytes());
        if parse_hash(id) != Some(hash) {
            return Err(wire_error(ErrorCode::BadRequest, "The hash does not match the document."));
        }
        Ok(hash)
    }

    /// Returns the text that a client has persisted under a hash in hexadecimal.
    pub(super) fn find_persisted(&self, id: Option<&str>) -> Result<Arc<str>, ServerError> {
        let text = id.and_then(parse_hash).and_then(|hash| self.persisted.get(&hash));
        // Apollo's clients look for this message.
        text.ok_or_else(|| wire_error(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound"))
    }

    /// Persists the text of a valid document under its hash.
    pub(super) fn persist(&self, hash: Hash, document: &Document) {
        self.persisted.insert(hash, Arc::clone(&document.text));
    }
}

/// Parses a hash in hexadecimal; the prefix `sha256:` is optional.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    hex::decode_to_slice(digits, &mut hash).is_ok().then_some(hash)
}
