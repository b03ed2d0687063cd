//! Configuration of erlmcp: YAML in, checked types out.
//!
//! Start at [`load`]: it reads a folder (or the embedded default), reports everything that is wrong at once, and gives
//! a complete [`Config`]. [`schema`], [`show`] and [`diff`] serve the command line; [`effects`] says where each key acts.
//! This crate starts nothing, resolves nothing and depends on none of the others.
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

pub use files::leaves as keys;
pub use load::{Env, Loaded, Source, load};
pub use model::Config;
pub use report::{Diagnostic, Report, Severity};
pub use schema::schema;
pub use secret::{MASK, Secret};
pub use show::{Change, diff, show, show_files, show_json};
pub use values::{Address, CpuPlan, CpuWish};
