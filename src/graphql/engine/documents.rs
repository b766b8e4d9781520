//! Valid documents that are kept for the next request.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::plan::Plan;
use super::validation::ValidDocument;

/// Memory for documents, in bytes.
const CAPACITY: u64 = 32 << 20;
/// Memory of a valid document for each token, in bytes; measured are some 210 with fields without aliases, which cost most.
const TOKEN_BYTES: usize = 256;
/// Copies of a document's text: for positions, and apollo-compiler's own. Comments have no tokens.
const TEXTS: usize = 2;
/// Memory of a plan for each field, in bytes.
const FIELD_BYTES: usize = 512;
/// Documents that are expected; the cache sizes its tables by it.
const EXPECTED: usize = 1024;

/// SHA-256 of a document's text.
pub(super) type Hash = [u8; 32];

/// Reads a hash in hexadecimal.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    if text.len() != 64 {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// A valid document, and the plan of its only operation once that is known.
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

/// Recently used documents, also for requests that name one by its hash. A hash stands for its document alone, so it
/// does not matter which client sent it.
pub(super) struct DocumentCache(Cache<Hash, Arc<Document>, Memory>);

impl DocumentCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, CAPACITY, Memory))
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<Document>> {
        self.0.get(hash)
    }

    pub(super) fn keep(&self, hash: Hash, valid: ValidDocument) -> Arc<Document> {
        let document = Arc::new(Document { hash, valid: Arc::new(valid), plan: None });
        self.0.insert(hash, Arc::clone(&document));
        document
    }

    /// Keeps a document with its plan.
    pub(super) fn keep_plan(&self, document: &Document, plan: &Arc<Plan>) {
        let hash = document.hash;
        let valid = Arc::clone(&document.valid);
        self.0.insert(hash, Arc::new(Document { hash, valid, plan: Some(Arc::clone(plan)) }));
    }
}
