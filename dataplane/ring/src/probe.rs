//! Chooses the driver by a functional probe, once per process, and says why when it falls back.
//!
//! The probe makes a ring as a shard would, with buffer rings of the real sizes, and runs a multishot receive and a
//! cancellation over a socket pair: what a kernel announces and what a container lets through are two things.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buffers::{GroupId, Groups};
use crate::config::{DriverChoice, DriverKind, ShardConfig};
use crate::slab::Key;
use crate::stats::RingStats;
use crate::sys;
use crate::table::{Event, Op, from_user_data};
use crate::uring::{Uring, build, setup};

/// How long a step of the probe may take; it needs microseconds.
const STEP_WAIT: Duration = Duration::from_secs(1);

/// What the probe settled; the same for every shard of a process.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The driver.
    pub kind: DriverKind,
    /// Setup flags that this kernel accepts (`IORING_SETUP_*`).
    pub flags: u32,
    /// The kernel ends a multishot receive by itself after a number of bytes (Linux 6.17).
    pub recv_credit: bool,
    /// Why it is epoll although io_uring would have been taken.
    pub fallback: Option<FallbackReason>,
}

/// What the probe tried and how it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FallbackReason {
    /// The step.
    pub what: &'static str,
    /// The operating system's error number, 0 where the step ended in a wrong result.
    pub errno: i32,
    /// What the operator may do.
    pub remedy: &'static str,
}

impl FallbackReason {
    fn new(what: &'static str, errno: i32) -> Self {
        Self { what, errno, remedy: remedy(errno) }
    }

    fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(what, error.raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring: cannot {}", self.what)?;
        match self.errno {
            0 => f.write_str(": wrong result")?,
            errno => write!(f, ": {}", io::Error::from_raw_os_error(errno))?,
        }
        write!(f, "; {}", self.remedy)
    }
}

/// io_uring was demanded and does not work here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeError {
    /// The probe failed.
    #[error("{0}")]
    Unavailable(FallbackReason),
    /// A size is out of its range.
    #[error("shard configuration: {0}")]
    Config(String),
}

/// Chooses the driver.
///
/// # Errors
/// When `choice` is io_uring and it does not work, or when the configuration is out of range.
pub fn choose(choice: DriverChoice, cfg: &ShardConfig) -> Result<Chosen, ProbeError> {
    cfg.check().map_err(ProbeError::Config)?;
    let epoll = |fallback| Chosen { kind: DriverKind::Epoll, flags: 0, recv_credit: false, fallback };
    if choice == DriverChoice::Epoll {
        return Ok(epoll(None));
    }
    // On a thread of its own: a dying ring's last task work interrupts system calls of the thread that made it.
    let outcome = std::thread::scope(|scope| scope.spawn(|| probe(cfg)).join());
    let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (outcome, choice) {
        (Ok(chosen), _) => Ok(chosen),
        (Err(reason), DriverChoice::IoUring) => Err(ProbeError::Unavailable(reason)),
        (Err(reason), _) => Ok(epoll(Some(reason))),
    }
}

fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, \
             and set the sysctl kernel.io_uring_disabled to 0"
        }
        libc::ENOSYS => "the kernel has no io_uring: Linux 6.1 or later is needed",
        libc::ENOMEM => "raise the limit of locked memory (RLIMIT_MEMLOCK, LimitMEMLOCK=)",
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (RLIMIT_NOFILE, LimitNOFILE=)",
        _ => "Linux 6.1 or later is needed; --driver epoll avoids io_uring",
    }
}

fn probe(cfg: &ShardConfig) -> Result<Chosen, FallbackReason> {
    let flags = accepted_flags(|flags| build(flags, cfg.sq_entries, cfg.cq_entries).map(drop))?;
    // Without the credit first: that must work. Each on a ring of its own, so that none sees the other's leftovers.
    exercise(cfg, flags, false)?;
    let recv_credit = exercise(cfg, flags, true).is_ok();
    Ok(Chosen { kind: DriverKind::IoUring, flags, recv_credit, fallback: None })
}

/// The setup flags that the kernel takes: `build` tries them, and those that it does not know are given up, newest
/// first.
fn accepted_flags(mut build: impl FnMut(u32) -> io::Result<()>) -> Result<u32, FallbackReason> {
    let mut flags = setup::ALL;
    let mut order = setup::ORDER.iter();
    loop {
        match build(flags) {
            Ok(()) => return Ok(flags),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match order.next() {
                Some(flag) => flags &= !flag,
                None => return Err(FallbackReason::new("set up a ring", libc::EINVAL)),
            },
            Err(error) => return Err(FallbackReason::os("set up a ring")(error)),
        }
    }
}

/// A ring for the probe and the steps on it.
struct Trial {
    uring: Uring,
    groups: Groups,
    events: Vec<Event>,
}

const KEY: Key = Key { index: 1, generation: 1 };

impl Trial {
    /// Waits for the next completion of `op`.
    fn next(&mut self, op: Op, what: &'static str) -> Result<Event, FallbackReason> {
        let deadline = Instant::now() + STEP_WAIT;
        loop {
            if let Some(at) = self.events.iter().position(|e| from_user_data(e.user_data).0 == op) {
                return Ok(self.events.remove(at));
            }
            if Instant::now() >= deadline {
                return Err(FallbackReason::new(what, libc::ETIMEDOUT));
            }
            let wait = self.uring.wait(Some(Duration::from_millis(10)), &mut self.events, 64);
            wait.map_err(FallbackReason::os(what))?;
        }
    }

    /// Ends everything; the memory goes only when the kernel has let go of it.
    fn end(mut self) {
        self.uring.cancel_all();
        let deadline = Instant::now() + STEP_WAIT;
        while self.uring.in_flight() > 0 && Instant::now() < deadline {
            if self.uring.wait(Some(Duration::from_millis(10)), &mut self.events, 64).is_err() {
                break;
            }
        }
        if self.uring.in_flight() == 0 { self.uring.finish() } else { self.uring.abandon() }
    }
}

fn exercise(cfg: &ShardConfig, flags: u32, credit: bool) -> Result<(), FallbackReason> {
    let ring = build(flags, cfg.sq_entries, cfg.cq_entries).map_err(FallbackReason::os("set up a ring"))?;
    let groups = Groups::new(cfg.small, cfg.large, true).map_err(FallbackReason::os("map buffers"))?;
    let eventfd = sys::eventfd().map_err(FallbackReason::os("make an eventfd"))?;
    let stats = Arc::new(RingStats::default());
    let uring = Uring::new(ring, flags, credit, &groups, eventfd.as_raw_fd(), &stats)
        .map_err(FallbackReason::os("register buffer rings"))?;
    let mut trial = Trial { uring, groups, events: Vec::new() };
    let result = GroupId::FILLED.into_iter().try_for_each(|group| exercise_group(&mut trial, group, credit));
    trial.end();
    result
}

/// Receives twice by one multishot receive, and ends it: by its credit, or by a cancellation.
fn exercise_group(trial: &mut Trial, group: GroupId, credit: bool) -> Result<(), FallbackReason> {
    const RECV: &str = "receive by a multishot receive into a buffer ring";
    const CANCEL: &str = "cancel a multishot receive";
    let (ours, theirs) = sys::socketpair().map_err(FallbackReason::os("make a socket pair"))?;
    trial.uring.recv(KEY, ours.as_raw_fd(), group, 4);
    for (n, text) in [b"ab", b"cd"].into_iter().enumerate() {
        // SAFETY: two readable bytes.
        unsafe { sys::send(theirs.as_raw_fd(), text.as_ptr(), text.len()) }
            .map_err(FallbackReason::os("send on a socket pair"))?;
        let event = trial.next(Op::Recv, RECV)?;
        if event.result < 0 {
            return Err(FallbackReason::new(RECV, -event.result));
        }
        let ends = credit && n == 1;
        let bid = event.buffer().filter(|_| event.result == 2 && event.more() != ends);
        let bid = bid.ok_or_else(|| FallbackReason::new(RECV, 0))?;
        let book = trial.groups[group].book();
        if !book.lease(bid, 2) {
            return Err(FallbackReason::new(RECV, 0));
        }
        trial.groups[group].release(u32::from(bid));
        trial.groups[group].publish();
    }
    if credit {
        return Ok(());
    }
    trial.uring.cancel(Op::CancelRecv, Op::Recv, KEY);
    let canceled = trial.next(Op::CancelRecv, CANCEL)?;
    let ended = trial.next(Op::Recv, CANCEL)?;
    match (canceled.result, ended.result) {
        (result, _) if result < 0 => Err(FallbackReason::new(CANCEL, -result)),
        (_, result) if result == -libc::ECANCELED => Ok(()),
        _ => Err(FallbackReason::new(CANCEL, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use setup::{ALL, COOP_TASKRUN, DEFER_TASKRUN, NO_SQARRAY, SINGLE_ISSUER, SUBMIT_ALL, TASKRUN_FLAG};

    /// A kernel that refuses what it does not know, and what lacks the flag that it needs, as Linux does.
    fn kernel(known: u32) -> impl FnMut(u32) -> io::Result<()> {
        move |flags| {
            let has = |flag| flags & flag != 0;
            let fine = flags & !known == 0
                && (!has(DEFER_TASKRUN) || has(SINGLE_ISSUER))
                && (!has(TASKRUN_FLAG) || has(COOP_TASKRUN | DEFER_TASKRUN));
            if fine { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
        }
    }

    #[test]
    fn each_kernel_gets_all_the_flags_that_it_knows() {
        let since_5_18 = SUBMIT_ALL;
        let since_5_19 = since_5_18 | COOP_TASKRUN | TASKRUN_FLAG;
        let since_6_0 = since_5_19 | SINGLE_ISSUER;
        let since_6_1 = since_6_0 | DEFER_TASKRUN;
        assert_eq!(since_6_1 | NO_SQARRAY, ALL);
        for known in [0, since_5_18, since_5_19, since_6_0, since_6_1, ALL] {
            assert_eq!(accepted_flags(kernel(known)).expect("a ring"), known, "{known:#x}");
        }
    }

    #[test]
    fn what_is_not_about_flags_is_not_tried_again() {
        let mut tries = 0;
        let refused = accepted_flags(|_| {
            tries += 1;
            Err(io::Error::from_raw_os_error(libc::EPERM))
        });
        assert_eq!((refused.expect_err("refused").errno, tries), (libc::EPERM, 1));
        let refused = accepted_flags(|_| Err(io::Error::from_raw_os_error(libc::EINVAL)));
        assert_eq!(refused.expect_err("knows nothing").errno, libc::EINVAL);
    }

    #[test]
    fn this_kernel_takes_each_set_of_flags_that_an_older_one_would_get() {
        let mut flags = ALL;
        for flag in setup::ORDER {
            build(flags, 8, 16).unwrap_or_else(|error| panic!("{flags:#x}: {error}"));
            flags &= !flag;
        }
        assert_eq!(flags, 0);
        build(flags, 8, 16).expect("a ring without flags");
    }
}
