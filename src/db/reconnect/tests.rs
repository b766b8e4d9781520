use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::advance;

use super::*;

const PATIENCE: Duration = Duration::from_secs(18);

/// A server that answers attempts by a script, and by `then` once that has ended.
#[derive(Clone)]
struct Server(Arc<Script>);

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    then: Mutex<Answer>,
    attempts: AtomicUsize,
    /// Attempts under way now, and at most so far.
    current: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Answer {
    Accept,
    AcceptAfter(Duration),
    AcceptAt(Instant),
    Refuse,
    Crowded,
    Silence,
}

impl Server {
    fn new(answers: &[Answer], then: Answer) -> Self {
        Self(Arc::new(Script {
            answers: Mutex::new(answers.iter().copied().collect()),
            then: Mutex::new(then),
            attempts: AtomicUsize::new(0),
            current: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }))
    }

    fn reconnect(&self, patience: Duration) -> Reconnect<usize> {
        let server = self.clone();
        Reconnect::new("the server", patience, move || server.clone().answer().boxed())
    }

    async fn answer(self) -> Result<usize, Error> {
        let script = &self.0;
        let number = script.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let current = script.current.fetch_add(1, Ordering::Relaxed) + 1;
        script.most.fetch_max(current, Ordering::Relaxed);
        let _ended = Ended(script);
        let answer = script.answers.lock().pop_front().unwrap_or(*script.then.lock());
        match answer {
            Answer::Accept => {}
            Answer::AcceptAfter(time) => sleep(time).await,
            Answer::AcceptAt(at) => tokio::time::sleep_until(at).await,
            Answer::Refuse => return Err(Error::Unavailable("refused".into())),
            Answer::Crowded => return Err(Error::Crowded("too many connections".into())),
            Answer::Silence => std::future::pending().await,
        }
        Ok(number)
    }

    fn answers_from_now_on(&self, answer: Answer) {
        *self.0.then.lock() = answer;
    }

    fn attempts(&self) -> usize {
        self.0.attempts.load(Ordering::Relaxed)
    }
}

struct Ended<'a>(&'a Script);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.current.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn all_callers_share_one_probe_of_a_waking_server() {
    let began = Instant::now();
    let server = Server::new(&[], Answer::AcceptAt(began + Duration::from_secs(8)));
    let reconnect = server.reconnect(PATIENCE);
    let callers = join_all((0..100).map(|_| reconnect.connect()));
    let probes = async {
        sleep(Duration::from_millis(7900)).await;
        assert!(server.attempts() <= 1, "{} attempts on a waking server", server.attempts());
        assert_eq!(server.0.most.load(Ordering::Relaxed), 1);
    };
    let (connections, ()) = tokio::join!(callers, probes);
    assert!(connections.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(server.0.most.load(Ordering::Relaxed) <= CONCURRENCY as usize);
    // The probe's own connection is one of theirs.
    assert!(server.attempts() <= 102);
}

#[tokio::test(start_paused = true)]
async fn a_far_server_is_not_taken_for_a_silent_one() {
    let server = Server::new(&[], Answer::AcceptAfter(Duration::from_millis(2500)));
    let reconnect = server.reconnect(PATIENCE);
    for result in join_all((0..5).map(|_| reconnect.connect())).await {
        result.unwrap();
    }
    assert_eq!(server.attempts(), 5);
    assert!(!reconnect.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_slow_login_is_waited_for_by_one_attempt() {
    let server = Server::new(&[], Answer::AcceptAfter(Duration::from_secs(14)));
    let began = Instant::now();
    let reconnect = server.reconnect(PATIENCE);
    let (connection, ()) = tokio::join!(reconnect.connect(), async {
        sleep(ATTEMPT_LIMIT * 2).await;
        assert!(reconnect.is_open(), "away until it answers");
    });
    connection.unwrap();
    assert_eq!(server.attempts(), 1);
    assert_eq!(began.elapsed(), Duration::from_secs(14));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_outlives_its_caller_and_serves_the_next() {
    let slow = Answer::AcceptAfter(Duration::from_secs(8));
    let server = Server::new(&[Answer::Accept, slow, slow], Answer::Refuse);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap();
    for _ in 0..2 {
        assert!(timeout(Duration::from_secs(1), reconnect.connect()).await.is_err());
    }
    sleep(Duration::from_secs(8)).await;
    let found = [reconnect.connect().await.unwrap(), reconnect.connect().await.unwrap()];
    assert_eq!((found[0] + found[1], server.attempts()), (2 + 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_opens_the_breaker_and_the_first_answer_closes_it() {
    let server = Server::new(&[Answer::Accept, Answer::Refuse], Answer::Refuse);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap();
    assert!(reconnect.is_closed());
    let waiting = tokio::spawn({
        let reconnect = reconnect.clone();
        async move { reconnect.connect().await }
    });
    sleep(Duration::from_secs(3)).await;
    assert!(reconnect.is_open());
    server.answers_from_now_on(Answer::Accept);
    waiting.await.unwrap().unwrap();
    assert!(reconnect.is_closed());
}

#[tokio::test(start_paused = true)]
async fn probes_of_a_server_that_refuses_back_off_up_to_a_second() {
    let server = Server::new(&[], Answer::Refuse);
    let began = Instant::now();
    let error = server.reconnect(PATIENCE).connect().await.unwrap_err();
    assert_eq!(error.reason(), "refused");
    assert_eq!(began.elapsed(), PATIENCE);
    // At 50 to 100 % of 0.1, 0.2, 0.4, 0.8, 1, 1 ... seconds.
    assert!((18..=40).contains(&server.attempts()), "{} attempts", server.attempts());
}

#[tokio::test(start_paused = true)]
async fn callers_fail_fast_in_an_outage_longer_than_their_patience() {
    let server = Server::new(&[], Answer::Refuse);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap_err();
    let began = Instant::now();
    for result in join_all((0..10).map(|_| reconnect.connect())).await {
        result.unwrap_err();
    }
    assert_eq!(began.elapsed(), LONGEST_DELAY);
}

#[tokio::test(start_paused = true)]
async fn a_server_lost_in_silence_opens_the_breaker() {
    let server = Server::new(&[Answer::Accept], Answer::Silence);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap();
    let error = reconnect.connect().await.unwrap_err();
    assert_eq!(error.reason(), "no answer");
    assert!(reconnect.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_free_connections_is_not_away() {
    // Crowded at the first look, and later.
    for answers in [&[][..], &[Answer::Accept]] {
        let server = Server::new(answers, Answer::Crowded);
        let reconnect = server.reconnect(PATIENCE);
        if !answers.is_empty() {
            reconnect.connect().await.unwrap();
        }
        let error = reconnect.connect().await.unwrap_err();
        assert!(matches!(error, Error::Crowded(_)), "{error:?}");
        assert!(reconnect.is_closed() && !reconnect.is_open());
        assert_eq!(reconnect.reason(), "too many connections");
    }
}

#[tokio::test(start_paused = true)]
async fn all_callers_back_off_together_from_a_crowded_server() {
    let server = Server::new(&[], Answer::Crowded);
    let reconnect = server.reconnect(PATIENCE);
    let began = Instant::now();
    let call = async || {
        while began.elapsed() < Duration::from_secs(10) {
            assert!(matches!(reconnect.connect().await, Err(Error::Crowded(_))));
            sleep(Duration::from_millis(50)).await;
        }
    };
    join_all((0..100).map(|_| call())).await;
    assert!((9..=25).contains(&server.attempts()), "{} attempts", server.attempts());
    server.answers_from_now_on(Answer::Accept);
    sleep(LONGEST_DELAY).await;
    reconnect.connect().await.unwrap();
    assert_eq!(reconnect.crowding(), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_unused_for_a_time_is_probed_again() {
    let server = Server::new(&[], Answer::Accept);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap();
    sleep(FRESH).await;
    let connections = join_all((0..3).map(|_| reconnect.connect())).await;
    assert!(connections.iter().all(Result::is_ok));
    assert_eq!(server.attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn probes_end_some_time_after_the_last_caller() {
    let server = Server::new(&[], Answer::Refuse);
    let reconnect = server.reconnect(Duration::ZERO);
    reconnect.connect().await.unwrap_err();
    sleep(INTEREST + LONGEST_DELAY).await;
    let attempts = server.attempts();
    sleep(INTEREST).await;
    assert_eq!(server.attempts(), attempts);
    // The next caller starts them again.
    server.answers_from_now_on(Answer::Accept);
    reconnect.connect().await.unwrap_err();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(reconnect.connect().await.unwrap(), attempts + 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_without_a_break_counts_from_the_last_outage() {
    let server = Server::new(&[Answer::Accept, Answer::Refuse, Answer::Refuse], Answer::Accept);
    let reconnect = server.reconnect(PATIENCE);
    let began = Instant::now();
    let interrupted = async {
        reconnect.connect().await.unwrap();
        sleep(Duration::from_secs(4)).await;
        reconnect.connect().await.unwrap();
    };
    tokio::join!(reconnect.closed_for(Duration::from_secs(5)), interrupted);
    assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probed_connection_that_no_caller_collects_is_closed() {
    let server = Server::new(&[], Answer::Accept);
    let reconnect = server.reconnect(PATIENCE);
    // As a readiness check does, which starts a probe and takes no connection.
    assert!(!reconnect.is_closed());
    reconnect.closed_for(Duration::ZERO).await;
    reconnect.discard_unused();
    assert!(!reconnect.0.probe.lock().opened.is_empty(), "fresh");
    advance(FRESH).await;
    reconnect.discard_unused();
    assert!(reconnect.0.probe.lock().opened.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_rarely_asked_for_health_checks_alone() {
    let server = Server::new(&[], Answer::Refuse);
    let reconnect = server.reconnect(Duration::ZERO);
    reconnect.connect().await.unwrap_err();
    let check_for = async |seconds: u32| {
        let before = server.attempts();
        for _ in 0..seconds {
            assert!(reconnect.is_open());
            sleep(Duration::from_secs(1)).await;
        }
        server.attempts() - before
    };
    // The interest of the request ends first.
    sleep(Duration::from_millis(1)).await;
    assert!(check_for(30).await > 20);
    let attempts = check_for(300).await;
    assert!((15..=20).contains(&attempts), "{attempts} attempts");
    // A request is no health check.
    server.answers_from_now_on(Answer::Accept);
    reconnect.connect().await.unwrap_err();
    sleep(Duration::from_millis(1)).await;
    reconnect.connect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_reconnect_opens_nothing() {
    let server = Server::new(&[], Answer::Accept);
    let reconnect = server.reconnect(Duration::ZERO);
    reconnect.close();
    for _ in 0..3 {
        reconnect.connect().await.unwrap_err();
        sleep(LONGEST_DELAY).await;
    }
    assert_eq!(server.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_after_the_close_keeps_nothing_open() {
    let slow = Answer::AcceptAfter(Duration::from_secs(2));
    for answers in [&[slow][..], &[Answer::Accept, slow]] {
        let server = Server::new(answers, Answer::Refuse);
        let reconnect = server.reconnect(PATIENCE);
        if answers.len() > 1 {
            reconnect.connect().await.unwrap();
        }
        assert!(timeout(Duration::from_secs(1), reconnect.connect()).await.is_err());
        reconnect.close();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(server.attempts(), answers.len());
        assert!(reconnect.0.probe.lock().opened.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowded_server_that_goes_away_is_away() {
    let server = Server::new(&[Answer::Crowded], Answer::Refuse);
    let reconnect = server.reconnect(PATIENCE);
    reconnect.connect().await.unwrap_err();
    sleep(LONGEST_DELAY).await;
    reconnect.connect().await.unwrap_err();
    assert_eq!(reconnect.reason(), "refused");
}
