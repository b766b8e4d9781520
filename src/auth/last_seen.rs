use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use uuid::Uuid;

/// Resolution of the time at which a session was last used.
const RESOLUTION: TimeDelta = TimeDelta::minutes(1);

/// Times at which sessions were last used, gathered in memory so that a request costs no write.
#[derive(Default)]
pub(super) struct LastSeen(Mutex<HashMap<Uuid, Mark>>);

struct Mark {
    at: DateTime<Utc>,
    stored: bool,
}

impl LastSeen {
    /// Records that a session is in use.
    pub(super) fn mark(&self, session_id: Uuid, now: DateTime<Utc>) {
        let mut marks = self.0.lock();
        let mark = marks.entry(session_id).or_insert(Mark { at: now, stored: false });
        if mark.stored && now - mark.at >= RESOLUTION {
            *mark = Mark { at: now, stored: false };
        }
    }

    /// Returns true if a session was used on this process within the last two minutes. Not one: the mark of a session in
    /// constant use may be a minute old.
    pub(super) fn is_in_use(&self, session_id: Uuid, now: DateTime<Utc>) -> bool {
        self.0.lock().get(&session_id).is_some_and(|mark| now - mark.at < RESOLUTION * 2)
    }

    /// Returns how long ago the times that are not stored yet were, and counts them as stored. Ages, as the database reckons
    /// with its own clock.
    pub(super) fn take(&self, now: DateTime<Utc>) -> Vec<(Uuid, Duration)> {
        let mut marks = self.0.lock();
        let mut taken = Vec::new();
        marks.retain(|id, mark| {
            if !mark.stored {
                taken.push((*id, (now - mark.at).to_std().unwrap_or_default()));
                mark.stored = true;
            }
            now - mark.at < RESOLUTION
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_in_use_for_two_minutes_after_its_mark_even_if_nothing_is_stored() {
        let seen = LastSeen::default();
        let [used, other] = [1, 2].map(Uuid::from_u128);
        let start = DateTime::UNIX_EPOCH;
        seen.mark(used, start);
        assert!(seen.is_in_use(used, start + TimeDelta::seconds(119)));
        assert!(!seen.is_in_use(used, start + TimeDelta::seconds(120)));
        assert!(!seen.is_in_use(other, start));
    }

    #[test]
    fn a_session_is_stored_once_a_minute_however_often_it_is_used() {
        let seen = LastSeen::default();
        let id = Uuid::from_u128(1);
        let start = DateTime::UNIX_EPOCH;
        let mut stored = Vec::new();
        for second in 0..180 {
            let now = start + TimeDelta::seconds(second);
            seen.mark(id, now);
            stored.extend(seen.take(now).iter().map(|(_, age)| (now - *age - start).num_seconds()));
        }
        assert_eq!(stored, [0, 60, 120]);
    }
}
