//! `vm.config`: what an Erlang node would have read. Nothing of it is in force here; each entry's counterpart in
//! `runtime.yaml` is named, with the value that holds.
//!
//! Owns the table of counterparts. The terms are read in `term`, which knows nothing of their meaning.

mod term;

use term::{At, Term};

/// The entries of `vm.config`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VmConfig {
    /// In the order of the file.
    pub entries: Vec<VmEntry>,
}

/// One `{key, value}` of an application.
#[derive(Clone, Debug, PartialEq)]
pub struct VmEntry {
    /// The application, such as `kernel`.
    pub application: String,
    /// The parameter.
    pub name: String,
    /// The term, as Erlang would print it.
    pub value: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl VmEntry {
    /// `vm.kernel.net_ticktime`.
    pub fn key(&self) -> String {
        format!("vm.{}.{}", self.application, self.name)
    }

    /// What stands for it here, if it is known.
    pub fn counterpart(&self) -> Option<&'static Counterpart> {
        COUNTERPARTS.iter().find(|known| known.application == self.application && known.name == self.name)
    }
}

/// What stands for an entry here.
#[derive(Clone, Copy, Debug)]
pub struct Counterpart {
    /// The application.
    pub application: &'static str,
    /// The parameter.
    pub name: &'static str,
    /// Key of `runtime.yaml`; empty when there is nothing to set.
    pub key: &'static str,
    /// Why it is that one, or why there is none.
    pub why: &'static str,
}

const fn row(
    application: &'static str,
    name: &'static str,
    key: &'static str,
    why: &'static str,
) -> Counterpart {
    Counterpart { application, name, key, why }
}

/// Every entry that the cluster's `vm.config` may have, and what stands for it.
pub const COUNTERPARTS: &[Counterpart] = &[
    row("kernel", "inet_dist_listen_min", "runtime.cluster.address", "gateways meet on one port"),
    row("kernel", "inet_dist_listen_max", "runtime.cluster.address", "gateways meet on one port"),
    row("kernel", "net_ticktime", "runtime.cluster.peer_timeout", "silence after which a gateway is gone"),
    row("kernel", "dist_auto_connect", "", "a gateway connects to its peers anew after every loss"),
    row("kernel", "scheduler_width", "runtime.housekeeping", "the control plane's threads"),
    row("kernel", "num_schedulers_online", "runtime.cpus", "one shard on each CPU named there"),
    row("kernel", "fullsweep_after", "", "there is no garbage collector"),
    row("erl_distribution", "max_ports", "runtime.descriptor_limit", "a port is a descriptor"),
    row(
        "erl_distribution",
        "dist_buffer_size",
        "runtime.cluster.queue_bytes_max",
        "kilobytes there, bytes here",
    ),
    row("erl_distribution", "dist_node_name", "runtime.cluster.name", "this gateway's name"),
    row(
        "erl_distribution",
        "dist_net_ticktime",
        "runtime.cluster.peer_timeout",
        "silence after which a gateway is gone",
    ),
    row("sasl", "sasl_error_logger", "runtime.log.path", "the process has one log"),
    row("sasl", "errlog_type", "runtime.log.level", "what is logged at least"),
    row("sasl", "error_logger_mf_dir", "runtime.log.path", "the process has one log"),
    row("sasl", "error_logger_mf_maxbytes", "runtime.log.file_bytes_max", "after which a file is turned"),
    row("sasl", "error_logger_mf_maxfiles", "runtime.log.files_max", "files kept"),
];

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VmError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
}

/// Reads `[{application, [{name, value}, …]}, …]`, with or without the full stop at the end.
pub(crate) fn read(text: &str) -> Result<VmConfig, VmError> {
    let (root, at) = term::parse(text)?;
    let refuse = |at: At, what: &str| VmError { line: at.line, column: at.column, what: what.to_owned() };
    let Term::List(applications) = root else { return Err(refuse(at, "wanted a list of applications")) };
    let mut entries = Vec::new();
    for (application, at) in applications {
        let Some((application, Term::List(parameters))) = pair(&application) else {
            return Err(refuse(at, "wanted `{application, [{key, value}, ...]}`"));
        };
        for (parameter, at) in parameters {
            let Some((name, value)) = pair(parameter) else {
                return Err(refuse(*at, "wanted `{key, value}`"));
            };
            entries.push(VmEntry {
                application: application.to_owned(),
                name: name.to_owned(),
                value: value.to_string(),
                line: at.line,
                column: at.column,
            });
        }
    }
    Ok(VmConfig { entries })
}

/// A tuple of an atom and a term.
fn pair(term: &Term) -> Option<(&str, &Term)> {
    let Term::Tuple(parts) = term else { return None };
    match parts.as_slice() {
        [(Term::Atom(name), _), (value, _)] => Some((name, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read_and_every_entry_has_a_counterpart() {
        let config = read(include_str!("../../cluster/vm.config")).unwrap();
        assert_eq!(config.entries.len(), COUNTERPARTS.len());
        for (entry, known) in config.entries.iter().zip(COUNTERPARTS) {
            assert_eq!((entry.application.as_str(), entry.name.as_str()), (known.application, known.name));
            assert!(entry.counterpart().is_some());
        }
        let logger = config.entries.iter().find(|entry| entry.name == "sasl_error_logger").unwrap();
        assert_eq!(logger.value, r#"{file,"/var/log/erlmcp/sasl.log"}"#);
        assert_eq!((logger.line, logger.column), (21, 5));
    }

    #[test]
    fn other_terms_are_refused_at_their_place() {
        let error = read("[\n {kernel, 5}\n].").unwrap_err();
        assert_eq!((error.line, error.column), (2, 2));
        let error = read("[{kernel, [{a, 1}, b]}].").unwrap_err();
        assert_eq!((error.line, error.column, error.what.as_str()), (1, 20, "wanted `{key, value}`"));
        assert!(read("{}").is_err() && read("").is_err());
    }
}
