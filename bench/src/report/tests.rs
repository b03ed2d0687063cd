//! Every format is read back, strictly, and held against the figures that it came from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;
use crate::certificate::{Certificate, Verdict};
use crate::load::{Arrivals, Outcome};

fn collector(seconds: u64) -> Collector {
    let mut collector = Collector::new();
    for at in 0..seconds {
        collector.interval(&sample::interval(at, 1 + at % 2));
    }
    collector
}

fn report_of(change: impl FnOnce(&mut Outcome)) -> Report {
    let mut outcome = sample::outcome();
    change(&mut outcome);
    Report::of(&outcome, Some(&collector(sample::SECONDS)), Host::read())
}

fn invalid() -> Report {
    report_of(|run| {
        run.machine.threads[0].busy_share = 0.99;
        run.streams = Some(sample::streams());
    })
}

#[test]
fn json_is_read_back_the_same() {
    let report = report_of(|run| {
        run.streams = Some(sample::streams());
        run.spec.arrivals = Arrivals::Ramp { from: 100.0, to: 4_000.0 };
    });
    let text = json::render(&report).expect("finite numbers");
    let read: Report = serde_json::from_str(&text).expect("own JSON");
    assert!(read.heat.is_empty() && !report.heat.is_empty());
    let [read, written] =
        [&read, &report].map(|report| serde_json::to_value(report).expect("finite numbers"));
    check_same("report", &read, &written);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["schema"], SCHEMA);
    assert_eq!(value["version"], 1);
    assert_eq!(value["certificate"]["verdict"], "VALID");
    assert_eq!(value["workload"]["arrivals"]["kind"], "ramp");
    assert!(value["latency"]["response"]["p99"]["ms"].as_f64().is_some_and(|ms| (2.0..3.0).contains(&ms)));
    assert_eq!(value["counts"]["errors"]["timeout"], 0);
}

/// The same but for the last bit of a number, which `serde_json` may read otherwise than it was.
fn check_same(path: &str, read: &serde_json::Value, written: &serde_json::Value) {
    use serde_json::Value;
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            assert!(read.keys().eq(written.keys()), "{path}");
            for (key, value) in written {
                check_same(&format!("{path}.{key}"), &read[key], value);
            }
        }
        (Value::Array(read), Value::Array(written)) => {
            assert_eq!(read.len(), written.len(), "{path}");
            for (at, (read, written)) in read.iter().zip(written).enumerate() {
                check_same(&format!("{path}[{at}]"), read, written);
            }
        }
        (Value::Number(read), Value::Number(written)) => {
            let [read, written] = [read, written].map(|number| number.as_f64().expect("a number"));
            assert!((read - written).abs() <= written.abs() * 1e-15, "{path}: {read} {written}");
        }
        _ => assert_eq!(read, written, "{path}"),
    }
}

#[test]
fn an_invalid_run_has_no_percentile_in_any_format() {
    let report = invalid();
    assert_eq!(report.certificate.verdict, Verdict::Invalid);
    let value: serde_json::Value =
        serde_json::from_str(&json::render(&report).expect("finite numbers")).expect("JSON");
    assert!(
        value["latency"].is_null() && value["connect"].is_null() && value["requests"][0]["latency"].is_null()
    );
    assert!(value["streams"]["gap"].is_null() && value["series"][3]["p99_ms"].is_null());
    assert_eq!(value["distribution"].as_array().map(Vec::len), Some(0));
    let text = text::render(&report);
    assert!(text.starts_with("Certificate  INVALID"), "{text}");
    assert!(text.contains("No percentile is printed") && text.contains("generator busy"), "{text}");
    // The lag's percentiles are the evidence; none of the latency's is there.
    assert!(text.lines().all(|line| !line.contains("p99") || line.contains("schedule lag")), "{text}");
    let page = html::render(&report);
    assert!(
        page.contains("No percentile is shown")
            && !page.contains("id=\"curve\"")
            && !page.contains("id=\"heat")
    );
    assert!(!page.contains("Percentiles</h2>"));
    let mut hgrm = Vec::new();
    hgrm::write(&mut hgrm, &sample::outcome().latencies.response, &report.certificate).expect("memory");
    let hgrm = String::from_utf8(hgrm).expect("text");
    assert!(hgrm.lines().skip(2).all(|line| line.starts_with("#[INVALID: ")), "{hgrm}");
    assert!(hgrm.contains("generator busy"));
}

/// Parses the format as its plotters do: white space apart, `#` a comment.
fn rows(hgrm: &str) -> Vec<Vec<f64>> {
    let parse = |line: &str| line.split_whitespace().map(|cell| cell.parse().expect("a number")).collect();
    hgrm.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect()
}

#[test]
fn hgrm_is_the_histogram() {
    let outcome = sample::outcome();
    let histogram = &outcome.latencies.response;
    let mut out = Vec::new();
    hgrm::write(&mut out, histogram, &Certificate::of(&outcome)).expect("memory");
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
    let rows = rows(&text);
    assert!(rows.len() > 40);
    let (mut value_before, mut count_before) = (0.0, 0.0);
    for row in &rows {
        let (value, percentile, count) = (row[0], row[1], row[2]);
        assert!(value >= value_before && count >= count_before, "{row:?}");
        let nanos = (value * 1e6).round() as u64;
        let near = [nanos.saturating_sub(500), nanos + 500].map(|at| histogram.count_between(0, at));
        assert!((near[0]..=near[1]).contains(&(count as u64)), "{row:?} {near:?}");
        assert!(count / histogram.len() as f64 >= percentile - 1e-9, "{row:?}");
        if let Some(inverse) = row.get(3) {
            assert!((inverse - 1.0 / (1.0 - percentile)).abs() <= 0.006 + inverse * 1e-6, "{row:?}");
        }
        (value_before, count_before) = (value, count);
    }
    let last = rows.last().expect("rows");
    assert_eq!((last.len(), last[1], last[2] as u64), (3, 1.0, histogram.len()));
    assert!((last[0] - histogram.max() as f64 / 1e6).abs() < 0.001);
    let footer: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(footer.len(), 3);
    assert_eq!(footer[1], format!("#[Max     = {:12.3}, Total count    = {:12}]", last[0], histogram.len()));
    assert!(footer[2].ends_with("SubBuckets     =         2048]"), "{}", footer[2]);
}

#[test]
fn hgrm_of_nothing_has_a_head_and_a_foot() {
    let mut out = Vec::new();
    let certificate = Certificate { verdict: Verdict::Valid, checks: Vec::new() };
    hgrm::write(&mut out, &crate::load::new_histogram(), &certificate).expect("memory");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("Total count    =            0]"), "{text}");
}

fn decode(encoded: &str) -> Histogram<u64> {
    let payload = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    Deserializer::new().deserialize(&mut payload.as_slice()).expect("a histogram")
}

#[test]
fn hlog_is_read_back_by_the_crate_without_loss() {
    let started = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let intervals: Vec<_> = (0..3).map(|at| sample::interval(at, at + 1)).collect();
    let mut log = hlog::HistogramLog::new(Vec::new());
    for interval in &intervals {
        log.interval(interval, started + interval.start + interval.length).expect("memory");
    }
    let written = log.finish(started).expect("memory");
    let text = String::from_utf8(written.clone()).expect("text");
    assert!(text.contains("\n#[Histogram log format version 1.3]\n"), "{text}");
    let mut times = Vec::new();
    let mut read = Vec::new();
    for entry in IntervalLogIterator::new(&written) {
        match entry.expect("a valid log") {
            LogEntry::StartTime(at) | LogEntry::BaseTime(at) => times.push(at.as_secs()),
            LogEntry::Interval(line) => read.push(line),
        }
    }
    assert_eq!(times, [1_700_000_000; 2]);
    assert_eq!(read.len(), 9);
    for (interval, lines) in intervals.iter().zip(read.chunks(3)) {
        let tagged = [
            (hlog::RESPONSE, &interval.latencies.response),
            (hlog::SERVICE, &interval.latencies.service),
            (hlog::LAG, &interval.lag),
        ];
        for (line, (tag, histogram)) in lines.iter().zip(tagged) {
            assert_eq!(line.tag().map(|tag| tag.as_str()), Some(tag));
            assert_eq!((line.start_timestamp(), line.duration()), (interval.start, interval.length));
            assert!((line.max() - histogram.max() as f64 / 1e6).abs() < 0.001);
            assert!(line.encoded_histogram().starts_with("HISTFAAA"));
            assert_eq!(&decode(line.encoded_histogram()), histogram);
        }
    }
}

#[test]
fn ndjson_is_a_line_an_interval() {
    let mut out = Vec::new();
    for at in 0..2 {
        ndjson::write(&mut out, &sample::interval(at, 1)).expect("memory");
    }
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<ndjson::Line> =
        text.lines().map(|line| serde_json::from_str(line).expect("own JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], ndjson::Line::of(&sample::interval(1, 1)));
    assert_eq!((lines[1].at_seconds, lines[1].achieved_per_second), (1.0, sample::RATE as f64));
    // 2,000 replies carry p99, not p99.9.
    assert!(lines[1].latency.response.p99.ms.is_some() && lines[1].latency.response.p999.ms.is_none());
}

#[test]
fn text_says_what_matters_in_its_order() {
    let report = report_of(|run| {
        run.streams = Some(sample::streams());
        run.machine.steal_share = Some(0.05);
        run.cut = Some("interrupted".into());
        run.requests.push(run.requests[0].clone());
    });
    let text = text::render(&report);
    let order = [
        "Certificate  DEGRADED",
        "steal: 5.00 %, wanted below 1.00 %",
        "PARTIAL",
        "interrupted",
        "Target",
        "asked 2,000/s",
        "response",
        "p50",
        "p99.99",
        "max",
        "Request",
        "Streams",
        "first event",
        "Connect",
        "Generator",
    ];
    let mut rest = text.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or too early in\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(text.contains("~"), "p99.99 of 40,000 is rough\n{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn text_says_where_samples_are_too_few() {
    let report = report_of(|run| {
        run.latencies.service = sample::histogram((0..5_000).map(|_| 600_000));
        run.pacing.in_flight_seconds = 3.0;
    });
    let row = |name: &str| {
        let text = text::render(&report);
        text.lines().find(|line| line.starts_with(name)).map(str::to_owned).expect("a row")
    };
    assert!(row("p99.99").contains("insufficient samples"), "{}", row("p99.99"));
    assert!(!row("p99 ").contains("insufficient"), "{}", row("p99 "));
}

#[test]
fn a_closed_loop_has_one_column_and_a_warning() {
    let text = text::render(&report_of(|run| run.spec.arrivals = Arrivals::Closed));
    assert!(text.contains("coordinated omission") && !text.contains("response"), "{text}");
    let page = html::render(&report_of(|run| run.spec.arrivals = Arrivals::Closed));
    assert!(page.contains("stalls are under-represented"));
}

/// Opening and closing tags match, attributes are quoted, and nothing is loaded from anywhere.
pub(crate) fn check_page(page: &str) {
    const VOID: [&str; 2] = ["!DOCTYPE", "meta"];
    let (mut open, mut rest): (Vec<&str>, &str) = (Vec::new(), page);
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        assert!(open.last() == Some(&"style") || !text.contains('>'), "a bare > in {text:?}");
        let end = tag.find('>').expect("a tag ends");
        let inner = &tag[1..end];
        let name = inner.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        if inner.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "at {}", &tag[..tag.len().min(80)]);
        } else {
            assert_eq!(inner.matches('"').count() % 2, 0, "{inner}");
            assert!(!["script", "link", "img", "iframe", "image", "use"].contains(&name), "{inner}");
            assert!(!inner.contains("://") && !inner.contains("href") && !inner.contains("src="), "{inner}");
            if !inner.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
        rest = &tag[end + 1..];
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(!page.contains("url(") && !page.contains("@import"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number that is none");
}

#[test]
fn pages_are_well_formed_and_load_nothing() {
    let ramp = report_of(|run| {
        run.spec.arrivals = Arrivals::Ramp { from: 10.0, to: 4_000.0 };
        run.streams = Some(sample::streams());
        run.requests.push(run.requests[0].clone());
        run.requests[1].name = "<script>alert('&')</script>".into();
        for (at, point) in run.series.iter_mut().enumerate() {
            point.asked = 200.0 * at as f64;
        }
    });
    let page = html::render(&ramp);
    check_page(&page);
    for id in ["curve", "rates", "latency", "heat", "load-latency"] {
        let label = format!("aria-labelledby=\"{id}-title {id}-desc\"");
        assert_eq!(page.matches(&label).count(), 1, "{id}");
        // A table follows each plot before the next section.
        let after = &page[page.find(&label).expect("drawn")..];
        let section = &after[..after.find("</section>").expect("a section ends")];
        assert!(section.contains("<table>"), "{id} has no table");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("lang=\"en\""));
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)"));
    check_page(&html::render(&invalid()));
    check_page(&html::render(&report_of(|run| run.spec.arrivals = Arrivals::Closed)));
}

#[test]
fn pages_of_nothing_are_well_formed() {
    let report = report_of(|run| {
        run.latencies = Default::default();
        run.totals = Default::default();
        run.series.clear();
        run.requests.clear();
        run.measured = Duration::ZERO;
        run.lag.reset();
        run.connect.reset();
    });
    check_page(&html::render(&report));
    let text = text::render(&report);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    json::render(&report).expect("finite numbers");
}

#[test]
fn the_collector_is_bounded_and_loses_no_reply() {
    let mut collector = Collector::new();
    let interval = sample::interval(0, 1);
    for at in 0..1_000 {
        let mut next = interval.clone();
        next.start = Duration::from_secs(at);
        collector.interval(&next);
    }
    let columns = collector.columns();
    assert!((120..=240).contains(&columns.len()), "{}", columns.len());
    let replies: u64 = columns.iter().flat_map(Column::buckets).map(|(_, count)| count).sum();
    assert_eq!(replies, 1_000 * sample::RATE);
    assert_eq!(columns[0].start_seconds, 0.0);
    for pair in columns.windows(2) {
        assert_eq!(pair[0].start_seconds + pair[0].length_seconds, pair[1].start_seconds);
    }
    assert_eq!(columns.last().map(|last| last.start_seconds + last.length_seconds), Some(1_000.0));
}

#[test]
fn buckets_hold_their_values() {
    let collector = collector(1);
    for (bucket, _) in collector.columns()[0].buckets() {
        let (low, high) = bucket_edges(bucket);
        assert!(low < high && high / low < 1.05);
        assert!(low < 2.011 && high > 1.009, "{low} {high}");
    }
}

#[test]
fn neighbours_that_resemble_each_other_widen_the_intervals() {
    // Every second interval is twice as slow, so replies beyond 2.1 ms come in clusters.
    let collector = collector(40);
    assert!(collector.design_effect(2_100_000) > 100.0);
    // Where every interval has the same share beyond, there is no clustering.
    let mut even = Collector::new();
    for at in 0..40 {
        even.interval(&sample::interval(at, 1));
    }
    assert_eq!(even.design_effect(1_500_000), 1.0);
    assert_eq!(Collector::new().design_effect(1), 1.0);
}

#[test]
fn a_folder_holds_all_files() {
    let folder = std::env::temp_dir().join(format!("erlmcp-report-{}", std::process::id()));
    let mut files = Files::create(&folder).expect("a folder");
    let now = SystemTime::now();
    files.interval(&sample::interval(0, 1), now).expect("written");
    // Lines are there while the run goes on.
    let lines = std::fs::read_to_string(folder.join(NDJSON)).expect("read");
    assert_eq!(lines.lines().count(), 1);
    let outcome = sample::outcome();
    let report = Report::of(&outcome, None, Host::default());
    let paths = files.finish(&report, &outcome, now).expect("written");
    assert_eq!(paths.len(), 6);
    for path in &paths {
        assert!(std::fs::metadata(path).is_ok_and(|file| file.len() > 0), "{}", path.display());
    }
    std::fs::remove_dir_all(&folder).expect("removed");
    let error =
        Files::create(std::path::Path::new("/proc/erlmcp")).map(|_| ()).expect_err("not a place for files");
    assert!(error.to_string().contains("/proc/erlmcp"), "{error}");
}
