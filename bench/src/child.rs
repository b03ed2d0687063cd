//! A server under test as a child process: started with its output in a file, and ended for certain.
//!
//! Owns the process until it is dropped: `Drop` kills by its pid and waits, so that no run leaves a server behind.
//! Never kills by name and never signals a pid that it has already waited for.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Pause between two looks at a condition.
const POLL_PAUSE: Duration = Duration::from_millis(10);
/// How much of a log is quoted in an error, bytes.
const LOG_TAIL_BYTES: usize = 4096;

/// Why a child could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program could not be started.
    #[error("cannot start `{command}`: {cause}")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The program ended although it should run.
    #[error("`{command}` ended early ({status}); {log}")]
    Ended {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its output is, and the end of it.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("`{command}`: no {what} within {limit:?}; {log}")]
    Late {
        /// The command line.
        command: String,
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// Where its output is, and the end of it.
        log: String,
    },
    /// The system refused something else.
    #[error("`{command}`: {cause}")]
    System {
        /// The command line.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// A command that becomes a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerSpec {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cpus: Option<String>,
    dir: Option<PathBuf>,
}

impl ServerSpec {
    /// `program` without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().into(), args: Vec::new(), env: Vec::new(), cpus: None, dir: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one environment variable beside the inherited ones.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Confines the process to these processors from its first instruction (`taskset -c LIST`).
    #[must_use]
    pub fn cpus(mut self, list: impl Into<String>) -> Self {
        self.cpus = Some(list.into());
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The command line as a person would type it.
    pub fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Starts the process; standard output and error go to the file `log`, which is made anew.
    ///
    /// # Errors
    /// [`ChildError::Start`] when the log or the process cannot be made.
    pub fn start(&self, log: impl Into<PathBuf>) -> Result<Server, ChildError> {
        let log = log.into();
        let start = |cause| ChildError::Start { command: self.line(), cause };
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(start)?;
        }
        let out = File::create(&log).map_err(start)?;
        let err = out.try_clone().map_err(start)?;
        let mut command = match &self.cpus {
            Some(list) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(list).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(start)?;
        Ok(Server { line: self.line(), child, log, ended: None })
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    line: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Server {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything that it has printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ChildError> {
        if self.ended.is_none() {
            let seen = self.child.try_wait();
            self.ended = seen.map_err(|cause| ChildError::System { command: self.line.clone(), cause })?;
        }
        Ok(self.ended)
    }

    /// Sends `signal`; does nothing when the process has been waited for.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ChildError> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = pid.map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|cause| ChildError::System { command: self.line.clone(), cause: cause.into() })
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// [`ChildError::Late`] when it is still there after `limit` (it is then killed by `Drop`).
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, ChildError> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// SIGKILL, then waits: nothing of the process is left when this returns.
    ///
    /// # Errors
    /// When the system cannot say how it ended.
    pub fn kill(&mut self) -> Result<ExitStatus, ChildError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let system = |cause| ChildError::System { command: self.line.clone(), cause };
        self.child.kill().map_err(system)?;
        let status = self.child.wait().map_err(system)?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`ChildError::Late`] when it has not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ChildError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.late("end", limit));
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Polls until `condition` holds.
    ///
    /// # Errors
    /// [`ChildError::Ended`] when the process ends first, [`ChildError::Late`] after `limit`; both quote its log.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<(), ChildError> {
        let deadline = Instant::now() + limit;
        loop {
            if condition(self) {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                return Err(ChildError::Ended { command: self.line.clone(), status, log: self.quote() });
            }
            if Instant::now() >= deadline {
                return Err(self.late(what, limit));
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Polls until `addr` accepts a connection.
    ///
    /// # Errors
    /// As [`Self::wait_for`].
    pub fn wait_for_port(&mut self, addr: SocketAddr, limit: Duration) -> Result<(), ChildError> {
        self.wait_for(&format!("listener on {addr}"), limit, |_| {
            TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_ok()
        })
    }

    fn late(&self, what: &str, limit: Duration) -> ChildError {
        ChildError::Late { command: self.line.clone(), what: what.to_owned(), limit, log: self.quote() }
    }

    fn quote(&self) -> String {
        let output = self.output();
        let start = output.len().saturating_sub(LOG_TAIL_BYTES);
        let start = (start..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(0);
        format!("end of its log {}:\n{}", self.log.display(), &output[start..])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Children of a server (worker processes) end with it only when it ends by itself: ask first.
        let asked = self.signal(Signal::TERM).is_ok() && self.wait(Duration::from_secs(2)).is_ok();
        if !asked {
            // Nothing to report to: a failure here means that the process is already gone.
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("erlmcp-child-{}-{name}.log", std::process::id()))
    }

    #[test]
    fn output_is_kept_and_an_early_end_quotes_it() {
        let spec = ServerSpec::new("sh").args(["-c", "echo ready; echo broken >&2; exit 3"]);
        let mut server = spec.start(log("early")).unwrap();
        let error = server.wait_for("never", Duration::from_secs(5), |_| false).unwrap_err();
        assert!(matches!(&error, ChildError::Ended { status, .. } if status.code() == Some(3)), "{error}");
        assert!(error.to_string().contains("ready\nbroken"), "{error}");
    }

    #[test]
    fn a_condition_that_never_holds_is_late() {
        let mut server = ServerSpec::new("sleep").args(["60"]).start(log("late")).unwrap();
        let error = server.wait_for("miracle", Duration::from_millis(50), |_| false).unwrap_err();
        assert!(matches!(error, ChildError::Late { ref what, .. } if what == "miracle"), "{error}");
    }

    #[test]
    fn drop_ends_the_process_even_when_it_ignores_sigterm() {
        let spec = ServerSpec::new("sh").args(["-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]);
        let mut server = spec.start(log("drop")).unwrap();
        server.wait_for("up", Duration::from_secs(5), |server| server.output().contains("up")).unwrap();
        let pid = server.pid();
        drop(server);
        assert!(!crate::procfs::is_alive(pid));
    }

    #[test]
    fn terminate_reports_how_it_ended() {
        let spec =
            ServerSpec::new("sh").args(["-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"]);
        let mut server = spec.start(log("term")).unwrap();
        server.wait_for("up", Duration::from_secs(5), |server| server.output().contains("up")).unwrap();
        assert_eq!(server.terminate(Duration::from_secs(5)).unwrap().code(), Some(7));
        assert_eq!(server.kill().unwrap().code(), Some(7));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = ServerSpec::new("no-such-program-here").start(log("missing")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }
}
