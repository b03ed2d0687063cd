//! What must hold between keys and between files, once each key is right by itself.

use crate::model::Config;
use crate::places::Places;
use crate::report::Diagnostic;

/// Runs every check over a complete configuration.
pub(crate) fn run(_config: &Config, _places: &Places, _out: &mut Vec<Diagnostic>) {}
