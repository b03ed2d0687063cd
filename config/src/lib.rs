//! Configuration of erlmcp: YAML in, checked types out.
//!
//! Start at [`load`]: it reads a folder (or the embedded default), reports everything that is wrong at once, and gives
//! a complete [`Config`]. [`schema`], [`show`] and [`diff`] serve the command line; [`effects`] says where each key acts.
//! This crate starts nothing, resolves nothing and depends on none of the others.
//!
//! # Decisions
//! - **Shapes instead of a raw serde layer.** `serde` stops at the first error and knows no positions once values are
//!   deserialized. One description per section (`shape`) gives the walk that reports all errors at once, the defaults, the
//!   JSON Schema and the list of keys; tests hold it against the types over sampled values.
//! - **`saphyr-parser`, not a serde YAML crate.** Its events carry positions; it has no `unsafe` of its own and brings one
//!   small crate. Our own tree refuses anchors, aliases, tags and repeated keys, so there is no alias bomb to limit.
//!   `serde-saphyr` is a deserializer (first error ends it), `marked-yaml` and `saphyr` build whole trees that we would
//!   bound afterwards.
//! - **A refused value is replaced and tainted**, so that checks between keys still run and say nothing about it.
//! - **Types by key, not by spelling.** `"8080"` in quotes is no integer, but what `${VAR}` put in may be one; `no` and `on`
//!   are words, never booleans.
//! - **`MB` is 10⁶, `MiB` and `Mi` are 2²⁰** bytes, as in SI and Kubernetes. Durations end at ten years.
//! - **`runtime.yaml` has its keys at the top** and the prefix `runtime.` in paths, so that its `chaos.armed` and `cluster`
//!   never meet keys of other files.
//! - **A route allows loopback origins by default** and every request without `Origin`: MCP servers must check it, and a
//!   newcomer's browser tools run on loopback.
//! - **`vm.config` changes nothing.** Its entries are noted with the value of their counterpart that is in force.
//! - **Without `pool.yaml`, an upstream connection serves 100,000 requests**, not the 100 of the cluster's file: a new
//!   connection every hundred requests is a choice that an operator makes, not a default.
//! - **TLS and compression are off without their file**; with the cluster's `network.yaml` they are on, as it says.
//! - **One secret type** masks itself in `Debug`, `Display` and serialization; messages quote the file's text, never what
//!   the environment put in its place.
#![forbid(unsafe_code)]

mod checks;
#[cfg(test)]
mod consistency;
pub mod effects;
mod files;
mod load;
pub mod metrics;
pub mod model;
mod overrides;
mod places;
pub mod print;
mod report;
mod scalar;
pub mod scenario;
mod schema;
mod secret;
mod shape;
mod show;
mod texts;
pub mod units;
pub mod values;
pub mod vm;
mod walk;
mod yaml;

pub use checks::NO_EFFECT_YET;
pub use files::leaves as keys;
pub use load::{Env, Loaded, Source, load};
pub use model::Config;
pub use report::{Diagnostic, Report, Severity};
pub use schema::schema;
pub use secret::{MASK, Secret};
pub use show::{Change, diff, show, show_files, show_json};
pub use values::{Address, CpuPlan, CpuWish};
