//! One value as it stands in a file: `${VAR}` put in, read by its shape, spelled canonically.
//!
//! Owns the wording about single values. Quotes only what stands in the file, never what the environment put in.

use crate::shape::Shape;
use crate::units::{
    format_bytes, format_duration, format_millicores, parse_bytes, parse_duration, parse_millicores,
};
use crate::walk::suggest;
use crate::yaml::clip;
use serde_json::Value;
use std::fmt::Display;
use std::time::Duration;

/// A scalar's text after `${VAR}`, and how to quote it.
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) plain: bool,
    pub(crate) quoted: String,
}

/// What, why, remedy.
pub(crate) type Fault = (String, String, String);

/// The value of a leaf in the one spelling that `serde` and `show` use.
///
/// # Errors
/// Three texts that quote the value as it stands in the file.
pub(crate) fn canonical(shape: &Shape, scalar: &Scalar) -> Result<Value, Fault> {
    let text = scalar.text.as_str();
    let wrong = || scalar.wrong(shape);
    match shape {
        Shape::Bool => match text {
            "true" | "True" | "TRUE" if scalar.plain => Ok(true.into()),
            "false" | "False" | "FALSE" if scalar.plain => Ok(false.into()),
            _ => Err(wrong()),
        },
        Shape::Int { min, max } => {
            let value: i128 = text.parse().ok().filter(|_| scalar.plain).ok_or_else(wrong)?;
            let value = u64::try_from(value).ok().filter(|value| (min..=max).contains(&value));
            value.map(Value::from).ok_or_else(|| scalar.outside(min, max))
        }
        Shape::Number { min, max } => {
            let value: Option<f64> = text.parse().ok().filter(|v: &f64| v.is_finite() && scalar.plain);
            let value = value.ok_or_else(wrong)?;
            if (*min..=*max).contains(&value) { Ok(value.into()) } else { Err(scalar.outside(min, max)) }
        }
        Shape::Duration { bare, min, max } => {
            let value = parse_duration(text, *bare).map_err(|_| wrong())?;
            if (u128::from(*min)..=u128::from(*max)).contains(&value.as_millis()) {
                return Ok(format_duration(value).into());
            }
            let millis = |ms: u64| format_duration(Duration::from_millis(ms));
            Err(scalar.outside(millis(*min), millis(*max)))
        }
        Shape::Bytes { min, max } => {
            let value = parse_bytes(text).map_err(|_| wrong())?;
            if (*min..=*max).contains(&value) {
                Ok(format_bytes(value).into())
            } else {
                Err(scalar.outside(format_bytes(*min), format_bytes(*max)))
            }
        }
        Shape::Cpu => {
            parse_millicores(text).map(|value| format_millicores(value).into()).map_err(|_| wrong())
        }
        Shape::Text(rule) => match (rule.check)(text) {
            Ok(()) => Ok(text.into()),
            Err(why) => {
                let what = format!("{} is not {}", scalar.quoted, rule.name);
                Err((what, why, format!("write it like `{}`", rule.example)))
            }
        },
        Shape::Choice(words) if words.contains(&text) => Ok(text.into()),
        Shape::Choice(words) => {
            let what = format!("{} is none of the known ones", scalar.quoted);
            Err((what, String::new(), suggest(text, words)))
        }
        Shape::Secret => Ok(text.into()),
        // Containers never come here: the walk sends only leaves.
        _ => Err(wrong()),
    }
}

impl Scalar {
    fn wrong(&self, shape: &Shape) -> Fault {
        let quotes = if self.plain { "" } else { " in quotes" };
        let what = format!("wanted {}, found {}{quotes}", wanted(shape), self.quoted);
        (what, String::new(), "correct the value".to_owned())
    }

    fn outside(&self, min: impl Display, max: impl Display) -> Fault {
        let what = format!("{} is out of bounds", self.quoted);
        (what, format!("it must lie from {min} to {max}"), "correct the value".to_owned())
    }
}

/// What a shape takes, with its article.
pub(crate) fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "true or false".into(),
        Shape::Int { min, max: u64::MAX } => format!("an integer of at least {min}"),
        Shape::Int { min, max } => format!("an integer from {min} to {max}"),
        Shape::Number { min, max } => format!("a number from {min} to {max}"),
        Shape::Duration { .. } => "a duration such as 100ms, 5s or 30m".into(),
        Shape::Bytes { .. } => "a size such as 65536, 64KiB or 256MB".into(),
        Shape::Cpu => "a CPU quantity such as 4000m or 4".into(),
        Shape::Text(rule) => rule.name.into(),
        Shape::Choice(words) => format!("one of {}", words.join(", ")),
        Shape::Secret => "a text".into(),
        _ => "another kind of value".into(),
    }
}

/// Puts `${VAR}` in; `$${` stays as `${`.
///
/// # Errors
/// What is wrong and what to do, naming the variable but no value.
pub(crate) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let tail = &rest[start + 2..];
        let end = tail
            .find('}')
            .ok_or_else(|| ("`${` without `}`".to_owned(), "close it, or write `$${`".to_owned()))?;
        let name = &tail[..end];
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let what = format!("`${{{}}}` names no environment variable", clip(name));
            return Err((
                what,
                "use letters, digits and `_`, or write `$${` for the characters themselves".into(),
            ));
        }
        match env(name) {
            Some(value) => out.push_str(&value),
            None => {
                let what = format!("environment variable {name} is not set");
                return Err((what, format!("set {name}, or write the value here")));
            }
        }
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_put_in() {
        let env = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expand("x${A}y${A}", &env), Ok("x1y1".into()));
        assert_eq!(expand("$${A} $5", &env), Ok("${A} $5".into()));
        assert_eq!(expand("${B}", &env).unwrap_err().0, "environment variable B is not set");
        assert!(
            expand("${A", &env).is_err() && expand("${}", &env).is_err() && expand("${a-b}", &env).is_err()
        );
    }
}
