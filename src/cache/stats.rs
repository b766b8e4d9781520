use std::sync::atomic::{AtomicU64, Ordering};

/// How often what happened, since the process began. Each read counts once among the first four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads that Redis answered.
    pub hits: u64,
    /// Reads that the database answered, for Redis too.
    pub misses: u64,
    /// Reads that waited for another one of the same in this process.
    pub joined: u64,
    /// Reads that the database answered for itself, as Redis was out of use or another process took too long.
    pub bypassed: u64,
    /// What Redis failed at: too slow, lost, refused, or rubbish in it.
    pub errors: u64,
}

/// The numbers as they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) joined: Counter,
    pub(super) bypassed: Counter,
    pub(super) errors: Counter,
}

impl Counters {
    pub(super) fn read(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.read(),
            misses: self.misses.read(),
            joined: self.joined.read(),
            bypassed: self.bypassed.read(),
            errors: self.errors.read(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
