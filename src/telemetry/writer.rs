//! Writes log lines to standard error on a thread of its own: a reader that does not read, such as a stopped `tee`, holds up
//! no request.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a slow reader; further ones are dropped.
const QUEUE: usize = 4096;
/// Time limit at exit for the lines that wait.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// A sender of log lines.
#[derive(Clone)]
pub(super) struct LogWriter {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

impl LogWriter {
    pub(super) fn start() -> io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        thread::Builder::new().name("log".into()).spawn(move || write_all(&queue, &count))?;
        Ok(Self { lines, dropped })
    }

    /// Waits until the lines so far are written, within a time limit.
    pub(super) fn flush(&self) {
        let deadline = Instant::now() + FLUSH_LIMIT;
        let (sender, done) = sync_channel(1);
        let mut message = Message::Flush(sender);
        while let Err(TrySendError::Full(refused)) = self.lines.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = refused;
            thread::sleep(Duration::from_millis(5));
        }
        let _ = done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write_all(queue: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Line(line) => {
                // It may be closed, or on a full disk.
                let _ = io::stderr().write_all(&line);
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody read them in time");
        }
    }
}

impl Write for LogWriter {
    /// Takes one line: the formatter writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
