//! Processes of a suite: started with captured logs, polled with deadlines, ended for certain, and read through /proc.
//!
//! Owns the polling. The processes, free ports and readers are the benchmarks' own ([`erlmcp_bench::child`],
//! [`erlmcp_bench::ports`], [`erlmcp_bench::procfs`]), so that tests and measurements see the same.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use erlmcp_bench::child::{Server, ServerSpec};
pub use erlmcp_bench::ports::free_addr;
pub use erlmcp_bench::procfs;

/// Polls until `condition` holds; use it where no process is the one that is waited for.
///
/// # Errors
/// When it does not hold within `limit`; the error names `what`.
pub fn poll(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("no {what} within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_ends_at_its_deadline() {
        let mut looks = 0;
        poll("third look", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        })
        .unwrap();
        let late = poll("moon", Duration::from_millis(20), || false).unwrap_err().to_string();
        assert!(late.contains("moon"), "{late}");
    }
}
