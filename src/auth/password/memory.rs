use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::kernel::Memory;

/// Time after which work memory that no hash needs is freed. Allocating it anew costs a tenth of a hash.
const IDLE: Duration = Duration::from_secs(2);

/// Work memory of hashes for reuse, as fresh pages cost a tenth of the time of a hash.
#[derive(Clone)]
pub(super) struct MemoryPool {
    shared: Arc<Shared>,
    _reaper: Arc<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Memory with the time of its last use, the latest last.
    idle: Mutex<Vec<(Instant, Memory)>>,
    returned: Notify,
}

impl MemoryPool {
    /// Creates an empty pool; must be called on a tokio runtime.
    pub(super) fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let reaper = tokio::spawn(Arc::clone(&shared).free_idle());
        Self { shared, _reaper: Arc::new(AbortOnDropHandle::new(reaper)) }
    }

    /// Does work with the memory used last, or with new memory if all is in use.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Memory) -> R) -> R {
        let memory = self.shared.idle.lock().pop();
        let mut memory = memory.map(|(_, memory)| memory).unwrap_or_default();
        let result = work(&mut memory);
        self.shared.idle.lock().push((Instant::now(), memory));
        self.shared.returned.notify_one();
        result
    }
}

impl Shared {
    async fn free_idle(self: Arc<Self>) {
        loop {
            self.returned.notified().await;
            while !self.idle.lock().is_empty() {
                sleep(IDLE).await;
                self.idle.lock().retain(|(used, _)| used.elapsed() < IDLE);
            }
        }
    }
}
