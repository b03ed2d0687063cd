//! To come.
use super::{Context, Outcome};
pub(super) fn run(_context: &Context) -> anyhow::Result<Outcome> { Ok(Outcome::default()) }
