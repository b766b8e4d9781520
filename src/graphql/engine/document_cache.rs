//! Cache of valid documents.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::document::ValidDocument;
use super::plan::Plan;

/// Memory of the cache, in bytes.
const CAPACITY: u64 = 32 << 20;
/// Memory of a valid document per token, in bytes. Measured: some 210 for fields without aliases, the costliest.
const TOKEN_BYTES: usize = 256;
/// Copies of a document's text: for positions, and apollo-compiler's own. Comments have no tokens.
const TEXTS: usize = 2;
/// Memory of a plan per field, in bytes.
const FIELD_BYTES: usize = 512;
/// Expected number of documents, which sizes the cache's tables.
const EXPECTED: usize = 1024;

/// SHA-256 of a document's text.
pub(super) type Hash = [u8; 32];

/// Parses a hexadecimal hash.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    hex::decode_to_slice(digits, &mut hash).is_ok().then_some(hash)
}

/// A valid document, and the plan of its only operation after its first use.
pub(super) struct Document {
    hash: Hash,
    pub(super) valid: Arc<ValidDocument>,
    pub(super) plan: Option<Arc<Plan>>,
}

#[derive(Clone)]
struct Memory;

impl Weighter<Hash, Arc<Document>> for Memory {
    fn weight(&self, _: &Hash, document: &Arc<Document>) -> u64 {
        let plan = document.plan.as_ref().map_or(0, |plan| (plan.size + 1) * FIELD_BYTES);
        let text = document.valid.lines.text().len() * TEXTS;
        ((document.valid.tokens + 1) * TOKEN_BYTES + text + plan) as u64
    }
}

/// Recently used documents by hash, shared by all clients: a hash identifies one document.
pub(super) struct DocumentCache(Cache<Hash, Arc<Document>, Memory>);

impl DocumentCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, CAPACITY, Memory))
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<Document>> {
        self.0.get(hash)
    }

    pub(super) fn insert(&self, hash: Hash, valid: ValidDocument) -> Arc<Document> {
        let document = Arc::new(Document { hash, valid: Arc::new(valid), plan: None });
        self.0.insert(hash, Arc::clone(&document));
        document
    }

    /// Replaces a document by one with its plan.
    pub(super) fn insert_plan(&self, document: &Document, plan: &Arc<Plan>) {
        let hash = document.hash;
        let valid = Arc::clone(&document.valid);
        self.0.insert(hash, Arc::new(Document { hash, valid, plan: Some(Arc::clone(plan)) }));
    }
}
