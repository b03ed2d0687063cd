//! Writes the access log: batches from the shards in, JSON lines out, on a thread of its own.
//!
//! Owns the feeds and the output. Never makes a shard wait: a batch goes back as soon as it is formatted, before
//! anything is written, and what cannot be written is counted and dropped.

mod format;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use erlmcp_config::model::runtime::LogField;
use erlmcp_dataplane::AccessFeed;
use erlmcp_ring::lane::TryRecvError;

use crate::control::Control;
use crate::jitter;
use crate::supervise::{TaskState, lock};

pub use format::Formatter;

/// Between two looks at the feeds while records come. A shard has 32 batches: at 150,000 records a second they last
/// for 60 ms.
const TICK_BUSY: Duration = Duration::from_millis(10);
/// The same while nothing comes.
const TICK_IDLE: Duration = Duration::from_millis(50);
/// Formatted bytes that are written at once.
const WRITE_BYTES: usize = 256 * 1024;
/// How long an output that takes nothing is tried before its bytes are dropped.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// Between two tries.
const WRITE_RETRY_WAIT: Duration = Duration::from_millis(5);
/// How long the last records may take to be written when the process ends.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// What is written where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A file, or standard output.
    pub path: Option<std::path::PathBuf>,
    /// In this order.
    pub fields: Vec<LogField>,
}

/// Opens an output for appending.
///
/// # Errors
/// What the system says.
pub fn open(settings: &Settings) -> io::Result<File> {
    match &settings.path {
        Some(path) => OpenOptions::new().create(true).append(true).open(path),
        None => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
    }
}

/// The writer's thread, as the rest of the process sees it.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Settings to change to; the output is opened anew even when they are the same (a rotated file).
    next: Mutex<Option<Settings>>,
    stop: AtomicBool,
}

impl AccessLog {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        control: Arc<Control>,
        feeds: Vec<AccessFeed>,
        settings: Settings,
        output: File,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let state = control.supervisor.state("access_log");
        let mut writer = Writer {
            control,
            feeds,
            formatter: Formatter::new(settings.fields),
            output,
            lines: Vec::with_capacity(WRITE_BYTES + 64 * 1024),
            shared: Arc::clone(&shared),
            state: Arc::clone(&state),
        };
        let body = move || {
            let mut failures = 0;
            state.set_up(true);
            // A panic costs the lines of one round; feeds and output live on.
            while std::panic::catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                state.count_panic();
                state.count_restart();
                tracing::error!(task = "access_log", "control-plane task ended; it is started again");
                std::thread::sleep(jitter::backoff(
                    Duration::from_millis(100),
                    Duration::from_secs(10),
                    failures,
                ));
                failures = failures.saturating_add(1);
                writer.lines.clear();
            }
        };
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(body)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Opens the output anew, with these settings, at the next round.
    pub fn reopen(&self, settings: Settings) {
        *lock(&self.shared.next) = Some(settings);
    }

    /// Writes what is left and ends the thread, at most within [`FLUSH_LIMIT`]. False when it did not end.
    pub fn finish(&self) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        let Some(thread) = lock(&self.thread).take() else { return true };
        thread.thread().unpark();
        let deadline = Instant::now() + FLUSH_LIMIT;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_ok()
    }
}

struct Writer {
    control: Arc<Control>,
    feeds: Vec<AccessFeed>,
    formatter: Formatter,
    output: File,
    lines: Vec<u8>,
    shared: Arc<Shared>,
    state: Arc<TaskState>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let stopping = self.shared.stop.load(Ordering::Acquire);
            self.state.panic_if_asked();
            self.reopen();
            let took = self.round();
            if stopping && !took {
                return;
            }
            if !stopping {
                std::thread::park_timeout(if took { TICK_BUSY } else { TICK_IDLE });
            }
        }
    }

    fn reopen(&mut self) {
        let Some(settings) = lock(&self.shared.next).take() else { return };
        match open(&settings) {
            Ok(output) => self.output = output,
            Err(error) => {
                self.control.counters.access_write_errors.add(1);
                tracing::error!(path = ?settings.path, %error, "cannot open the access log; the old file stays in use");
            }
        }
        self.formatter = Formatter::new(settings.fields);
    }

    /// Formats and writes all that waits. Whether there was anything.
    fn round(&mut self) -> bool {
        let names = self.control.publisher.names();
        let mut took = false;
        for index in 0..self.feeds.len() {
            loop {
                let feed = &mut self.feeds[index];
                let mut batch = match feed.full.try_recv() {
                    Ok(batch) => batch,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                };
                took = true;
                if let Some(lines) = self.control.access_lines.get(feed.shard) {
                    lines.add(batch.len() as u64);
                }
                for record in batch.iter() {
                    self.formatter.line(&record, feed.shard, &names, &mut self.lines);
                }
                batch.clear();
                // The lane is as long as the loop; a shard that has ended takes nothing back.
                let _ = feed.empty.try_send(batch);
                if self.lines.len() >= WRITE_BYTES {
                    self.write();
                }
            }
        }
        self.write();
        took
    }

    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let counters = &self.control.counters;
        match write_within(&mut self.output, &self.lines, WRITE_LIMIT) {
            Ok(()) => counters.access_bytes.add(self.lines.len() as u64),
            Err(error) => {
                if counters.access_write_errors.get() == 0 {
                    tracing::error!(%error, "cannot write the access log; lines are dropped and counted");
                }
                counters.access_write_errors.add(1);
            }
        }
        self.lines.clear();
    }
}

/// Writes all, waiting for an output that is not ready (a pipe that somebody made non-blocking) no longer than `limit`.
fn write_within(output: &mut File, mut bytes: &[u8], limit: Duration) -> io::Result<()> {
    let mut deadline = None;
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => (bytes, deadline) = (&bytes[count..], None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + limit) {
                    return Err(error);
                }
                std::thread::sleep(WRITE_RETRY_WAIT);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
