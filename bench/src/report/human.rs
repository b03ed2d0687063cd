//! Numbers as people read them: three significant digits, units, thousands. Never for machines.

/// Nanoseconds, in the unit that leaves one to three digits before the point.
#[must_use]
pub fn nanoseconds(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let (size, unit) =
        UNITS.into_iter().find(|(size, _)| value.abs() >= size * 0.9995).unwrap_or((1.0, "ns"));
    if value == 0.0 { "0 s".to_owned() } else { format!("{} {unit}", significant(value / size)) }
}

/// Milliseconds, as [`nanoseconds`].
#[must_use]
pub fn milliseconds(value: f64) -> String {
    nanoseconds(value * 1e6)
}

/// A count, with thousands apart.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate per second.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second >= 999.5 {
        format!("{}/s", count(per_second.round() as u64))
    } else {
        format!("{}/s", significant(per_second))
    }
}

/// A share of one, in per cent.
#[must_use]
pub fn share(value: f64) -> String {
    let percent = value * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent.abs() < 0.001 {
        "< 0.001 %".to_owned()
    } else {
        format!("{} %", significant(percent))
    }
}

/// Bytes, in powers of 1024.
#[must_use]
pub fn bytes(value: f64) -> String {
    const UNITS: [(f64, &str); 3] =
        [((1_u64 << 30) as f64, "GiB"), ((1_u64 << 20) as f64, "MiB"), ((1_u64 << 10) as f64, "KiB")];
    match UNITS.into_iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{} {unit}", significant(value / size)),
        None => format!("{value:.0} B"),
    }
}

/// Name of a quantile, such as `p99.9`.
#[must_use]
pub fn percentile(p: f64) -> String {
    format!("p{}", trim(format!("{:.6}", p * 100.0)))
}

/// Three significant digits without an exponent; larger numbers keep all before the point.
fn significant(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.0995 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0, 512.0, 85_300.0, 999_700.0, 1.24e6, 3.2e9].map(nanoseconds),
            ["0 s", "512 ns", "85.3 µs", "1.00 ms", "1.24 ms", "3.20 s"]
        );
        assert_eq!(milliseconds(0.085), "85.0 µs");
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([0.0, 2.5, 999.6, 5_000.4].map(rate), ["0/s", "2.50/s", "1,000/s", "5,000/s"]);
        assert_eq!(
            [0.0, 0.000_001, 0.001_2, 0.5, 1.0].map(share),
            ["0 %", "< 0.001 %", "0.12 %", "50.0 %", "100 %"]
        );
        assert_eq!([12.0, 2_048.0, 1_572_864.0].map(bytes), ["12 B", "2.00 KiB", "1.50 MiB"]);
        assert_eq!([0.5, 0.99, 0.999, 0.9999, 0.1].map(percentile), ["p50", "p99", "p99.9", "p99.99", "p10"]);
    }
}
