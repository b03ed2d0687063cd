//! Loads the configuration, at the start and again at every reload, the flags of `run` always on top.
//!
//! Owns the rule that a bad configuration changes nothing. What only a start can change is named, not applied.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use erlmcp_config::model::routes::{CLUSTER, Endpoint, GroupNode};
use erlmcp_config::model::runtime::EmbeddedMode;
use erlmcp_config::{Config, NO_EFFECT_YET, Report, Severity, Source};
use serde::Serialize;

use crate::access_log;
use crate::admin::views::unix_seconds;
use crate::control::Control;
use crate::desired::Desired;
use crate::run::logging;
use crate::short::Flags;
use crate::wish::{self, Terms};

/// Group of the embedded node when it is served beside others.
const EMBEDDED_GROUP: &str = "embedded";
/// Name of the embedded node.
pub const EMBEDDED_NODE: &str = "embedded";

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Files and `--set`.
    pub source: Source,
    /// Flags of `run`.
    pub flags: Flags,
    /// Where the embedded node listens, once it does.
    pub embedded: Option<SocketAddr>,
}

/// Why a configuration was refused: everything at once, one line each.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The lines.
    pub errors: Vec<String>,
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self { errors: vec![error] }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.errors.join("\n"))
    }
}

/// What a reload did.
#[derive(Debug, Clone, Serialize)]
pub struct Reloaded {
    /// Warnings of the configuration, one line each.
    pub warnings: Vec<String>,
    /// Keys that changed and are in use now.
    pub changed: Vec<String>,
    /// Keys that changed and need a restart.
    pub needs_restart: Vec<String>,
}

/// Findings of one severity, a line each.
fn lines(report: &Report, severity: Severity) -> Vec<String> {
    report.diagnostics.iter().filter(|one| one.severity == severity).map(ToString::to_string).collect()
}

impl Origin {
    /// Loads the configuration; flags are applied, the embedded node is not in it yet. With it come its warnings.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<(Config, Vec<String>), Refused> {
        let loaded = erlmcp_config::load(&self.source)
            .map_err(|report| Refused { errors: lines(&report, Severity::Error) })?;
        let mut config = loaded.config;
        self.flags.apply(&mut config)?;
        let mut warnings = lines(&loaded.report, Severity::Warning);
        // Each is listed by `check`; here they would hide the others at every start.
        let idle = warnings.extract_if(.., |line| line.contains(NO_EFFECT_YET)).count();
        if idle > 0 {
            warnings.push(format!(
                "{idle} parts of the configuration have {NO_EFFECT_YET}: `erlmcp check` lists them"
            ));
        }
        Ok((config, warnings))
    }

    /// What is wished for, the embedded node included.
    ///
    /// # Errors
    /// What the data plane cannot do.
    pub fn desired(&self, config: &Config, shards: usize) -> Result<Desired, Refused> {
        let mut config = config.clone();
        if let (true, Some(address)) = (config.wants_embedded(), self.embedded) {
            let mut node =
                GroupNode::new(Endpoint::Host { host: address.ip().to_string(), port: address.port() });
            node.name = EMBEDDED_NODE.to_owned();
            let always = config.runtime.embedded.enabled == EmbeddedMode::Always;
            config.set_group(if always { EMBEDDED_GROUP } else { CLUSTER }, vec![node]);
        }
        let connect_checked = self.flags.connect_checked();
        let terms = Terms { shards, connect_checked: &connect_checked };
        wish::desired(&config, &terms).map_err(|errors| Refused { errors })
    }
}

/// What the access log is told by the configuration.
pub fn access_settings(config: &Config) -> access_log::Settings {
    let log = &config.runtime.access_log;
    let path = (log.path != "-").then(|| log.path.clone().into());
    access_log::Settings { path, fields: log.fields.clone() }
}

/// Takes the configuration anew.
///
/// # Errors
/// Everything that is wrong with it; the one in use stays.
pub fn reload(control: &Control) -> Result<Reloaded, Refused> {
    let taken = take(control);
    match &taken {
        Ok(done) => {
            control.counters.reloads_taken.add(1);
            tracing::info!(changed = done.changed.len(), needs_restart = ?done.needs_restart, "configuration reloaded");
        }
        Err(refused) => {
            control.counters.reloads_refused.add(1);
            for error in &refused.errors {
                tracing::error!(error, "configuration refused; the one in use stays");
            }
        }
    }
    taken
}

fn take(control: &Control) -> Result<Reloaded, Refused> {
    let origin = &control.boot.origin;
    let (config, warnings) = origin.load()?;
    if config.listeners.listeners.len() != control.boot.listeners.len() {
        return Err("listeners: their number cannot change while serving; restart instead".to_owned().into());
    }
    if config.wants_embedded() && origin.embedded.is_none() {
        return Err("embedded: the embedded node can only be added by a restart".to_owned().into());
    }
    let desired = origin.desired(&config, control.boot.cpus.len())?;
    let before = control.config.borrow().clone();
    let keys = |from: &Config, needs_restart: bool| -> Vec<String> {
        let changes = erlmcp_config::diff(from, &config).into_iter();
        changes.filter(|change| change.needs_restart == needs_restart).map(|change| change.key).collect()
    };
    let done = Reloaded {
        warnings,
        changed: keys(&before, false),
        needs_restart: keys(&control.first_config, true),
    };
    if let Some(access) = control.access() {
        access.reopen(access_settings(&config));
    }
    logging::set_level(config.runtime.log.level);
    control.applied_unix_seconds.store(unix_seconds(SystemTime::now()), Ordering::Relaxed);
    control.config.send_replace(Arc::new(config));
    if !done.changed.is_empty() {
        control.desired.send_replace(Arc::new(desired));
        control.dirty.notify_one();
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    /// A folder of configuration, removed on drop.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("erlmcp-reload-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, file: &str, text: &str) {
            std::fs::write(self.0.join(file), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn control(folder: &Path) -> Arc<Control> {
        Control::from_origin(Origin { source: Source::dir(folder), ..Origin::default() })
    }

    fn nodes(control: &Control) -> Vec<String> {
        let desired = control.desired.borrow();
        desired.groups.iter().flat_map(|group| &group.nodes).map(|node| node.name.clone()).collect()
    }

    const ONE: &str = "load_balancer: {nodes: [{host: a, port: 80}]}\n";
    const TWO: &str = "load_balancer: {nodes: [{host: a, port: 80}, {host: b, port: 80}]}\n";

    #[test]
    fn a_good_configuration_is_taken_and_a_bad_one_changes_nothing() {
        let folder = Folder::new("good");
        folder.write("load-balancer.yaml", ONE);
        let control = control(&folder.0);
        folder.write("load-balancer.yaml", TWO);
        let done = reload(&control).unwrap();
        assert!(!done.changed.is_empty() && done.needs_restart.is_empty(), "{done:?}");
        assert_eq!(nodes(&control), ["a", "b"]);

        folder.write("load-balancer.yaml", "load_balancer: {nodes: [{host: c, prt: 80}], strategi: x}\n");
        let refused = reload(&control).unwrap_err();
        assert!(refused.errors.len() >= 2, "every error at once: {refused}");
        assert_eq!(nodes(&control), ["a", "b"]);
        assert_eq!((control.counters.reloads_taken.get(), control.counters.reloads_refused.get()), (1, 1));
    }

    #[test]
    fn what_only_a_start_can_change_is_named_until_there_was_one() {
        let folder = Folder::new("boot");
        folder.write("load-balancer.yaml", ONE);
        let control = control(&folder.0);
        folder.write("runtime.yaml", "driver: epoll\n");
        for _ in 0..2 {
            assert_eq!(reload(&control).unwrap().needs_restart, ["runtime.driver"]);
        }
    }

    #[test]
    fn nothing_new_publishes_nothing() {
        let folder = Folder::new("same");
        folder.write("load-balancer.yaml", ONE);
        let control = control(&folder.0);
        let before = Arc::clone(&control.desired.borrow());
        assert!(reload(&control).unwrap().changed.is_empty());
        assert!(Arc::ptr_eq(&before, &control.desired.borrow()));
    }

    #[test]
    fn flags_stand_above_files_at_a_reload_too() {
        let folder = Folder::new("flags");
        folder.write("load-balancer.yaml", ONE);
        let upstreams = vec!["http://up:1".parse().unwrap()];
        let flags = Flags { upstreams, ..Flags::default() };
        let control = Control::from_origin(Origin { source: Source::dir(&folder.0), flags, embedded: None });
        folder.write("load-balancer.yaml", TWO);
        reload(&control).unwrap();
        assert_eq!(nodes(&control), ["up:1"]);
    }
}
