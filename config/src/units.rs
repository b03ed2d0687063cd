//! Units that people write: durations (`5s`, `100ms`, `7d`), sizes (`256MB`, `8Gi`), CPU quantities (`4000m`).
//!
//! Owns parsing and the canonical spelling; the two are inverse, so that what `show` prints loads again.
//! Never decides what a bare integer means: that is the key's business ([`Bare`]).

use std::time::Duration;

/// What a bare integer of time means for a key (see `design`: the unit that the seed's files use there).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

/// Longest duration accepted, in milliseconds: ten years. Keeps every sum of deadlines far from overflow.
pub const DURATION_MS_MAX: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Milliseconds per unit, largest first.
const TIME: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes per unit. Binary ones first, so that the canonical spelling prefers them.
const SIZE: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
];

/// Splits `"250ms"` into `(250, "ms")`. Whole numbers only.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim()))
}

/// Parses a duration; a bare integer takes `bare`'s unit.
///
/// # Errors
/// A sentence that says what would have been accepted.
pub fn parse_duration(text: &str, bare: Bare) -> Result<Duration, String> {
    let wanted = || format!("`{}` is no duration such as 100ms, 5s, 30m, 2h or 7d", text.trim());
    let (count, unit) = split(text).ok_or_else(wanted)?;
    let ms_per_unit = match (unit, bare) {
        ("", Bare::Millis) => 1,
        ("", Bare::Seconds) => 1000,
        _ => TIME.iter().find(|(name, _)| *name == unit).ok_or_else(wanted)?.1,
    };
    match count.checked_mul(ms_per_unit) {
        Some(ms) if ms <= DURATION_MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err(format!("`{}` is longer than ten years", text.trim())),
    }
}

/// The shortest exact spelling, to the millisecond: `90s`, `5m`, `1500ms`.
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let (unit, per) = TIME.iter().find(|(_, per)| ms.is_multiple_of(*per)).copied().unwrap_or(("ms", 1));
    format!("{}{unit}", ms / per)
}

/// Parses a size in bytes. `KB`/`MB`/… are powers of 1000; `KiB` and Kubernetes' `Ki` are powers of 1024;
/// a bare integer is bytes.
///
/// # Errors
/// A sentence that says what would have been accepted.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wanted = || format!("`{}` is no size such as 65536, 64KiB, 256MB or 8Gi", text.trim());
    let (count, unit) = split(text).ok_or_else(wanted)?;
    let bytes_per_unit = match unit {
        "" | "B" => 1,
        "KB" | "K" | "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => {
            SIZE.iter()
                .find(|(name, _)| *name == unit || name.strip_suffix('B') == Some(unit))
                .ok_or_else(wanted)?
                .1
        }
    };
    count.checked_mul(bytes_per_unit).ok_or_else(|| format!("`{}` does not fit 64 bits", text.trim()))
}

/// The shortest exact spelling: `256MB`, `8GiB`, `65537`.
pub fn format_bytes(bytes: u64) -> String {
    match SIZE.iter().find(|(_, per)| bytes > 0 && bytes.is_multiple_of(*per)) {
        Some((unit, per)) => format!("{}{unit}", bytes / per),
        None => bytes.to_string(),
    }
}

/// Parses a Kubernetes CPU quantity (`4000m`, `4`, `0.5`) into thousandths of a core.
///
/// # Errors
/// A sentence that says what would have been accepted.
pub fn parse_millicores(text: &str) -> Result<u64, String> {
    let wanted = || format!("`{}` is no CPU quantity such as 4000m, 4 or 0.5", text.trim());
    let text = text.trim();
    let parsed = if let Some(milli) = text.strip_suffix('m') {
        milli.parse().ok()
    } else {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        let thousandths = format!("{part:0<3}").parse::<u64>().ok().filter(|_| digits);
        whole.parse::<u64>().ok().zip(thousandths).and_then(|(w, t)| w.checked_mul(1000)?.checked_add(t))
    };
    parsed.filter(|milli: &u64| *milli <= 1_000_000_000).ok_or_else(wanted)
}

/// Always the `m` spelling, which Kubernetes prefers.
pub fn format_millicores(millicores: u64) -> String {
    format!("{millicores}m")
}

/// `#[serde(with = "units::duration")]`: a [`Duration`] as its canonical text.
pub mod duration {
    use super::{Bare, Duration, format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the canonical text.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }

    /// Reads text with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text, Bare::Millis).map_err(D::Error::custom)
    }
}

/// `#[serde(with = "units::duration_opt")]`: an optional [`Duration`].
pub mod duration_opt {
    use super::{Bare, Duration, format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the canonical text, or null.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(&format_duration(*value)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads text with a unit, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse_duration(&text, Bare::Millis)).transpose().map_err(D::Error::custom)
    }
}

/// `#[serde(with = "units::bytes")]`: a size in bytes as its canonical text.
pub mod bytes {
    use super::{format_bytes, parse_bytes};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the canonical text.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_bytes(*value))
    }

    /// Reads text with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        parse_bytes(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// `#[serde(with = "units::millicores")]`: thousandths of a core as Kubernetes writes them.
pub mod millicores {
    use super::{format_millicores, parse_millicores};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the canonical text.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_millicores(*value))
    }

    /// Reads text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        parse_millicores(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_the_seed_writes_them() {
        for (text, ms) in
            [("5s", 5000), ("30m", 1_800_000), ("7d", 604_800_000), ("100ms", 100), ("30000", 30_000)]
        {
            assert_eq!(parse_duration(text, Bare::Millis), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_duration("86400", Bare::Seconds), Ok(Duration::from_secs(86_400)));
        for text in ["", "s", "-5s", "1.5s", "5 parsecs", "99999999999999999999s", "4000000d"] {
            assert!(parse_duration(text, Bare::Millis).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_quantities() {
        for (text, bytes) in
            [("256MB", 256_000_000), ("8Gi", 8 << 30), ("40GiB", 40 << 30), ("10", 10), ("1k", 1000)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["MB", "1XB", "1.5GB", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for (text, milli) in [("4000m", 4000), ("2", 2000), ("0.5", 500), ("1.25", 1250)] {
            assert_eq!(parse_millicores(text), Ok(milli), "{text}");
        }
        for text in ["m", "-1", "1.2345", "1.x", "four"] {
            assert!(parse_millicores(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(ms in 0..DURATION_MS_MAX, bytes: u64, milli in 0u64..1_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration), Bare::Seconds), Ok(duration));
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
            prop_assert_eq!(parse_millicores(&format_millicores(milli)), Ok(milli));
        }
    }
}
