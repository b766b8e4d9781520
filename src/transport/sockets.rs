use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

/// Open sockets and streams over HTTP of this process, counted against the limits that they share.
pub(super) struct Sockets {
    max: usize,
    max_per_user: usize,
    open: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    anonymous: usize,
    by_user: HashMap<Uuid, usize>,
}

impl Sockets {
    pub(super) fn new(max: usize, max_per_user: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_user, open: Mutex::default() })
    }

    /// Takes a permit for a socket; returns `None` at the limit. Half of the permits are reserved for authenticated users.
    pub(super) fn admit(self: &Arc<Self>) -> Option<SocketPermit> {
        self.take(self.max.div_ceil(2))
    }

    /// Takes a permit for a stream, whose user is known at once; the error is the limit that is reached.
    pub(super) fn admit_stream(self: &Arc<Self>, user: Option<Uuid>) -> Result<SocketPermit, usize> {
        let Some(user) = user else { return self.admit().ok_or(self.max) };
        let mut permit = self.take(self.max).ok_or(self.max)?;
        if permit.assign_to(user) { Ok(permit) } else { Err(self.max_per_user) }
    }

    /// Takes a permit while fewer than `max_anonymous` are anonymous.
    fn take(self: &Arc<Self>, max_anonymous: usize) -> Option<SocketPermit> {
        let mut open = self.open.lock();
        (open.all < self.max && open.anonymous < max_anonymous).then(|| {
            open.all += 1;
            open.anonymous += 1;
            SocketPermit { sockets: Arc::clone(self), user: None }
        })
    }
}

/// Permit of an open socket, returned on drop.
pub(super) struct SocketPermit {
    sockets: Arc<Sockets>,
    user: Option<Uuid>,
}

impl SocketPermit {
    /// Counts the socket for its user; returns false if the user has too many.
    pub(super) fn assign_to(&mut self, user: Uuid) -> bool {
        let mut open = self.sockets.open.lock();
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

impl Drop for SocketPermit {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock();
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
