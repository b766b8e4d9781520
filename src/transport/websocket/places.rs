use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

/// The sockets of this process, and how many more there may be.
pub(in crate::transport) struct Sockets {
    max: usize,
    max_per_user: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    anonymous: usize,
    by_user: HashMap<Uuid, usize>,
}

impl Sockets {
    pub(in crate::transport) fn new(max: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_user, open: Mutex::default() })
    }

    /// A place for another socket, if there is one. Half of them are kept for those who say who they are.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.all < self.max && open.anonymous < self.max.div_ceil(2)).then(|| {
            open.all += 1;
            open.anonymous += 1;
            Place { sockets: Arc::clone(self), user: None }
        })
    }
}

/// A socket's place, free again when dropped.
pub(super) struct Place {
    sockets: Arc<Sockets>,
    user: Option<Uuid>,
}

impl Place {
    /// Says whose socket it is; whether that user may have another one.
    pub(super) fn belongs_to(&mut self, user: Uuid) -> bool {
        let mut open = self.sockets.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.by_user.entry(user).or_default();
        let free = *count < self.sockets.max_per_user;
        if free {
            *count += 1;
            self.user = Some(user);
            open.anonymous -= 1;
        }
        free
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(user) = self.user else {
            open.anonymous -= 1;
            return;
        };
        if let Some(count) = open.by_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                open.by_user.remove(&user);
            }
        }
    }
}
