//! Commands with a time limit.
//!
//! Owns a started command until it has ended: past its limit it and everything below it are ended by pid. Commands stay
//! in this process's group, so that Ctrl-C reaches them. Never kills by name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use erlmcp_bench::procfs;
use rustix::process::{Pid, Signal, kill_process};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 40;

/// Runs a command whose output the reader sees. `Ok(false)` when it fails.
///
/// # Errors
/// When it cannot be started, or is not done within `limit`.
pub fn shown(command: &mut Command, limit: Duration) -> Result<bool> {
    let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("start {}", line(command)))?;
    Ok(wait(child, limit).with_context(|| format!("run {}", line(command)))?.success())
}

/// Runs a command with its output in a file.
///
/// # Errors
/// When it cannot be started, fails, or is not done within `limit`; the error quotes the end of its output.
pub fn logged(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let out = File::create(log).with_context(|| format!("make {}", log.display()))?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    let child = command.spawn().with_context(|| format!("start {}", line(command)))?;
    let status = wait(child, limit).with_context(|| format!("run {}", line(command)))?;
    ensure!(
        status.success(),
        "`{}` failed ({status}); the end of {}:\n{}",
        line(command),
        log.display(),
        tail(log)
    );
    Ok(())
}

/// Runs a command that answers at once and returns what it prints.
///
/// # Errors
/// When it cannot be started, fails, or is not done within a minute.
pub fn output(command: &mut Command) -> Result<String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("start {}", line(command)))?;
    let done = child.wait_with_output().with_context(|| format!("run {}", line(command)))?;
    let errors = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "`{}` failed ({}): {}", line(command), done.status, errors.trim());
    String::from_utf8(done.stdout).with_context(|| format!("read what {} prints", line(command)))
}

/// Ends every process below this one: SIGTERM, and SIGKILL for what is left after a grace time.
pub fn end_children() {
    end(&procfs::family(std::process::id())[1..]);
}

/// The program's place in `PATH`, or in the folders that only root's `PATH` has.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn wait(mut child: Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("wait")? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            end(&procfs::family(child.id()));
            child.wait().context("wait for the killed command")?;
            bail!("not done within {limit:?}");
        }
        sleep(Duration::from_millis(20));
    }
}

fn end(pids: &[u32]) {
    let send = |signal| {
        for pid in pids.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // One that has ended meanwhile is what is wanted.
            let _ = kill_process(pid, signal);
        }
    };
    send(Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while pids.iter().any(|&pid| procfs::is_alive(pid)) {
        if Instant::now() >= deadline {
            send(Signal::KILL);
            return;
        }
        sleep(Duration::from_millis(20));
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_takes_too_long_is_ended_with_its_children() {
        let log = std::env::temp_dir().join(format!("erlmcp-run-{}.log", std::process::id()));
        let error =
            logged(&mut sh("sleep 61 & echo $!; wait"), Duration::from_millis(300), &log).unwrap_err();
        assert!(format!("{error:#}").contains("not done within"), "{error:#}");
        let child: u32 = fs::read_to_string(&log).unwrap().trim().parse().unwrap();
        assert!(!procfs::is_alive(child));
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_failure_quotes_the_end_of_the_output() {
        let log = std::env::temp_dir().join(format!("erlmcp-run-tail-{}.log", std::process::id()));
        let error = logged(&mut sh("seq 1000; echo why >&2; exit 4"), GRACE, &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 4") && error.ends_with("1000\nwhy"), "{error}");
        assert!(!error.contains("\n900\n"), "{error}");
        fs::remove_file(log).unwrap();
        assert!(!shown(&mut sh("exit 1"), GRACE).unwrap());
        assert_eq!(output(&mut sh("echo out")).unwrap(), "out\n");
        assert!(output(&mut sh("echo bad >&2; false")).unwrap_err().to_string().contains("bad"));
    }
}
