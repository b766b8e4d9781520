use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How exactly it is kept when a session was last used.
const EVERY: TimeDelta = TimeDelta::minutes(1);

/// When sessions were last used, gathered here so that a request does not cost a write.
#[derive(Default)]
pub struct LastSeen(Mutex<HashMap<Uuid, Mark>>);

struct Mark {
    at: DateTime<Utc>,
    stored: bool,
}

impl LastSeen {
    /// Notes that a session is in use.
    pub(super) fn mark(&self, session_id: Uuid, now: DateTime<Utc>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.entry(session_id).or_insert(Mark { at: now, stored: false });
        if mark.stored && now - mark.at >= EVERY {
            *mark = Mark { at: now, stored: false };
        }
    }

    /// Hands out what has to be stored.
    pub(crate) fn take(&self, now: DateTime<Utc>) -> Vec<(Uuid, DateTime<Utc>)> {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        marks.retain(|id, mark| {
            if !mark.stored {
                taken.push((*id, mark.at));
                mark.stored = true;
            }
            now - mark.at < EVERY
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_stored_once_a_minute_however_often_it_is_used() {
        let (seen, id, start) = (LastSeen::default(), Uuid::from_u128(1), DateTime::UNIX_EPOCH);
        let mut stored = Vec::new();
        for second in 0..180 {
            let now = start + TimeDelta::seconds(second);
            seen.mark(id, now);
            stored.extend(seen.take(now).iter().map(|(_, at)| (*at - start).num_seconds()));
        }
        assert_eq!(stored, [0, 60, 120]);
    }
}
