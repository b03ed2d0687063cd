//! Reads the host and plans which processors do what.
//!
//! Owns probe (reads `/proc` and `/sys`) and plan (pure). Never writes anything to the host, and pins nothing: threads are
//! pinned by whoever runs them, to what the plan says.
//!
//! # Decisions
//! - The usable processors are affinity ∩ cpuset ∩ online. Affinity alone would do while the kernel keeps it inside the
//!   cpuset; the three are read separately so that `tune cpus` can say which of them took a processor away.
//! - A cpuset of cgroup v1 and v2 may both exist (hybrid hosts); each one found narrows the set. What cannot be read
//!   narrows nothing, except affinity and an empty result, which are errors.
#![forbid(unsafe_code)]

pub mod cpu_list;
pub mod plan;
pub mod probe;
