//! Lists of processors as the kernel and people write them: `0-3,8,10-11`.
//!
//! Owns parsing and printing. Never asks whether a processor exists.

use std::collections::BTreeSet;

/// Highest processor number that is accepted: the largest `NR_CPUS` that kernels are built with, less one.
pub const CPU_MAX: usize = 8191;

/// Why a list was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuListError {
    /// A part is neither a number nor a range.
    #[error("`{0}` is neither a processor number nor a range such as 0-3")]
    NotANumber(String),
    /// A range ends before it starts.
    #[error("the range `{0}` ends before it starts")]
    Backwards(String),
    /// A number beyond [`CPU_MAX`].
    #[error("processor {0} is beyond the highest possible one, {CPU_MAX}")]
    TooHigh(usize),
}

/// Parses a list; blanks around parts are passed over, an empty text is the empty set.
///
/// # Errors
/// [`CpuListError`] for the first part that is wrong.
pub fn parse(text: &str) -> Result<BTreeSet<usize>, CpuListError> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, part)?, number(last, part)?);
        if last < first {
            return Err(CpuListError::Backwards(part.to_owned()));
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

/// Prints a set in the kernel's form, runs joined: `0-3,8`.
pub fn format<'a>(cpus: impl IntoIterator<Item = &'a usize>) -> String {
    let sorted: BTreeSet<usize> = cpus.into_iter().copied().collect();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for cpu in sorted {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let print = |(first, last): (usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.into_iter().map(print).collect::<Vec<_>>().join(",")
}

fn number(text: &str, part: &str) -> Result<usize, CpuListError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuListError::NotANumber(part.to_owned()));
    }
    let number = text.parse().unwrap_or(usize::MAX);
    if number > CPU_MAX { Err(CpuListError::TooHigh(number)) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_forms() {
        assert_eq!(parse("0-3,8, 10-11\n").unwrap(), BTreeSet::from([0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("\n").unwrap(), BTreeSet::new());
        assert_eq!(format(&[11, 0, 1, 2, 10, 5]), "0-2,5,10-11");
    }

    #[test]
    fn wrong_lists_are_refused_by_reason() {
        assert_eq!(parse("1,x"), Err(CpuListError::NotANumber("x".into())));
        assert_eq!(parse("-1"), Err(CpuListError::NotANumber("-1".into())));
        assert_eq!(parse("+1"), Err(CpuListError::NotANumber("+1".into())));
        assert_eq!(parse("3-1"), Err(CpuListError::Backwards("3-1".into())));
        assert_eq!(parse("0-9999999999"), Err(CpuListError::TooHigh(9_999_999_999)));
        assert_eq!(parse("99999999999999999999999"), Err(CpuListError::TooHigh(usize::MAX)));
    }

    proptest! {
        #[test]
        fn printed_sets_read_back(cpus in proptest::collection::btree_set(0..=CPU_MAX, 0..64)) {
            prop_assert_eq!(parse(&format(&cpus)).unwrap(), cpus);
        }

        #[test]
        fn any_text_is_answered(text in "[-0-9, x]{0,40}") {
            if let Ok(cpus) = parse(&text) {
                prop_assert!(cpus.iter().all(|&cpu| cpu <= CPU_MAX));
            }
        }
    }
}
