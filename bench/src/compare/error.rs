//! Why there is no comparison.

use std::io;
use std::path::PathBuf;

use super::generator::LoadError;
use super::scenario::Scenario;
use crate::child::ChildError;
use crate::idle::IdleError;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The folder for configuration files and logs cannot be used.
    #[error("cannot use the folder {folder}: {cause}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The fixed-reply upstream is not there.
    #[error("there is no upstream program `hello`; build it: `cargo build --release -p erlmcp-bench`")]
    NoUpstream,
    /// Every server and the generator need a processor that this process may not use.
    #[error("cannot use processor {cpu}: {cause}; choose others")]
    Processor {
        /// The processor.
        cpu: usize,
        /// What the system said.
        cause: io::Error,
    },
    /// A configuration could not be written, or there was no free port.
    #[error("{scenario}: cannot set up a candidate: {cause}")]
    Setup {
        /// The scenario.
        scenario: Scenario,
        /// What the system said.
        cause: io::Error,
    },
    /// The limit on descriptors is too low for the most connections of the plan.
    #[error(
        "{needed} descriptors are needed and {allowed} allowed: raise the hard limit (`ulimit -Hn`), or compare with fewer connections"
    )]
    Descriptors {
        /// For the proxy with the most connections.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// A server did not start or end as it should.
    #[error("{name}: {cause}")]
    Server {
        /// The candidate, or `hello`.
        name: String,
        /// What went wrong.
        cause: ChildError,
    },
    /// The generator failed.
    #[error("{name}: {cause}")]
    Load {
        /// The candidate.
        name: String,
        /// What went wrong.
        cause: LoadError,
    },
    /// A server gave not one reply.
    #[error("{scenario}: {name} gave not one good reply under load; its log is in the comparison's folder")]
    Silent {
        /// The candidate.
        name: String,
        /// The scenario.
        scenario: Scenario,
    },
    /// Errors in a quick comparison, which is there to show that there are none.
    #[error("{scenario}: {count} errors with {name}; its log is in the comparison's folder")]
    Errors {
        /// The candidate.
        name: String,
        /// The scenario.
        scenario: Scenario,
        /// How many.
        count: u64,
    },
    /// Idle streams failed.
    #[error(transparent)]
    Idle(#[from] IdleError),
}
