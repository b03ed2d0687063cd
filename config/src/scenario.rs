//! From a scenario file (or a protocol's name) to a [`Scenario`]: reading, walking, checks between keys, recorded starts.
//!
//! Owns the order of the steps and the bounds on what is read. Never sends anything and never resolves a name.

use crate::load::{Env, FINDINGS_MAX, read_bounded};
use crate::model::scenario::{Arrivals, CallRequest, HttpRequest, KEYS, Pause, Scenario, Think, Traffic};
use crate::model::scenario_values::{decimal, time};
use crate::places::Places;
use crate::report::{Diagnostic, Report, Severity};
use crate::shape::Shape;
use crate::walk::Walk;
use crate::yaml::{At, Node, clip, parse};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

/// Most recorded starts: 160 MB of them.
const STARTS_MAX: usize = 10_000_000;
/// Longest line of recorded starts, in bytes: an epoch's seconds with nanoseconds need 20.
const LINE_BYTES_MAX: usize = 64;
/// Headers that the generator itself writes.
const OWN_HEADERS: [&str; 6] =
    ["connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"];

/// A scenario that may be run.
#[derive(Clone, Debug)]
pub struct LoadedScenario {
    /// Complete.
    pub scenario: Scenario,
    /// Warnings and notes only.
    pub report: Report,
    /// Which of the keys at the top of the file were written.
    pub written: Vec<String>,
}

/// Reads a scenario file and what it names.
///
/// # Errors
/// A [`Report`] with everything that is wrong, at once, and the warnings too.
pub fn load(path: &Path, env: &Env) -> Result<LoadedScenario, Report> {
    let mut loading = Loading::new(path.display().to_string());
    let text = match read_bounded(path) {
        Ok(text) => text,
        Err(what) => {
            loading.error(None, "", [&what, "", "name a readable UTF-8 file of at most 1 MiB"]);
            return Err(loading.report());
        }
    };
    loading.load(&text, path.parent().unwrap_or(Path::new("")), env)
}

/// The scenario of a protocol with every default: what runs without a file.
///
/// # Errors
/// When there is no such protocol.
pub fn of_protocol(protocol: &str) -> Result<LoadedScenario, Report> {
    let env: Env = std::sync::Arc::new(|_| None);
    let text = format!("traffic: {{protocol: {protocol}}}");
    Loading::new("(command line)".to_owned()).load(&text, Path::new(""), &env)
}

struct Loading {
    places: Places,
    out: Vec<Diagnostic>,
    file: usize,
}

impl Loading {
    fn new(name: String) -> Self {
        let mut places = Places::default();
        let file = places.add_file(name);
        Self { places, out: Vec::new(), file }
    }

    fn load(mut self, text: &str, folder: &Path, env: &Env) -> Result<LoadedScenario, Report> {
        let node = match parse(text, self.file) {
            Ok(node) => node,
            Err(refusal) => {
                self.error(Some(refusal.at), "", [&refusal.what, "", refusal.remedy]);
                return Err(self.report());
            }
        };
        let Some(mut scenario) = self.walk(&node, env) else { return Err(self.report()) };
        self.check(&scenario);
        if let Arrivals::Replay { file, starts } = &mut scenario.arrivals
            && !self.places.is_tainted("arrivals.file")
        {
            *starts = self.starts(&folder.join(&*file));
        }
        let is_top = |key: &&str| !key.contains(['.', '[']);
        let written = self.places.keys().map(|(key, _)| key).filter(is_top).map(str::to_owned).collect();
        let report = self.report();
        if report.has_errors() { Err(report) } else { Ok(LoadedScenario { scenario, report, written }) }
    }

    fn report(self) -> Report {
        let mut report = Report { diagnostics: self.out };
        report.tidy(self.places.files(), FINDINGS_MAX);
        report
    }

    /// An error at a place, or about the file as a whole.
    fn error(&mut self, at: Option<At>, key: &str, texts: [&str; 3]) {
        let at = at.unwrap_or(At { file: self.file, line: 0, column: 0 });
        self.out.push(self.places.diagnostic(Severity::Error, Some(at), key, texts));
    }

    fn walk(&mut self, node: &Node, env: &Env) -> Option<Scenario> {
        let mut inherits = Vec::new();
        let mut walk = Walk {
            env: env.as_ref(),
            places: &mut self.places,
            out: &mut self.out,
            inherits: &mut inherits,
            written: true,
        };
        let value = walk.value(&Shape::Map(KEYS), node, "");
        match serde_json::from_value(value) {
            Ok(scenario) => Some(scenario),
            Err(error) => {
                // Only when the shape and its type disagree, which a test over all shapes rules out.
                self.error(None, "", [&format!("internal: {error}"), "", "report this as a defect"]);
                None
            }
        }
    }

    /// An error about a key, unless it, or another that takes part, was refused already.
    fn say(&mut self, key: &str, others: &[&str], texts: [&str; 3]) {
        if std::iter::once(&key).chain(others).all(|key| !self.places.is_tainted(key)) {
            let at = self.places.find(key);
            self.error(at, key, texts);
        }
    }

    fn check(&mut self, scenario: &Scenario) {
        self.check_traffic(&scenario.traffic);
        self.check_time(scenario);
        let is_closed = scenario.arrivals == Arrivals::Closed;
        if scenario.think.is_some() && !is_closed {
            let why = "only a closed loop waits for replies";
            self.say(
                "think",
                &["arrivals"],
                [
                    "clients of an open loop do not think",
                    why,
                    "remove `think`, or let `arrivals.kind` be `closed`",
                ],
            );
        }
        if let Some(Think::Uniform { from: Pause(from), to: Pause(to) }) = scenario.think
            && from > to
        {
            self.say(
                "think.from",
                &["think.to"],
                ["the shortest pause is longer than the longest", "", "swap the two"],
            );
        }
    }

    fn check_time(&mut self, scenario: &Scenario) {
        let own_length = match &scenario.arrivals {
            Arrivals::Steps { steps } if steps.is_empty() => {
                self.say(
                    "arrivals.steps",
                    &[],
                    ["an empty list", "nothing would start", "add `{rate: 100/s, length: 10s}`"],
                );
                return;
            }
            Arrivals::Ramp { from, to } if from.0 + to.0 <= 0.0 => {
                self.say(
                    "arrivals.from",
                    &["arrivals.to"],
                    ["both ends of the ramp are zero", "nothing would start", "raise one"],
                );
                return;
            }
            Arrivals::Steps { .. } => "the lengths of the steps say how long the run lasts",
            Arrivals::Replay { .. } => "the run ends with the last recorded start",
            _ => return,
        };
        if self.places.given("duration") {
            self.say("duration", &["arrivals"], ["not used with these arrivals", own_length, "remove it"]);
        }
    }

    fn check_traffic(&mut self, traffic: &Traffic) {
        let mut names: Vec<String> = Vec::new();
        match traffic {
            Traffic::Http { headers, requests } => {
                self.check_headers("traffic.headers", headers);
                for (index, request) in requests.iter().enumerate() {
                    self.check_headers(&format!("traffic.requests[{index}].headers"), &request.headers);
                }
                names.extend(requests.iter().map(HttpRequest::title));
            }
            Traffic::Mcp { headers, requests, .. } => {
                self.check_headers("traffic.headers", headers);
                self.check_calls(requests);
                names.extend(requests.iter().map(CallRequest::title));
            }
            Traffic::Tcp { requests } => {
                self.check_calls(requests);
                names.extend(requests.iter().map(CallRequest::title));
            }
            Traffic::WebSocket { headers, requests } => {
                self.check_headers("traffic.headers", headers);
                let each = requests.iter().enumerate();
                names.extend(each.map(|(index, request)| request.title(index)));
            }
            Traffic::Sse { headers, hold, stall } => {
                self.check_headers("traffic.headers", headers);
                if stall.0 >= *hold {
                    let why = "a stream that is held for `hold` cannot show such a gap";
                    self.say(
                        "traffic.stall",
                        &["traffic.hold"],
                        ["not shorter than `hold`", why, "lower `stall` or raise `hold`"],
                    );
                }
                return;
            }
            Traffic::NewConnection { headers, .. } => {
                self.check_headers("traffic.headers", headers);
                return;
            }
        }
        if names.is_empty() {
            self.say(
                "traffic.requests",
                &[],
                [
                    "an empty list",
                    "there would be nothing to send",
                    "add a request, or remove the key for the default",
                ],
            );
        }
        for (index, name) in names.iter().enumerate() {
            if let Some(first) = names[..index].iter().position(|other| other == name) {
                let key = format!("traffic.requests[{index}].name");
                let what = format!("`{}` is also the name of traffic.requests[{first}]", clip(name));
                self.say(
                    &key,
                    &[],
                    [&what, "reports tell requests by their names", "give one of them another `name`"],
                );
            }
        }
    }

    fn check_calls(&mut self, requests: &[CallRequest]) {
        for (index, request) in requests.iter().enumerate() {
            let key = format!("traffic.requests[{index}]");
            let parts = ["method", "params", "tool", "arguments"].map(|part| format!("{key}.{part}"));
            let [method, params, tool, arguments] = &parts;
            match (&request.method, &request.tool) {
                (Some(_), None) if request.arguments.is_some() => {
                    self.say(
                        arguments,
                        &[method],
                        ["not used with `method`", "a method takes `params`", "rename it, or give `tool`"],
                    );
                }
                (None, Some(_)) if request.params.is_some() => {
                    self.say(
                        params,
                        &[tool],
                        ["not used with `tool`", "a tool takes `arguments`", "rename it, or give `method`"],
                    );
                }
                (Some(_), Some(_)) => {
                    self.say(
                        tool,
                        &[method],
                        ["both `method` and `tool`", "one request is one call", "keep one of them"],
                    );
                }
                (None, None) => {
                    let remedy = "add `method: tools/list`, or `tool: NAME` with `arguments`";
                    self.say(
                        &key,
                        &[method, tool],
                        ["neither `method` nor `tool`", "nothing says what to call", remedy],
                    );
                }
                _ => {}
            }
        }
    }

    fn check_headers(&mut self, key: &str, headers: &BTreeMap<String, String>) {
        for name in headers.keys() {
            if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                let key = format!("{key}.{name}");
                self.say(
                    &key,
                    &[],
                    ["the generator writes this header itself", "two of it would be refused", "remove it"],
                );
            }
        }
    }

    /// The recorded starts of a file, from its first line on. Says everything that is wrong with it.
    fn starts(&mut self, path: &Path) -> Vec<Duration> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                let what = format!("{} cannot be read: {error}", path.display());
                self.say(
                    "arrivals.file",
                    &[],
                    [&what, "", "name a file of recorded starts beside the scenario"],
                );
                return Vec::new();
            }
        };
        let index = self.places.add_file(path.display().to_string());
        let whole = At { file: index, line: 0, column: 0 };
        let mut starts: Vec<Duration> = Vec::new();
        let mut input = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            match (&mut input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    self.error(
                        Some(whole),
                        "",
                        [&format!("cannot be read: {error}"), "", "make it a readable file"],
                    );
                    return starts;
                }
            }
            let at = At { file: index, line: number, column: 1 };
            match self.start(&line, at) {
                Ok(None) => {}
                Ok(Some(start)) if starts.last().is_some_and(|last| *last > start) => {
                    self.error(
                        Some(at),
                        "",
                        ["earlier than the line before it", "starts ascend", "sort the file"],
                    );
                }
                Ok(Some(start)) => starts.push(start),
                Err(()) => {}
            }
            if self.out.len() > FINDINGS_MAX || starts.len() > STARTS_MAX || line.len() > LINE_BYTES_MAX {
                break;
            }
        }
        if starts.len() > STARTS_MAX {
            let what = format!("more than {STARTS_MAX} starts");
            self.error(Some(whole), "", [&what, "they are held in memory", "cut the file"]);
        } else if starts.is_empty() && self.out.is_empty() {
            self.error(Some(whole), "", ["no recorded start", "nothing would start", "write one a line"]);
        }
        let first = starts.first().copied().unwrap_or_default();
        starts.iter_mut().for_each(|start| *start -= first);
        starts
    }

    /// One line: a start, or nothing (blank, comment).
    fn start(&mut self, line: &[u8], at: At) -> Result<Option<Duration>, ()> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if line.len() > LINE_BYTES_MAX {
            let what = format!("a line of more than {LINE_BYTES_MAX} bytes");
            self.error(Some(at), "", [&what, "", "write one start a line"]);
            return Err(());
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let seconds = decimal(text, 1_000_000_000);
        if let Some(start) = seconds.or_else(|| time(text).ok()) {
            return Ok(Some(start));
        }
        let what = format!("`{}` is no start", clip(text));
        self.error(
            Some(at),
            "",
            [&what, "", "write seconds such as 1.25, or a time with its unit such as 1250ms"],
        );
        Err(())
    }
}
