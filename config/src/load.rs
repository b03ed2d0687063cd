//! From a folder (or the embedded default) to a [`Config`]: reading, `--set`, walking, checking.
//!
//! Owns the order of the steps and the bounds on what is read. Never starts or changes anything.

use crate::files::{FILES, FileSpec};
use crate::model::Config;
use crate::places::Places;
use crate::report::{Diagnostic, Report, Severity};
use crate::shape::{Shape, join};
use crate::vm::VmConfig;
use crate::walk::{Walk, suggest};
use crate::yaml::{At, FILE_BYTES_MAX, Node, clip, parse};
use crate::{checks, overrides, vm};
use serde_json::{Map, Value};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Looks an environment variable up.
pub type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Name that messages give to the embedded default's folder.
const EMBEDDED: &str = "<default>";

/// Most findings that are kept: nobody reads more, and a broken generator can make one per line.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Where a configuration comes from. Kept for reloading.
#[derive(Clone)]
pub struct Source {
    /// A folder; None is the embedded default.
    pub dir: Option<PathBuf>,
    /// `--set path=value`, in order.
    pub overrides: Vec<(String, String)>,
    /// Where `${VAR}` is looked up.
    pub env: Env,
}

impl Default for Source {
    /// The embedded default, and the process's environment.
    fn default() -> Self {
        Self { dir: None, overrides: Vec::new(), env: Arc::new(|name| std::env::var(name).ok()) }
    }
}

impl Source {
    /// A folder, and the process's environment.
    pub fn dir(path: impl Into<PathBuf>) -> Self {
        Self { dir: Some(path.into()), ..Self::default() }
    }

    /// One more override, after the others.
    #[must_use]
    pub fn set(mut self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push((path.into(), value.into()));
        self
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of overrides may be secrets.
        let paths: Vec<&str> = self.overrides.iter().map(|(path, _)| path.as_str()).collect();
        f.debug_struct("Source").field("dir", &self.dir).field("overrides", &paths).finish_non_exhaustive()
    }
}

/// A configuration that may be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Complete.
    pub config: Config,
    /// Warnings and notes only.
    pub report: Report,
}

/// Reads, checks, completes.
///
/// # Errors
/// A [`Report`] with everything that is wrong, at once, and the warnings too.
pub fn load(source: &Source) -> Result<Loaded, Report> {
    let mut loading = Loading { places: Places::default(), out: Vec::new() };
    let (mut trees, vm) = loading.read(source.dir.as_deref());
    loading.apply_overrides(&mut trees, &source.overrides);
    let config = loading.walk(&trees, source.env.as_ref());
    if let Some(mut config) = config {
        config.vm = vm.unwrap_or_default();
        checks::run(&config, &loading.places, &mut loading.out);
        config.derive_routes();
        let report = loading.report();
        return if report.has_errors() { Err(report) } else { Ok(Loaded { config, report }) };
    }
    Err(loading.report())
}

struct Loading {
    places: Places,
    out: Vec<Diagnostic>,
}

impl Loading {
    fn report(self) -> Report {
        let mut report = Report { diagnostics: self.out };
        report.tidy(self.places.files(), FINDINGS_MAX);
        report
    }

    fn error(&mut self, at: Option<At>, key: &str, texts: [&str; 3]) {
        let diagnostic = self.places.diagnostic(Severity::Error, at, key, texts);
        self.out.push(diagnostic);
    }

    /// An error about a file as a whole.
    fn file_error(&mut self, path: &Path, what: &str, remedy: &str) {
        let at = self.whole_file(path);
        self.error(Some(at), "", [what, "", remedy]);
    }

    fn whole_file(&mut self, path: &Path) -> At {
        At { file: self.places.add_file(path.display().to_string()), line: 0, column: 0 }
    }

    /// The trees of [`FILES`], and `vm.config`.
    fn read(&mut self, dir: Option<&Path>) -> (Vec<Option<Node>>, Option<VmConfig>) {
        let Some(dir) = dir else {
            let trees = FILES.iter().map(|file| {
                let text = file.default?;
                self.tree(&format!("{EMBEDDED}/{}", file.name()), text)
            });
            return (trees.collect(), None);
        };
        if !dir.is_dir() {
            self.file_error(dir, "no such folder", "name a folder that holds the configuration's files");
            return (FILES.iter().map(|_| None).collect(), None);
        }
        let trees = FILES.iter().map(|file| self.read_spec(dir, file)).collect();
        let vm = self.read_vm(&dir.join("vm.config"));
        self.warn_about_strangers(dir);
        (trees, vm)
    }

    fn read_spec(&mut self, dir: &Path, file: &FileSpec) -> Option<Node> {
        let mut found = file.names.iter().map(|name| dir.join(name)).filter(|path| path.exists());
        let path = found.next()?;
        if let Some(second) = found.next() {
            let what = format!("{} is there too", path.display());
            self.file_error(&second, &what, "keep one of the two");
        }
        let tree = self.read_text(&path).and_then(|text| self.tree(&path.display().to_string(), &text));
        if tree.is_none() {
            // Its defaults only stand in: nothing about them is worth a word.
            file.keys.iter().for_each(|field| self.places.taint(&join(file.prefix, field.key)));
        }
        tree
    }

    fn read_text(&mut self, path: &Path) -> Option<String> {
        match read_bounded(path) {
            Ok(text) => Some(text),
            Err(what) => {
                self.file_error(path, &what, "make it a readable UTF-8 file of at most 1 MiB");
                None
            }
        }
    }

    fn tree(&mut self, name: &str, text: &str) -> Option<Node> {
        let file = self.places.add_file(name.to_owned());
        match parse(text, file) {
            Ok(node) => Some(node),
            Err(refusal) => {
                self.error(Some(refusal.at), "", [&refusal.what, "", refusal.remedy]);
                None
            }
        }
    }

    fn read_vm(&mut self, path: &Path) -> Option<VmConfig> {
        if !path.exists() {
            return None;
        }
        let text = self.read_text(path)?;
        let file = self.places.add_file(path.display().to_string());
        match vm::read(&text) {
            Ok(config) => {
                for entry in &config.entries {
                    self.places.set(&entry.key(), At { file, line: entry.line, column: entry.column });
                }
                Some(config)
            }
            Err(error) => {
                let at = At { file, line: error.line, column: error.column };
                self.error(
                    Some(at),
                    "",
                    [&error.what, "", "write Erlang terms, or remove the file: it is not needed"],
                );
                None
            }
        }
    }

    /// A file that looks like configuration but is never read is a mistake that nobody would notice.
    fn warn_about_strangers(&mut self, dir: &Path) {
        let known: Vec<&str> = FILES.iter().flat_map(|file| file.names).copied().collect();
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
            .filter(|name| !known.contains(&name.as_str()))
            .take(64)
            .collect();
        names.sort();
        for name in names {
            let at = self.whole_file(&dir.join(&name));
            let texts = ["nothing reads this file", "its keys have no effect", &suggest(&name, &known)];
            self.out.push(self.places.diagnostic(Severity::Warning, Some(at), "", texts));
        }
    }

    fn apply_overrides(&mut self, trees: &mut [Option<Node>], all: &[(String, String)]) {
        let file = self.places.add_file("--set".to_owned());
        for (index, (path, value)) in all.iter().take(overrides::OVERRIDES_MAX).enumerate() {
            let at = At { file, line: index + 1, column: path.chars().count() + 2 };
            if let Err((what, remedy)) = overrides::apply(trees, path, value, at) {
                self.error(Some(at), &clip(&overrides::pretty(path)), [&what, "", &remedy]);
            }
        }
        if all.len() > overrides::OVERRIDES_MAX {
            let at = At { file, line: 0, column: 0 };
            self.error(Some(at), "", ["more than 256 overrides", "", "write them into a file"]);
        }
    }

    /// The walk over all files, then the values that keys take from others, then the types.
    fn walk(&mut self, trees: &[Option<Node>], env: &dyn Fn(&str) -> Option<String>) -> Option<Config> {
        let mut root = Map::new();
        let mut inherits = Vec::new();
        for (file, tree) in FILES.iter().zip(trees) {
            // A file that is absent has no place of its own; a required key at its top would be an oversight here.
            let nowhere = At { file: 0, line: 0, column: 0 };
            let absent = Node::empty(nowhere);
            let mut walk = Walk {
                env,
                places: &mut self.places,
                out: &mut self.out,
                inherits: &mut inherits,
                written: tree.is_some(),
            };
            let shape: Shape = file.shape();
            root.insert(
                file.section.to_owned(),
                walk.value(&shape, tree.as_ref().unwrap_or(&absent), file.prefix),
            );
        }
        inherit(&mut root, &inherits);
        match assemble(root) {
            Ok(config) => Some(config),
            Err(error) => {
                // Only when a shape and its type disagree, which a test over all shapes rules out.
                self.error(None, "", [&format!("internal: {error}"), "", "report this as a defect"]);
                None
            }
        }
    }
}

/// Fills keys that take another key's value. `root` is by section, each holding its file's top keys.
fn inherit(root: &mut Map<String, Value>, inherits: &[(String, &'static str)]) {
    for (path, from) in inherits {
        let value = find(root, from).cloned();
        if let (Some(value), Some(slot)) = (value, find_mut(root, path)) {
            *slot = value;
        }
    }
}

fn find<'v>(root: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let (section, pointer) = locate(path)?;
    root.get(section)?.pointer(&pointer)
}

fn find_mut<'v>(root: &'v mut Map<String, Value>, path: &str) -> Option<&'v mut Value> {
    let (section, pointer) = locate(path)?;
    root.get_mut(section)?.pointer_mut(&pointer)
}

/// Section and JSON pointer of a path without prefix.
fn locate(path: &str) -> Option<(&'static str, String)> {
    let top = path.split(['.', '[']).next()?;
    let file =
        FILES.iter().find(|file| file.prefix.is_empty() && file.keys.iter().any(|field| field.key == top))?;
    Some((file.section, format!("/{}", path.replace(']', "").replace(['.', '['], "/"))))
}

/// The types from canonical values by section.
pub(crate) fn assemble(mut root: Map<String, Value>) -> Result<Config, serde_json::Error> {
    for file in FILES.iter().filter(|file| file.unwrap) {
        if let Some(section) = root.get_mut(file.section) {
            *section = section.get_mut(file.keys[0].key).map(Value::take).unwrap_or_default();
        }
    }
    serde_json::from_value(Value::Object(root))
}

/// The text of a file of bounded size.
pub(crate) fn read_bounded(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is no UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
}
