//! Access records as JSON lines. Pure, and quick: this is paid for with every request.
//!
//! Never allocates per record: it appends to the caller's buffer.

use std::io::Write as _;
use std::net::IpAddr;

use erlmcp_config::model::runtime::LogField;
use erlmcp_dataplane::link::{AccessRecord, Reason};

use crate::publish::NameBook;

/// Formats records; keeps what consecutive records share.
pub struct Formatter {
    fields: Vec<LogField>,
    /// Labels of reasons as JSON strings, by `reason` of the record.
    reasons: Vec<String>,
    /// `"YYYY-MM-DDTHH:MM:SS.` of the second in `stamp_second`.
    stamp: String,
    stamp_second: u64,
    /// The last client's address as text.
    client: String,
    client_ip: Option<IpAddr>,
}

impl Formatter {
    /// Writes these fields, in this order.
    pub fn new(fields: Vec<LogField>) -> Self {
        let reasons = Reason::all().map(|reason| format!("\"{}\"", reason.label())).collect();
        let (stamp, client) = (stamp(0), String::new());
        Self { fields, reasons, stamp, stamp_second: 0, client, client_ip: None }
    }

    /// Appends one line.
    pub fn line(&mut self, record: &AccessRecord<'_>, shard: usize, names: &NameBook, out: &mut Vec<u8>) {
        out.push(b'{');
        let first = out.len();
        for at in 0..self.fields.len() {
            let field = self.fields[at];
            if out.len() > first {
                out.push(b',');
            }
            out.extend_from_slice(key(field));
            self.value(field, record, shard, names, out);
        }
        out.extend_from_slice(b"}\n");
    }

    fn value(
        &mut self,
        field: LogField,
        record: &AccessRecord<'_>,
        shard: usize,
        names: &NameBook,
        out: &mut Vec<u8>,
    ) {
        match field {
            LogField::Time => self.time(record.start_unix_us, out),
            LogField::RequestId => string(record.request_id, out),
            LogField::Client => self.client(record.client, out),
            LogField::Listener => out.extend_from_slice(names.listener(record.listener.0).as_bytes()),
            LogField::Method => string(record.method, out),
            LogField::Host if record.host.is_empty() => out.extend_from_slice(b"null"),
            LogField::Host => string(record.host, out),
            LogField::Path => string(path_of(record.path), out),
            LogField::Status => decimal(u64::from(record.status), out),
            LogField::Reason => out.extend_from_slice(self.reason(record.reason).as_bytes()),
            LogField::Route => out.extend_from_slice(names.route(record.revision, record.route.0).as_bytes()),
            LogField::Node => out.extend_from_slice(names.node(record.endpoint.0).as_bytes()),
            LogField::McpMethod if record.rpc_method.is_empty() => out.extend_from_slice(b"null"),
            LogField::McpMethod => string(record.rpc_method, out),
            LogField::BytesIn => decimal(record.bytes_in, out),
            LogField::BytesOut => decimal(record.bytes_out, out),
            LogField::DurationUs => decimal(u64::from(record.duration_us), out),
            LogField::UpstreamUs => decimal(u64::from(record.upstream_us), out),
            LogField::Shard => decimal(shard as u64, out),
        }
    }

    fn reason(&self, reason: u16) -> &str {
        let index = usize::from(reason).checked_sub(1);
        index.and_then(|index| self.reasons.get(index)).map_or("null", |label| label)
    }

    fn time(&mut self, unix_us: u64, out: &mut Vec<u8>) {
        let (second, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
        if second != self.stamp_second {
            (self.stamp, self.stamp_second) = (stamp(second), second);
        }
        out.extend_from_slice(self.stamp.as_bytes());
        let mut digits = *b"000000Z\"";
        let mut rest = us;
        for digit in digits[..6].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }

    fn client(&mut self, client: Option<IpAddr>, out: &mut Vec<u8>) {
        let Some(ip) = client else { return out.extend_from_slice(b"null") };
        if self.client_ip != Some(ip) {
            (self.client, self.client_ip) = (format!("\"{ip}\""), Some(ip));
        }
        out.extend_from_slice(self.client.as_bytes());
    }
}

/// The path without its query, which may hold what nobody should read in a log.
fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// A field's name with quotes and colon.
const fn key(field: LogField) -> &'static [u8] {
    match field {
        LogField::Time => b"\"time\":",
        LogField::RequestId => b"\"request_id\":",
        LogField::Client => b"\"client\":",
        LogField::Listener => b"\"listener\":",
        LogField::Method => b"\"method\":",
        LogField::Host => b"\"host\":",
        LogField::Path => b"\"path\":",
        LogField::Status => b"\"status\":",
        LogField::Reason => b"\"reason\":",
        LogField::Route => b"\"route\":",
        LogField::Node => b"\"node\":",
        LogField::McpMethod => b"\"mcp_method\":",
        LogField::BytesIn => b"\"bytes_in\":",
        LogField::BytesOut => b"\"bytes_out\":",
        LogField::DurationUs => b"\"duration_us\":",
        LogField::UpstreamUs => b"\"upstream_us\":",
        LogField::Shard => b"\"shard\":",
    }
}

/// Whether a byte stands in a JSON string as it is (RFC 8259 section 7).
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    // DEL is allowed; terminals differ.
    plain[0x7f] = false;
    plain
};

/// Appends a JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    if bytes.iter().all(|byte| PLAIN[usize::from(*byte)]) {
        out.extend_from_slice(bytes);
    } else {
        for byte in bytes {
            match byte {
                plain if PLAIN[usize::from(*plain)] => out.push(*plain),
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                // Writing to a vector does not fail.
                control => drop(write!(out, "\\u{control:04x}")),
            }
        }
    }
    out.push(b'"');
}

/// Appends a number.
fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The date and time of a second since 1970 in UTC, up to the point before the fraction (RFC 3339).
/// Days to a date as in Howard Hinnant's "chrono-compatible low-level date algorithms".
fn stamp(second: u64) -> String {
    let (days, rest) = (second / 86_400, second % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_dataplane::link::ids::NO_ENDPOINT;
    use erlmcp_dataplane::link::{EndpointId, ListenerId, RouteIndex};

    const ALL: [LogField; 17] = [
        LogField::Time,
        LogField::RequestId,
        LogField::Client,
        LogField::Listener,
        LogField::Method,
        LogField::Host,
        LogField::Path,
        LogField::Status,
        LogField::Reason,
        LogField::Route,
        LogField::Node,
        LogField::McpMethod,
        LogField::BytesIn,
        LogField::BytesOut,
        LogField::DurationUs,
        LogField::UpstreamUs,
        LogField::Shard,
    ];

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            start_unix_us: 1_764_000_000_000_042,
            duration_us: 1234,
            upstream_us: 0,
            status: 502,
            listener: ListenerId(0),
            route: RouteIndex(0),
            endpoint: EndpointId(0),
            reason: Reason::ConnectFailed.index() as u16 + 1,
            retries: 0,
            bytes_in: 17,
            bytes_out: u64::MAX,
            client: Some("::ffff:10.0.0.1".parse().unwrap()),
            revision: 1,
            request_id: "0f\"",
            method: "POST",
            path: "/a\"b\\c\u{1}é?token=x",
            host: "mcp.example:81",
            rpc_method: "",
        }
    }

    fn format(record: &AccessRecord<'_>) -> serde_json::Value {
        let names = NameBook::default().with(&crate::publish::build_tests::snapshot(1, &["r\n"]));
        let mut out = Vec::new();
        Formatter::new(ALL.to_vec()).line(record, 3, &names, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_is_json_with_every_field() {
        let line = format(&record());
        let expected = serde_json::json!({
            "time": "2025-11-24T16:00:00.000042Z", "request_id": "0f\"", "client": "::ffff:10.0.0.1",
            "listener": "l", "method": "POST", "host": "mcp.example:81", "path": "/a\"b\\c\u{1}é", "status": 502,
            "reason": "connect_failed", "route": "r\n", "node": "n", "mcp_method": null, "bytes_in": 17,
            "bytes_out": u64::MAX, "duration_us": 1234, "upstream_us": 0, "shard": 3,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_absent_is_null() {
        let bare = AccessRecord {
            reason: 0,
            endpoint: NO_ENDPOINT,
            client: None,
            host: "",
            rpc_method: "ping",
            ..record()
        };
        let line = format(&bare);
        assert_eq!((&line["reason"], &line["node"], &line["client"]), (&().into(), &().into(), &().into()));
        assert_eq!((&line["host"], &line["mcp_method"]), (&().into(), &"ping".into()));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "\"1970-01-01T00:00:00."),
            (951_782_399, "\"2000-02-28T23:59:59."),
            (951_782_400, "\"2000-02-29T00:00:00."),
            (1_709_251_199, "\"2024-02-29T23:59:59."),
            (4_107_542_400, "\"2100-03-01T00:00:00."),
        ] {
            assert_eq!(stamp(second), text);
        }
    }
}
