//! Writes log lines to standard error on a thread of its own: a reader that does not read, such as a stopped `tee`, holds up
//! no request.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a slow reader; further ones are dropped.
const QUEUE: u64 = 4096;
/// Pause after a write. Under load it batches lines, and requests need not wake the thread; the line of an idle service is
/// written at once.
const PAUSE: Duration = Duration::from_millis(5);
/// Capacity of the buffer kept between writes, in bytes.
const KEPT: usize = 64 << 10;
/// Time limit at exit for the lines that wait.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// A handle to the queue of log lines; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    has_lines: Condvar,
    has_written: Condvar,
}

#[derive(Default)]
struct Queue {
    text: Vec<u8>,
    /// Number of lines taken since the start.
    taken: u64,
    /// Number of taken lines that are written.
    written: u64,
    /// Number of lines dropped since the last report.
    dropped: u64,
}

impl LogWriter {
    pub(super) fn start() -> io::Result<Self> {
        let writer = Self::default();
        let shared = Arc::clone(&writer.0);
        thread::Builder::new().name("log".into()).spawn(move || shared.write_all(io::stderr()))?;
        Ok(writer)
    }

    /// Waits until the lines so far are written, within a time limit.
    pub(super) fn flush(&self) {
        let mut queue = self.0.queue.lock();
        let last = queue.taken;
        let is_waiting = |queue: &mut Queue| queue.written < last;
        self.0.has_written.wait_while_until(&mut queue, is_waiting, Instant::now() + FLUSH_LIMIT);
    }
}

impl Shared {
    fn write_all(&self, mut output: impl Write) {
        let mut text = Vec::new();
        loop {
            let mut queue = self.queue.lock();
            self.has_lines.wait_while(&mut queue, |queue| queue.text.is_empty());
            mem::swap(&mut queue.text, &mut text);
            let last = queue.taken;
            drop(queue);
            // It may be closed, or on a full disk.
            let _ = output.write_all(&text);
            text.clear();
            text.shrink_to(KEPT);
            self.finish_write(last);
            thread::sleep(PAUSE);
        }
    }

    fn finish_write(&self, last: u64) {
        let mut queue = self.queue.lock();
        queue.written = last;
        let dropped = mem::take(&mut queue.dropped);
        drop(queue);
        self.has_written.notify_all();
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody read them in time");
        }
    }
}

impl Write for LogWriter {
    /// Takes one line: the formatter writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue.lock();
        if queue.taken - queue.written < QUEUE {
            queue.text.extend_from_slice(line);
            queue.taken += 1;
        } else {
            queue.dropped += 1;
        }
        drop(queue);
        self.0.has_lines.notify_one();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Output that blocks each write until the test receives it.
    struct BlockingOutput(SyncSender<String>);

    impl Write for BlockingOutput {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8(text.to_vec()).unwrap()).map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogWriter, Receiver<String>) {
        let writer = LogWriter::default();
        let shared = Arc::clone(&writer.0);
        let (sender, written) = sync_channel(0);
        thread::spawn(move || shared.write_all(BlockingOutput(sender)));
        (writer, written)
    }

    #[test]
    fn waiting_lines_are_one_write_and_excess_lines_are_dropped() {
        let (mut writer, written) = start();
        let lines: Vec<_> = (0..QUEUE + 7).map(|number| format!("{number}\n")).collect();
        for line in &lines {
            writer.write_all(line.as_bytes()).unwrap();
        }
        let expected = lines[..4096].concat();
        let mut found = written.recv().unwrap();
        if found.len() < expected.len() {
            found += &written.recv().unwrap();
        }
        assert_eq!(found, expected);
        LogWriter::flush(&writer);
        writer.write_all(b"next\n").unwrap();
        assert_eq!(written.recv().unwrap(), "next\n");
    }
}
