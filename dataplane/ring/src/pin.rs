//! Threads of shards, pinned to their cores.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread named `name` and, with `cpu`, pins it to that core before `f` runs.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn_shard<R: Send + 'static>(
    name: &str,
    cpu: Option<usize>,
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<JoinHandle<R>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        if let Some(id) = cpu {
            // A core outside the process's set leaves the thread where the system puts it.
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        f()
    })
}
