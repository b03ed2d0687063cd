//! Which processors carry traffic and which do everything else. Pure.
//!
//! Owns the rule; both planes take their threads' places from its result, so that they cannot disagree. Never reads the
//! host and never pins.
//!
//! Rule: one processor is shared by a shard and the housekeeping. Of two or more, the first is housekeeping and each of
//! the others gets a shard. A wish for shards names exactly those; housekeeping is then what is left, or, when nothing is
//! left, all of them. A wish for housekeeping names exactly those; shards then get the rest.

use std::collections::BTreeSet;

use erlmcp_config::{CpuPlan, CpuWish as Wish};

use crate::cpu_list;
use crate::probe::CpuProbe;

/// What the operator asked for; `None` leaves it to the rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuWish {
    /// Processors for shards, in this order.
    pub shards: Option<Vec<usize>>,
    /// Processors for everything else.
    pub housekeeping: Option<Vec<usize>>,
}

impl CpuWish {
    /// The wish of `runtime.yaml`: its `cpus` and `housekeeping`.
    pub fn from_config(shards: &Wish, housekeeping: &Wish) -> Self {
        let list = |wish: &Wish| match wish {
            Wish::Auto => None,
            Wish::List(cpus) => Some(cpus.clone()),
        };
        Self { shards: list(shards), housekeeping: list(housekeeping) }
    }
}

/// Why a wish cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuPlanError {
    /// Affinity, cpuset and online processors have nothing in common.
    #[error("no processor is usable: affinity, cpuset and online processors have none in common")]
    None,
    /// A list without processors.
    #[error("the list of processors for {0} is empty; name at least one or leave it to `auto`")]
    Empty(&'static str),
    /// A processor stands twice in one list.
    #[error("processor {cpu} stands twice in the list for {list}; one shard runs on one processor")]
    Twice {
        /// The processor.
        cpu: usize,
        /// Which list.
        list: &'static str,
    },
    /// A processor that this process may not use.
    #[error("processor {cpu} cannot be used for {list}: this process may use {usable}; {why}")]
    NotUsable {
        /// The processor.
        cpu: usize,
        /// Which list.
        list: &'static str,
        /// What may be used, as a list.
        usable: String,
        /// Which restriction excludes it, and the remedy.
        why: &'static str,
    },
}

/// Places shards and housekeeping.
///
/// # Errors
/// [`CpuPlanError`] when a wish names what this process may not use, or nothing is usable.
pub fn cpus(probe: &CpuProbe, wish: &CpuWish) -> Result<CpuPlan, CpuPlanError> {
    let usable = probe.usable();
    let first = usable.first().copied().ok_or(CpuPlanError::None)?;
    let shards = wish.shards.as_deref().map(|list| granted(probe, &usable, list, "shards")).transpose()?;
    let housekeeping =
        wish.housekeeping.as_deref().map(|list| granted(probe, &usable, list, "housekeeping")).transpose()?;
    let housekeeping = match (&shards, housekeeping) {
        (_, Some(list)) => list,
        (Some(shards), None) => rest_or_all(&usable, shards),
        (None, None) => vec![first],
    };
    let shards = shards.unwrap_or_else(|| rest_or_all(&usable, &housekeeping));
    Ok(CpuPlan { shards, housekeeping })
}

/// What `taken` leaves of `usable`, or all of it when that is nothing.
fn rest_or_all(usable: &BTreeSet<usize>, taken: &[usize]) -> Vec<usize> {
    let rest: Vec<usize> = usable.iter().copied().filter(|cpu| !taken.contains(cpu)).collect();
    if rest.is_empty() { usable.iter().copied().collect() } else { rest }
}

fn granted(
    probe: &CpuProbe,
    usable: &BTreeSet<usize>,
    list: &[usize],
    name: &'static str,
) -> Result<Vec<usize>, CpuPlanError> {
    if list.is_empty() {
        return Err(CpuPlanError::Empty(name));
    }
    let mut seen = BTreeSet::new();
    for &cpu in list {
        if !usable.contains(&cpu) {
            let usable = cpu_list::format(usable);
            return Err(CpuPlanError::NotUsable { cpu, list: name, usable, why: restriction(probe, cpu) });
        }
        if !seen.insert(cpu) {
            return Err(CpuPlanError::Twice { cpu, list: name });
        }
    }
    Ok(list.to_vec())
}

fn restriction(probe: &CpuProbe, cpu: usize) -> &'static str {
    if probe.online.as_ref().is_some_and(|online| !online.contains(&cpu)) {
        "it does not exist or is switched off"
    } else if probe.cpuset.as_ref().is_some_and(|cpuset| !cpuset.contains(&cpu)) {
        "its control group's cpuset excludes it: change cpuset.cpus or the container's CPU set"
    } else {
        "its affinity excludes it: start it under `taskset` or `CPUAffinity=` with that processor"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(cpus: &str) -> CpuProbe {
        CpuProbe { affinity: cpu_list::parse(cpus).unwrap(), cpuset: None, online: None }
    }

    fn planned(
        usable: &str,
        shards: Option<&[usize]>,
        housekeeping: Option<&[usize]>,
    ) -> (Vec<usize>, Vec<usize>) {
        let wish =
            CpuWish { shards: shards.map(<[_]>::to_vec), housekeeping: housekeeping.map(<[_]>::to_vec) };
        let plan = cpus(&probe(usable), &wish).unwrap();
        (plan.shards, plan.housekeeping)
    }

    #[test]
    fn the_configuration_s_wish() {
        let wish = CpuWish::from_config(&Wish::List(vec![1, 0]), &Wish::Auto);
        assert_eq!(wish, CpuWish { shards: Some(vec![1, 0]), housekeeping: None });
    }

    #[test]
    fn the_rule() {
        assert_eq!(planned("3", None, None), (vec![3], vec![3]));
        assert_eq!(planned("0-1", None, None), (vec![1], vec![0]));
        assert_eq!(planned("2,4-6", None, None), (vec![4, 5, 6], vec![2]));
    }

    #[test]
    fn a_list_of_shards_is_exact_and_keeps_its_order() {
        assert_eq!(planned("0-3", Some(&[3, 1]), None), (vec![3, 1], vec![0, 2]));
        assert_eq!(planned("0-1", Some(&[0]), None), (vec![0], vec![1]));
        assert_eq!(planned("0-1", Some(&[0, 1]), None), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn a_list_of_housekeeping_leaves_the_rest() {
        assert_eq!(planned("0-3", None, Some(&[2, 3])), (vec![0, 1], vec![2, 3]));
        assert_eq!(planned("0-1", None, Some(&[0, 1])), (vec![0, 1], vec![0, 1]));
        assert_eq!(planned("0-3", Some(&[1]), Some(&[1])), (vec![1], vec![1]));
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_restriction() {
        let probe = CpuProbe {
            affinity: cpu_list::parse("0-3").unwrap(),
            cpuset: Some(cpu_list::parse("0-1,4-7").unwrap()),
            online: Some(cpu_list::parse("0-5").unwrap()),
        };
        let refused = |shards: &[usize]| {
            let wish = CpuWish { shards: Some(shards.to_vec()), housekeeping: None };
            cpus(&probe, &wish).unwrap_err()
        };
        assert!(refused(&[7]).to_string().contains("switched off"));
        assert!(refused(&[3]).to_string().contains("cpuset excludes"));
        assert!(refused(&[4]).to_string().contains("affinity excludes"));
        assert!(refused(&[4]).to_string().contains("may use 0-1;"));
        assert_eq!(refused(&[0, 0]), CpuPlanError::Twice { cpu: 0, list: "shards" });
        assert_eq!(refused(&[]), CpuPlanError::Empty("shards"));
        let nothing = CpuProbe { affinity: cpu_list::parse("6").unwrap(), ..probe };
        assert_eq!(cpus(&nothing, &CpuWish::default()), Err(CpuPlanError::None));
    }
}
