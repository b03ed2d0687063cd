//! `erlmcp bench` as a process: its two outputs apart, a time limit, signals.
//!
//! Owns the running and the reading of its JSON. Never decides what a suite expects of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Context;

/// Longest run of a suite here, with its warm-up and its end.
const LIMIT: Duration = Duration::from_secs(40);
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// A command under way. Dropping it kills it.
pub(super) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    line: String,
}

/// How it ended.
pub(super) struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
    line: String,
}

/// Starts `erlmcp ARGS`; its outputs go to files called `name`.
pub(super) fn start(context: &Context, name: &str, args: &[&str]) -> Result<Running> {
    start_within(context, name, &[], args)
}

/// The same behind other words, such as `taskset -c 0`.
pub(super) fn start_within(
    context: &Context,
    name: &str,
    wrapper: &[&str],
    args: &[&str],
) -> Result<Running> {
    let mut words: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
    words.push(context.binary.clone().into());
    words.extend(args.iter().map(OsString::from));
    let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let (program, args) = words.split_first().context("compose a command")?;
    let (out, err) =
        (context.scratch.join(format!("{name}.out")), context.scratch.join(format!("{name}.err")));
    let mut command = Command::new(program);
    command.args(args).current_dir(&context.scratch).stdin(Stdio::null());
    let child = command.stdout(File::create(&out)?).stderr(File::create(&err)?).spawn();
    Ok(Running { child: child.with_context(|| format!("start {line}"))?, out, err, line })
}

/// Runs it to its end.
pub(super) fn run(context: &Context, name: &str, args: &[&str]) -> Result<Ended> {
    start(context, name, args)?.wait()
}

impl Running {
    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.line))
    }

    /// What it has written to standard error so far.
    pub(super) fn errors(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) -> Result<Ended> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().context("wait")? {
                let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                return Ok(Ended {
                    code: status.code(),
                    out: read(&self.out)?,
                    err: read(&self.err)?,
                    line: self.line.clone(),
                });
            }
            if Instant::now() >= deadline {
                bail!("`{}` is not done within {LIMIT:?}: {}", self.line, self.errors());
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its standard output, being one JSON document and nothing else.
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("read the JSON of {self}"))
    }

    /// Holds the exit code against `code`.
    pub(super) fn exits(&self, code: i32) -> Result<()> {
        ensure!(self.code == Some(code), "exit code {:?} instead of {code}: {self}", self.code);
        Ok(())
    }

    /// All of these stand on standard error.
    pub(super) fn says(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            ensure!(self.err.contains(part), "nothing of `{part}`: {self}");
        }
        Ok(())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head: String = self.out.chars().take(1500).collect();
        write!(f, "`{}` (exit {:?})\nout: {head}\nerr: {}", self.line, self.code, self.err)
    }
}

/// The number at a JSON pointer.
pub(super) fn number(json: &Value, pointer: &str) -> Result<f64> {
    json.pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("no number at {pointer} in {json:.400}"))
}

/// The verdict of a report's certificate.
pub(super) fn verdict(json: &Value) -> Result<&str> {
    json.pointer("/certificate/verdict").and_then(Value::as_str).context("no verdict in the report")
}

/// The reason of a failed check, if that check failed.
pub(super) fn failed_check(json: &Value, name: &str) -> Option<String> {
    let checks = json.pointer("/certificate/checks")?.as_array()?;
    let check = checks.iter().find(|check| check["name"] == name)?;
    check["reason"].as_str().map(str::to_owned)
}
