use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::write_position::WritePosition;

/// Replication lag at which a replica is excluded, also for users whose last write it has.
const MAX_LAG: Duration = Duration::from_secs(10);
/// Period in which a replica is asked for its position while it is good enough.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two questions if a read needs a later position than the replica had.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Positions remembered to measure the lag: at ten a second, more than six seconds of writes.
const MAX_MARKS: usize = 64;

/// A replica's progress in the primary's log, by its last answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// True if the replica answered when it was last asked, as a replica.
    trusted: bool,
    replayed: i64,
    asked: Option<Instant>,
    /// Positions that the replica has not reached yet, with the time at which the primary was there; the oldest first.
    marks: VecDeque<(Instant, i64)>,
    /// Time at which the primary was where the replica is now.
    current_as_of: Option<Instant>,
    /// True once the log has told if the replica is used.
    logged: bool,
}

/// A replica's part in a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Use,
    Skip,
    /// This caller has to ask for its position first; others do not.
    Ask,
}

impl Progress {
    /// Decides about a read by the primary's position, which is remembered to measure the lag.
    pub(super) fn decide(&mut self, position: WritePosition) -> Decision {
        self.mark(position.now);
        let usable = self.is_usable(position);
        // A replica that can't become usable by the next commits is not worth a question for each read.
        let hopeless = !self.trusted || self.lag() > MAX_LAG;
        let wait = if usable || hopeless { ASK_EVERY } else { ASK_AGAIN };
        if self.asked.is_none_or(|asked| asked.elapsed() >= wait) {
            self.asked = Some(Instant::now());
            return Decision::Ask;
        }
        if usable { Decision::Use } else { Decision::Skip }
    }

    /// True if the replica has replayed a user's last write and does not lag too much.
    pub(super) fn is_usable(&self, position: WritePosition) -> bool {
        let has_last_write = position.last_write.is_none_or(|needed| self.replayed >= needed);
        self.trusted && has_last_write && !self.is_outdated()
    }

    /// Notes the position that the replica answered, or `None` if it did not answer as one. Returns true if it did.
    pub(super) fn note_answer(&mut self, position: Option<i64>) -> bool {
        let trusted = position.is_some();
        let changed = std::mem::replace(&mut self.trusted, trusted) != trusted;
        if changed || !std::mem::replace(&mut self.logged, true) {
            if trusted {
                tracing::info!("a read replica is used");
            } else {
                tracing::warn!("replica excluded from reads: not answering, or not in recovery");
            }
        }
        if let Some(position) = position {
            self.replayed = position;
            while self.marks.front().is_some_and(|(_, mark)| *mark <= position) {
                self.current_as_of = self.marks.pop_front().map(|(at, _)| at);
            }
        }
        trusted
    }

    /// Excludes the replica until it has answered again.
    pub(super) fn distrust(&mut self) {
        self.trusted = false;
    }

    /// Returns the replication lag, or `None` while the replica is excluded as it does not answer.
    pub(super) fn known_lag(&self) -> Option<Duration> {
        self.trusted.then(|| self.lag())
    }

    fn mark(&mut self, position: i64) {
        let now = Instant::now();
        let newer =
            self.marks.back().is_none_or(|(at, last)| position > *last && now - *at >= ASK_EVERY / 10);
        if position <= self.replayed {
            self.current_as_of = Some(now);
        } else if newer && self.marks.len() < MAX_MARKS {
            self.marks.push_back((now, position));
        }
    }

    fn lag(&self) -> Duration {
        self.marks.front().map_or(Duration::ZERO, |(at, _)| at.elapsed())
    }

    /// True if the replica may lag by more than `MAX_LAG`, or its lag is unknown.
    fn is_outdated(&self) -> bool {
        self.current_as_of.is_none_or(|at| at.elapsed() > MAX_LAG)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The position of a user whose last write is at `last_write`, while the primary is at `now`.
    fn after_write(last_write: i64, now: i64) -> WritePosition {
        WritePosition { last_write: Some(last_write), now }
    }

    fn without_write(now: i64) -> WritePosition {
        WritePosition { last_write: None, now }
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_used_once_it_has_replayed_the_last_write() {
        let mut progress = Progress::default();
        assert_eq!(progress.decide(after_write(100, 100)), Decision::Ask);
        assert!(progress.note_answer(Some(90)));
        assert!(!progress.is_usable(without_write(100)), "its lag is not known yet");
        assert_eq!(progress.decide(after_write(90, 90)), Decision::Use);
        assert_eq!(progress.decide(after_write(100, 100)), Decision::Skip, "asked just before");
        advance(ASK_AGAIN).await;
        assert_eq!(progress.decide(after_write(100, 100)), Decision::Ask);
        progress.note_answer(Some(100));
        assert_eq!(progress.decide(after_write(100, 100)), Decision::Use);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_in_use_is_asked_once_a_second() {
        let mut progress = Progress::default();
        progress.decide(without_write(100));
        progress.note_answer(Some(100));
        assert_eq!(progress.decide(without_write(100)), Decision::Use);
        advance(ASK_EVERY / 2).await;
        assert_eq!(progress.decide(without_write(100)), Decision::Use);
        advance(ASK_EVERY / 2).await;
        assert_eq!(progress.decide(without_write(100)), Decision::Ask);
        assert_eq!(progress.decide(without_write(100)), Decision::Use, "one caller asks");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_does_not_answer_is_asked_once_a_second() {
        let mut progress = Progress::default();
        assert_eq!(progress.decide(without_write(100)), Decision::Ask);
        assert!(!progress.note_answer(None));
        assert_eq!(progress.known_lag(), None);
        advance(ASK_AGAIN).await;
        assert_eq!(progress.decide(without_write(100)), Decision::Skip);
        advance(ASK_EVERY).await;
        assert_eq!(progress.decide(without_write(100)), Decision::Ask);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lag_counts_from_the_oldest_position_that_was_not_reached() {
        let mut progress = Progress::default();
        progress.note_answer(Some(100));
        progress.decide(without_write(100));
        assert_eq!(progress.known_lag(), Some(Duration::ZERO));
        progress.decide(without_write(200));
        advance(SECOND).await;
        progress.decide(without_write(300));
        advance(SECOND).await;
        assert_eq!(progress.known_lag(), Some(SECOND * 2));
        progress.note_answer(Some(250));
        assert_eq!(progress.known_lag(), Some(SECOND));
        progress.note_answer(Some(300));
        assert_eq!(progress.known_lag(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_lags_too_much_is_excluded_and_comes_back() {
        let mut progress = Progress::default();
        progress.decide(without_write(0));
        progress.decide(without_write(100));
        progress.note_answer(Some(50));
        assert!(progress.is_usable(without_write(100)));
        advance(MAX_LAG + SECOND).await;
        assert_eq!(progress.known_lag(), Some(MAX_LAG + SECOND));
        assert!(!progress.is_usable(without_write(100)), "it lags too much");
        progress.note_answer(Some(100));
        assert!(!progress.is_usable(without_write(100)), "the primary may be far ahead by now");
        progress.decide(without_write(100));
        assert!(progress.is_usable(without_write(100)));
        progress.note_answer(None);
        assert!(!progress.is_usable(without_write(100)), "it does not answer");
    }

    #[tokio::test(start_paused = true)]
    async fn positions_are_remembered_ten_times_a_second_at_most() {
        let mut progress = Progress::default();
        for position in 1..=50 {
            progress.decide(without_write(position));
            advance(Duration::from_millis(10)).await;
        }
        assert_eq!(progress.marks.len(), 5);
        for position in 51..=5000 {
            progress.decide(without_write(position));
            advance(ASK_EVERY / 10).await;
        }
        assert_eq!(progress.marks.len(), MAX_MARKS);
    }
}
