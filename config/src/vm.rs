//! `vm.config`: what an Erlang node would have read.

/// The entries of `vm.config`. They change nothing here; each one's counterpart is named in a note.
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
}

/// Why a text is no list of terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VmError {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
}

pub(crate) fn read(_text: &str) -> Result<VmConfig, VmError> {
    Ok(VmConfig::default())
}
