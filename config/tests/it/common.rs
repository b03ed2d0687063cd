//! A folder of files that is gone after the test, and an environment of two variables.

use erlmcp_config::{Config, Loaded, Report, Source, load};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// With these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            Self(std::env::temp_dir().join(format!("erlmcp-config-{}-{number}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// With `DB_PASSWORD`, `SLACK_WEBHOOK` and `PORT` set, and nothing else.
    pub(crate) fn source(&self) -> Source {
        with_env(Source::dir(&self.0))
    }

    pub(crate) fn load(&self) -> Result<Loaded, Report> {
        load(&self.source())
    }

    /// What must load; warnings are fine.
    pub(crate) fn config(&self) -> Config {
        self.load().unwrap_or_else(|report| panic!("{report}")).config
    }

    /// Findings as printed, without the folder's path.
    pub(crate) fn findings(&self) -> String {
        let report = match self.load() {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        report.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The test's own environment instead of the process's.
pub(crate) fn with_env(mut source: Source) -> Source {
    source.env = Arc::new(|name| match name {
        "DB_PASSWORD" => Some("hunter2".to_owned()),
        "SLACK_WEBHOOK" => Some("https://hooks.slack.com/services/T/B/geheim".to_owned()),
        "PORT" => Some("8081".to_owned()),
        _ => None,
    });
    source
}

/// The shipped cluster's folder.
pub(crate) fn cluster() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
