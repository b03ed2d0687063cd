//! A comparison's result, as JSON and as Markdown.
//!
//! Owns the words and columns. Whoever did not take part is named with the reason.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{Row, Spread};
use super::placement::Placement;
use super::plan::{LoadBy, Plan};
use super::scenario::{Kind, Scenario};
use super::sheet::Sheet;
use crate::certificate::{Check, Verdict};
use crate::idle::{self, Idle};

/// Somebody who did not take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Why, and where there is one the remedy.
    pub reason: String,
}

/// One scenario under load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What was asked.
    pub scenario: Scenario,
    /// What put the load on.
    pub load: LoadBy,
    /// Rate of the latency figures, requests per second, where there are any.
    pub fixed_rate: Option<f64>,
    /// Why there are no latency figures, where there are none though they were asked for.
    pub no_latency: Option<String>,
    /// One per candidate; the first is what the table's ratios refer to.
    pub rows: Vec<Row>,
    /// Who did not take part.
    pub absent: Vec<Absent>,
}

/// Memory per idle stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdleTable {
    /// What was asked.
    pub scenario: Scenario,
    /// One per candidate.
    pub rows: Vec<Idle>,
    /// Who did not take part.
    pub absent: Vec<Absent>,
}

/// How it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// Rounds per scenario, interleaved.
    pub rounds: u32,
    /// Measured time per candidate and round, seconds.
    pub seconds: f64,
    /// Who ran where.
    pub placement: Placement,
    /// Whether everyone who can wrote an access log line per request.
    pub access_log: bool,
    /// Connections per upstream of `haproxy-cap`; the gateway's default is the same.
    pub pool_cap: u32,
    /// The figures show that everyone answers, and nothing else.
    pub quick: bool,
}

/// A comparison's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The machine and the programs.
    pub machine: Sheet,
    /// How it was measured.
    pub method: Method,
    /// Scenarios under load.
    pub tables: Vec<Table>,
    /// Scenarios of idle streams.
    pub idle: Vec<IdleTable>,
    /// Why it ended early, if it did: everything in here is then partial.
    pub cut: Option<String>,
}

impl Method {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            rounds: plan.rounds,
            seconds: plan.duration.as_secs_f64(),
            placement: plan.placement.clone(),
            access_log: plan.access_log,
            pool_cap: plan.pool_cap,
            quick: plan.quick,
        }
    }
}

impl Report {
    /// As Markdown: the machine, how it was measured, a table per scenario.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail, here and below.
        if let Some(cut) = &self.cut {
            let _ = writeln!(text, "**Partial: {cut}**\n");
        }
        if self.method.quick {
            text.push_str("**Quick: shows that everyone answers, nothing about speed.**\n\n");
        }
        self.machine(&mut text);
        self.method(&mut text);
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        for table in &self.idle {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }

    fn machine(&self, text: &mut String) {
        let Sheet { cpu, cpus, memory_mib, kernel, platform, governor, versions } = &self.machine;
        let _ = write!(text, "Machine: {cpus} × {cpu}, {memory_mib} MiB, {kernel}");
        if let Some(platform) = platform {
            let _ = write!(text, ", {platform}");
        }
        if let Some(governor) = governor {
            let _ = write!(text, ", governor {governor}");
        }
        text.push_str(".\n");
        if !versions.is_empty() {
            let named = |(name, version): &(String, String)| match version.to_lowercase().starts_with(name) {
                true => version.clone(),
                false => format!("{name} {version}"),
            };
            let list: Vec<String> = versions.iter().map(named).collect();
            let _ = writeln!(text, "Programs: {}.", list.join("; "));
        }
    }

    fn method(&self, text: &mut String) {
        let Method { rounds, seconds, placement, access_log, pool_cap, .. } = &self.method;
        let Placement { server, load, upstreams } = placement;
        let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let log = if *access_log {
            "one access-log line per request for all but the floor"
        } else {
            "no access logs"
        };
        let _ = writeln!(
            text,
            "Method: {rounds} interleaved rounds of {seconds} s; measured server on processor {server}, generator on \
             {load}, two keep-alive upstreams on {}; {log}; pool cap of haproxy-cap {pool_cap} per upstream.",
            upstreams.join(" and ")
        );
        let moved = placement.upstreams_paced();
        if moved != placement.upstreams.as_slice() {
            let moved: Vec<String> = moved.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "Latency: upstreams on {}, so that the generator has its processor for itself.",
                moved.join(" and ")
            );
        }
        if !placement.is_separate() {
            text.push_str(
                "The measured server shares its processor: only CPU per request and memory mean something.\n",
            );
        }
    }
}

impl Table {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.scenario, self.asked());
        let reference = self.rows.first().map_or("-", |row| row.name.as_str());
        let _ = writeln!(
            text,
            "| server | CPU µs/request: median | min | q1..q3 | × {reference} (min..max) | replies/s | PSS MiB | p50 ms | \
             p99 ms | p99.9 ms | errors |\n|---|---|---|---|---|---|---|---|---|---|---|"
        );
        for row in &self.rows {
            row_markdown(&mut text, row, reference);
        }
        if let Some(rate) = self.fixed_rate {
            let lag =
                self.rows.iter().filter_map(|row| row.latency.as_ref()).map(|latency| latency.lag_p99_us);
            let lag = lag.fold(0.0, f64::max);
            let _ = writeln!(
                text,
                "\nLatency from the intended start at {rate:.0} requests/s, half of the slowest one's rate; the generator's \
                 own lag p99 is at most {lag:.0} µs."
            );
        }
        if let Some(reason) = &self.no_latency {
            let _ = writeln!(text, "\nNo latency at a fixed rate: {reason}.");
        }
        self.ratios(&mut text);
        self.doubts(&mut text);
        absent(&mut text, &self.absent);
        text
    }

    fn asked(&self) -> String {
        let Scenario { kind, connections } = self.scenario;
        let what = match kind {
            Kind::Small => "13 bytes, keep-alive",
            Kind::Large => "64 KiB, keep-alive",
            Kind::Huge => "1 MiB, keep-alive",
            Kind::New => "13 bytes, a new connection each",
            Kind::Tls => "13 bytes, keep-alive, TLS in front",
            Kind::TlsNew => "13 bytes, a new TLS connection each",
            Kind::Websocket => "WebSocket messages of 13 bytes",
            Kind::Runtimes => "13 bytes, keep-alive, no proxy between",
            Kind::Idle => "silent event streams",
        };
        let by = match self.load {
            LoadBy::Own => "erlmcp bench",
            LoadBy::Wrk => "wrk",
        };
        format!("{what}, {connections} connections, load by {by}")
    }

    /// What the targets are told in: the gateway against everybody else.
    fn ratios(&self, text: &mut String) {
        for row in self.rows.iter().filter(|row| row.name.starts_with("erlmcp")) {
            let list = row.ratios.iter().map(|ratio| format!("{} {:.3}", ratio.to, ratio.spread.median));
            let list: Vec<String> = list.collect();
            if !list.is_empty() {
                let _ = writeln!(text, "\n{} ÷ other, median within a round: {}.", row.name, list.join(", "));
            }
        }
    }

    /// What the generator's certificates say against the latencies, each check once: of whom, and the worst of it.
    fn doubts(&self, text: &mut String) {
        let mut said: Vec<(&Check, Vec<&str>)> = Vec::new();
        for row in &self.rows {
            for check in row.latency.iter().flat_map(|latency| &latency.doubts) {
                match said.iter_mut().find(|(other, _)| other.name == check.name) {
                    None => said.push((check, vec![&row.name])),
                    Some((worst, names)) => {
                        names.push(&row.name);
                        if check.verdict > worst.verdict {
                            *worst = check;
                        }
                    }
                }
            }
        }
        if said.is_empty() {
            return;
        }
        said.sort_by_key(|(check, _)| std::cmp::Reverse(check.verdict));
        text.push_str("\nThe latencies are in doubt; those of INVALID runs are withheld:\n\n");
        for (check, names) in said {
            let Check { name, verdict, measured, limit, .. } = check;
            let verdict = verdict.map_or("", Verdict::name);
            let _ = writeln!(text, "- {verdict}: {name} {measured}, accepted {limit} ({})", names.join(", "));
        }
    }
}

fn row_markdown(text: &mut String, row: &Row, reference: &str) {
    let Spread { min, q1, median, q3, .. } = row.cpu_us;
    let ratio = match row.ratio_to(reference) {
        Some(ratio) => format!("{:.3} ({:.3}..{:.3})", ratio.median, ratio.min, ratio.max),
        None => "1".to_owned(),
    };
    // INVALID percentiles are told nowhere as if they were true; the reason stands below the table.
    let latency = row.latency.as_ref().filter(|latency| latency.trusted).map_or_else(
        || "– | – | –".to_owned(),
        |latency| {
            let all = &latency.all;
            format!("{:.3} | {:.3} | {:.3}", all.p50_ms, all.p99_ms, all.p999_ms)
        },
    );
    let errors = row.errors + row.latency.as_ref().map_or(0, |latency| latency.errors);
    let _ = writeln!(
        text,
        "| {} | {median:.2} | {min:.2} | {q1:.2}..{q3:.2} | {ratio} | {:.0} | {:.1} | {latency} | {errors} |",
        row.name,
        row.rate.median,
        row.pss.median / f64::from(1 << 20),
    );
}

impl IdleTable {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let streams = self.rows.first().map_or((0, 0), |row| row.streams);
        let mut text = format!(
            "### {}: proportional set size with {} and {} silent event streams\n\n{}\n",
            self.scenario,
            streams.0,
            streams.1,
            idle::TABLE_HEAD
        );
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.row());
        }
        absent(&mut text, &self.absent);
        text
    }
}

fn absent(text: &mut String, absent: &[Absent]) {
    for Absent { name, reason } in absent {
        let _ = writeln!(text, "\nAbsent: {name}: {reason}.");
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{rows, tests::sample};
    use super::*;
    use crate::compare::plan::Programs;

    fn table() -> Table {
        let names = ["floor".to_owned(), "erlmcp".to_owned()];
        let samples = [vec![sample(10.0, 0), sample(20.0, 0)], vec![sample(11.0, 2), sample(24.0, 0)]];
        Table {
            scenario: "small-64".parse().unwrap(),
            load: LoadBy::Wrk,
            fixed_rate: None,
            no_latency: Some("wrk has closed loops only".into()),
            rows: rows(&names, &samples),
            absent: vec![Absent { name: "envoy".into(), reason: "not installed".into() }],
        }
    }

    #[test]
    fn a_table_says_who_how_much_and_who_is_absent() {
        let text = table().markdown();
        for part in [
            "### small-64: 13 bytes, keep-alive, 64 connections, load by wrk",
            "| erlmcp | 17.50 | 11.00 | 14.25..20.75 | 1.150 (1.100..1.200) | 66288 | 4.0 | – | – | – | 2 |",
            "| floor | 15.00 | 10.00 | 12.50..17.50 | 1 |",
            "erlmcp ÷ other, median within a round: floor 1.150.",
            "No latency at a fixed rate: wrk has closed loops only.",
            "Absent: envoy: not installed.",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn a_report_says_where_and_how_and_that_it_is_partial() {
        let plan = Plan::new("x", Programs::default()).quick();
        let report = Report {
            machine: Sheet::read(&plan.programs, false),
            method: Method::of(&plan),
            tables: vec![table()],
            idle: Vec::new(),
            cut: Some("interrupted".into()),
        };
        let text = report.markdown();
        for part in
            ["**Partial: interrupted**", "**Quick:", "Machine: ", "Linux ", "1 interleaved rounds of 0.3 s"]
        {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["tables"][0]["rows"][1]["ratios"][0]["to"], "floor");
        assert_eq!(json["tables"][0]["scenario"]["kind"], "small");
        assert_eq!(json["cut"], "interrupted");
    }
}
