//! The files of a run in one folder: those that grow while it goes on, and those written at its end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hdrhistogram::Histogram;

use super::hlog::HistogramLog;
use super::{Report, hgrm, html, json, ndjson};
use crate::load::{Interval, Outcome};

/// Percentile distribution of response times.
pub const RESPONSE_HGRM: &str = "response.hgrm";
/// Percentile distribution of service times.
pub const SERVICE_HGRM: &str = "service.hgrm";
/// Every interval's histograms.
pub const HLOG: &str = "latency.hlog";
/// A line an interval.
pub const NDJSON: &str = "intervals.ndjson";
/// The report for machines.
pub const JSON: &str = "report.json";
/// The report for people.
pub const HTML: &str = "report.html";

/// The files of a run under way.
pub struct Files {
    folder: PathBuf,
    log: HistogramLog<BufWriter<File>>,
    lines: BufWriter<File>,
}

impl Files {
    /// Makes the folder, if need be, and the files that grow; those of an earlier run are replaced.
    ///
    /// # Errors
    /// Folder or file cannot be made; the message names it.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder).map_err(|error| named(folder, &error))?;
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map(BufWriter::new).map_err(|error| named(&path, &error))
        };
        Ok(Self { folder: folder.to_owned(), log: HistogramLog::new(create(HLOG)?), lines: create(NDJSON)? })
    }

    /// Writes an interval that ended at `now`.
    ///
    /// # Errors
    /// A file cannot be written; the message names it.
    pub fn interval(&mut self, interval: &Interval, now: SystemTime) -> io::Result<()> {
        self.log.interval(interval, now).map_err(|error| named(&self.folder.join(HLOG), &error))?;
        ndjson::write(&mut self.lines, interval).map_err(|error| named(&self.folder.join(NDJSON), &error))
    }

    /// Writes the rest and tells all files.
    ///
    /// # Errors
    /// A file cannot be written; the message names it.
    pub fn finish(self, report: &Report, outcome: &Outcome, now: SystemTime) -> io::Result<Vec<PathBuf>> {
        let Self { folder, log, mut lines } = self;
        log.finish(now).map_err(|error| named(&folder.join(HLOG), &error))?;
        lines.flush().map_err(|error| named(&folder.join(NDJSON), &error))?;
        let distribution = |histogram: &Histogram<u64>| {
            let mut text = Vec::new();
            hgrm::write(&mut text, histogram, &report.certificate).map(|()| text)
        };
        let whole = [
            (RESPONSE_HGRM, distribution(&outcome.latencies.response)?),
            (SERVICE_HGRM, distribution(&outcome.latencies.service)?),
            (JSON, json::render(report)?.into_bytes()),
            (HTML, html::render(report).into_bytes()),
        ];
        let mut paths = vec![folder.join(HLOG), folder.join(NDJSON)];
        for (name, content) in whole {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|error| named(&path, &error))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}
