//! ^C and SIGTERM for commands that take their time: the first asks for the end, the second ends the process.
//!
//! Owns a thread with the handlers. Commands look at the flag; none of them installs handlers of its own.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use erlmcp_bench::load::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that SIGINT ended, as shells tell it (128 + 2).
const KILLED: i32 = 130;
/// A signal this soon after the first is the same one: wrappers such as timeout(1) and shells with their process
/// groups deliver it twice.
const SECOND_SIGNAL_WAIT: Duration = Duration::from_millis(300);

/// A flag that the first SIGINT or SIGTERM sets; the second ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub(super) fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let flag = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.context("watch for signals")?;
    let handlers = {
        let _inside = runtime.enter();
        handlers().context("watch for signals")?
    };
    let watch = move || runtime.block_on(watch(handlers, &flag));
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).context("watch for signals")?;
    Ok(stop)
}

fn handlers() -> io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
}

async fn watch([mut interrupt, mut terminate]: [Signal; 2], stop: &Stop) {
    let mut began: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        match began {
            None => {
                eprintln!("erlmcp: stopping; what was measured is kept (once more ends at once)");
                stop.stop();
                began = Some(Instant::now());
            }
            Some(began) if began.elapsed() >= SECOND_SIGNAL_WAIT => std::process::exit(KILLED),
            Some(_) => {}
        }
    }
}
