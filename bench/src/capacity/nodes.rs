//! How many nodes a peak needs, with growth, headroom, failed nodes and a lost zone; and which resource asks for them.
//!
//! Owns the arithmetic, each figure with its unit in its name. Never measures: capacities and costs come in as arguments, and
//! a resource whose capacity is unknown is left out and named, not guessed.

use serde::Serialize;

/// Most nodes that an answer may have; more means that a figure is in the wrong unit.
pub const NODES_MAX: u64 = 1_000_000;
/// By how much each figure is varied for the sensitivity.
const SENSITIVITY: f64 = 0.2;

/// The peak to be borne and what may go wrong meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Requests per second at the peak of today.
    pub rate_per_s: f64,
    /// Growth until the plan is made anew, 0.3 for 30 %.
    pub growth: f64,
    /// Share of each node that stays unused at the peak, 0.2 for 20 %.
    pub headroom: f64,
    /// Nodes that may be down at the peak, besides a lost zone.
    pub failed: u64,
    /// Zones that the nodes are spread over evenly, of which one may be lost; 0 or 1 plans for none.
    pub zones: u64,
}

/// A resource that a node has so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Requests per second within the goals, as the search found them.
    Rate,
    /// CPU seconds per second.
    Cpu,
    /// Open files.
    Descriptors,
    /// Bytes.
    Memory,
    /// Local ports towards one upstream address.
    Ports,
    /// Bits per second, both directions together.
    Bandwidth,
}

impl Resource {
    /// As reports name it, and its unit.
    #[must_use]
    pub const fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Self::Rate => ("rate within the goals", "requests/s"),
            Self::Cpu => ("CPU", "cores"),
            Self::Descriptors => ("descriptors", "open files"),
            Self::Memory => ("memory", "bytes"),
            Self::Ports => ("upstream ports", "ports"),
            Self::Bandwidth => ("bandwidth", "bit/s"),
        }
    }
}

/// What the peak asks of a resource and what a node has of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Need {
    /// Of what.
    pub resource: Resource,
    /// Needed by one request per second, in the resource's unit.
    pub per_request_per_s: f64,
    /// A node's, in the same unit.
    pub node_capacity: f64,
    /// Used by an idle node already.
    pub node_base: f64,
}

impl Need {
    /// A resource of which an idle node uses nothing.
    #[must_use]
    pub const fn new(resource: Resource, per_request_per_s: f64, node_capacity: f64) -> Self {
        Self { resource, per_request_per_s, node_capacity, node_base: 0.0 }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NodesError {
    /// A figure makes no sense.
    #[error("{what} is {value}; {remedy}")]
    Figure {
        /// Which.
        what: String,
        /// Its value.
        value: f64,
        /// What it has to be.
        remedy: &'static str,
    },
    /// Nothing to plan with.
    #[error("no resource has a known capacity; measure a rate within the goals first")]
    NoResource,
    /// An idle node has nothing left.
    #[error(
        "an idle node uses {base} {unit} of {name} and has {capacity}; with the headroom kept nothing is left: take larger nodes"
    )]
    Full {
        /// Of what.
        name: &'static str,
        /// Its unit.
        unit: &'static str,
        /// Used when idle.
        base: f64,
        /// Had.
        capacity: f64,
    },
    /// More than [`NODES_MAX`].
    #[error("{name} would need {nodes:.3e} nodes; check the unit of the peak and of the node's {name}")]
    TooMany {
        /// By which resource.
        name: &'static str,
        /// How many.
        nodes: f64,
    },
}

/// What one resource asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResourceNodes {
    /// Of what.
    pub need: Need,
    /// Needed by the whole peak with its growth, in the resource's unit.
    pub peak_need: f64,
    /// Nodes that bear the peak with their headroom, none failed; not rounded.
    pub exact: f64,
    /// The same, whole.
    pub serving: u64,
    /// With those that may fail and the zone that may be lost.
    pub total: u64,
    /// Total when a request costs a fifth less, and a fifth more.
    pub total_cheaper_dearer: [u64; 2],
    /// Share of the resource that a node uses at the peak with all planned nodes up.
    pub use_at_peak: f64,
    /// The same with the zone and the failed nodes lost.
    pub use_at_worst: f64,
}

/// One figure varied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// Which figure.
    pub what: String,
    /// Nodes with it a fifth lower, and a fifth higher.
    pub nodes_lower_higher: [u64; 2],
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodePlan {
    /// What was asked.
    pub peak: Peak,
    /// Nodes to have.
    pub nodes: u64,
    /// The resource that asks for most.
    pub binding: Resource,
    /// Nodes that are left when the zone and the failed ones are lost.
    pub nodes_at_worst: u64,
    /// All resources, the binding one first.
    pub resources: Vec<ResourceNodes>,
    /// What the answer depends on.
    pub sensitivity: Vec<Sensitivity>,
}

/// Plans.
///
/// # Errors
/// Figures that make no sense, and nodes that cannot bear anything.
pub fn plan(peak: &Peak, needs: &[Need]) -> Result<NodePlan, NodesError> {
    check(peak, needs)?;
    let mut resources = needs.iter().map(|need| resource_nodes(peak, need)).collect::<Result<Vec<_>, _>>()?;
    resources.sort_by(|a, b| b.exact.total_cmp(&a.exact));
    let binding = resources.first().ok_or(NodesError::NoResource)?;
    let (nodes, binding) = (binding.total, binding.need.resource);
    for resource in &mut resources {
        let usable = |nodes: u64| {
            let used = resource.peak_need / nodes as f64 + resource.need.node_base;
            used / resource.need.node_capacity
        };
        [resource.use_at_peak, resource.use_at_worst] =
            [usable(nodes), usable(surviving(peak, nodes).max(1))];
    }
    Ok(NodePlan {
        peak: *peak,
        nodes,
        binding,
        nodes_at_worst: surviving(peak, nodes),
        sensitivity: sensitivity(peak, needs)?,
        resources,
    })
}

fn check(peak: &Peak, needs: &[Need]) -> Result<(), NodesError> {
    let figure =
        |what: &str, value: f64, remedy| Err(NodesError::Figure { what: what.to_owned(), value, remedy });
    if !(peak.rate_per_s.is_finite() && peak.rate_per_s > 0.0) {
        return figure("the peak", peak.rate_per_s, "give requests per second above 0");
    }
    if !(peak.growth.is_finite() && peak.growth > -1.0) {
        return figure("the growth", peak.growth, "give a share such as 30 %, above -100 %");
    }
    if !(0.0..1.0).contains(&peak.headroom) {
        return figure("the headroom", peak.headroom, "give a share of at least 0 % and below 100 %");
    }
    if peak.failed > NODES_MAX {
        return figure("the number of failed nodes", peak.failed as f64, "give at most a million");
    }
    for need in needs {
        let name = need.resource.name_and_unit().0;
        if !(need.node_capacity.is_finite() && need.node_capacity > 0.0) {
            return figure(&format!("a node's {name}"), need.node_capacity, "give a capacity above 0");
        }
        if !(need.per_request_per_s.is_finite() && need.per_request_per_s >= 0.0 && need.node_base >= 0.0) {
            return figure(
                &format!("{name} per request"),
                need.per_request_per_s,
                "give a cost of at least 0",
            );
        }
    }
    Ok(())
}

fn resource_nodes(peak: &Peak, need: &Need) -> Result<ResourceNodes, NodesError> {
    let (name, unit) = need.resource.name_and_unit();
    let peak_need = peak.rate_per_s * (1.0 + peak.growth) * need.per_request_per_s;
    let usable = need.node_capacity * (1.0 - peak.headroom) - need.node_base;
    if usable <= 0.0 {
        return Err(NodesError::Full { name, unit, base: need.node_base, capacity: need.node_capacity });
    }
    let nodes = |factor: f64| {
        let exact = peak_need * factor / usable;
        if exact > NODES_MAX as f64 { Err(NodesError::TooMany { name, nodes: exact }) } else { Ok(exact) }
    };
    let total = |exact: f64| with_losses(peak, whole(exact));
    let exact = nodes(1.0)?;
    Ok(ResourceNodes {
        need: *need,
        peak_need,
        exact,
        serving: whole(exact),
        total: total(exact),
        total_cheaper_dearer: [total(nodes(1.0 - SENSITIVITY)?), total(nodes(1.0 + SENSITIVITY)?)],
        use_at_peak: 0.0,
        use_at_worst: 0.0,
    })
}

/// Whole nodes, at least one. A billionth is rounding of binary fractions, not need.
fn whole(exact: f64) -> u64 {
    ((exact - 1e-9).ceil() as u64).max(1)
}

/// The fewest nodes of which `serving` are left at the worst.
fn with_losses(peak: &Peak, serving: u64) -> u64 {
    let start = serving + peak.failed;
    if peak.zones < 2 {
        return start;
    }
    // Of z even zones z-1 are left: start * z / (z-1), and a node or two for zones that are not even.
    let mut nodes = start * peak.zones / (peak.zones - 1);
    while surviving(peak, nodes) < serving {
        nodes += 1;
    }
    nodes
}

/// Nodes left of `nodes` when the fullest zone and the failed ones are lost.
fn surviving(peak: &Peak, nodes: u64) -> u64 {
    let zone = if peak.zones < 2 { 0 } else { nodes.div_ceil(peak.zones) };
    nodes.saturating_sub(zone).saturating_sub(peak.failed)
}

fn sensitivity(peak: &Peak, needs: &[Need]) -> Result<Vec<Sensitivity>, NodesError> {
    let nodes = |peak: &Peak, needs: &[Need]| -> Result<u64, NodesError> {
        let each = needs.iter().map(|need| resource_nodes(peak, need).map(|resource| resource.total));
        each.collect::<Result<Vec<_>, _>>()?.into_iter().max().ok_or(NodesError::NoResource)
    };
    let factors = [1.0 - SENSITIVITY, 1.0 + SENSITIVITY];
    let mut rows = Vec::new();
    let mut row = |what: String, vary: &dyn Fn(f64) -> (Peak, Vec<Need>)| -> Result<(), NodesError> {
        let mut nodes_lower_higher = [0; 2];
        for (slot, factor) in nodes_lower_higher.iter_mut().zip(factors) {
            let (peak, needs) = vary(factor);
            *slot = nodes(&peak, &needs)?;
        }
        rows.push(Sensitivity { what, nodes_lower_higher });
        Ok(())
    };
    row("peak".to_owned(), &|factor| {
        (Peak { rate_per_s: peak.rate_per_s * factor, ..*peak }, needs.to_vec())
    })?;
    row("growth".to_owned(), &|factor| (Peak { growth: peak.growth * factor, ..*peak }, needs.to_vec()))?;
    let headroom = |factor: f64| (peak.headroom * factor).min(0.99);
    row("headroom".to_owned(), &|factor| (Peak { headroom: headroom(factor), ..*peak }, needs.to_vec()))?;
    for (i, need) in needs.iter().enumerate() {
        let what = match need.resource {
            Resource::Rate => "node's rate within the goals".to_owned(),
            _ => format!("{} per request", need.resource.name_and_unit().0),
        };
        row(what, &|factor| {
            let mut needs = needs.to_vec();
            match need.resource {
                Resource::Rate => needs[i].node_capacity *= factor,
                _ => needs[i].per_request_per_s *= factor,
            }
            (*peak, needs)
        })?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAK: Peak = Peak { rate_per_s: 100_000.0, growth: 0.3, headroom: 0.2, failed: 0, zones: 0 };

    fn rate(node: f64) -> Need {
        Need::new(Resource::Rate, 1.0, node)
    }

    /// 100,000/s grown by 30 % are 130,000/s; nodes of 20,000/s used to 80 % bear 16,000/s: 8.125, so 9.
    #[test]
    fn growth_and_headroom() {
        let plan = plan(&PEAK, &[rate(20_000.0)]).expect("a plan");
        assert!((plan.resources[0].exact - 8.125).abs() < 1e-9);
        assert_eq!((plan.nodes, plan.nodes_at_worst, plan.binding), (9, 9, Resource::Rate));
        assert!((plan.resources[0].use_at_peak - 130.0 / 180.0).abs() < 1e-9);
    }

    /// Exactly full nodes are not rounded up by a binary fraction.
    #[test]
    fn exactly_full_nodes_are_enough() {
        let peak = Peak { rate_per_s: 3.0, growth: 0.1, headroom: 0.0, ..PEAK };
        assert_eq!(plan(&peak, &[rate(1.1)]).expect("a plan").nodes, 3);
    }

    /// 9 serving nodes and one failed are 10. Over three zones: of 15 a zone of 5 and one more lost leave 9, of 14 only 8.
    #[test]
    fn failed_nodes_and_a_lost_zone() {
        let failed = Peak { failed: 1, ..PEAK };
        assert_eq!(plan(&failed, &[rate(20_000.0)]).expect("a plan").nodes, 10);
        let zones = Peak { failed: 1, zones: 3, ..PEAK };
        let found = plan(&zones, &[rate(20_000.0)]).expect("a plan");
        assert_eq!((found.nodes, found.nodes_at_worst), (15, 9));
        let two = Peak { zones: 2, ..PEAK };
        assert_eq!(plan(&two, &[rate(20_000.0)]).expect("a plan").nodes, 18);
    }

    #[test]
    fn losses_are_met_by_the_fewest_nodes() {
        for zones in 0..6 {
            for failed in 0..4 {
                for serving in 1..40 {
                    let peak = Peak { zones, failed, ..PEAK };
                    let nodes = with_losses(&peak, serving);
                    assert!(surviving(&peak, nodes) >= serving);
                    assert!(surviving(&peak, nodes - 1) < serving, "{peak:?}, {serving}: {nodes}");
                }
            }
        }
    }

    /// 130,000/s at 50 µs are 6.5 cores (of 4, 80 %: 2.03), at 40 kbit 5.2 Gbit/s (of 1: 6.5); a node idles at 1 of 8 GB and
    /// each request per second holds 100 KB: 13 GB over 5.4 (2.4). So bandwidth binds with 7.
    #[test]
    fn the_scarcest_resource_binds() {
        let needs = [
            Need::new(Resource::Cpu, 50e-6, 4.0),
            Need { node_base: 1e9, ..Need::new(Resource::Memory, 100e3, 8e9) },
            Need::new(Resource::Bandwidth, 40e3, 1e9),
            Need::new(Resource::Descriptors, 0.02, 65_536.0),
        ];
        let plan = plan(&PEAK, &needs).expect("a plan");
        let serving: Vec<(Resource, u64)> =
            plan.resources.iter().map(|r| (r.need.resource, r.serving)).collect();
        assert_eq!(
            serving,
            [(Resource::Bandwidth, 7), (Resource::Memory, 3), (Resource::Cpu, 3), (Resource::Descriptors, 1)]
        );
        assert!((plan.resources[1].exact - 13.0 / 5.4).abs() < 1e-9);
        assert_eq!(plan.resources[0].total_cheaper_dearer, [6, 8]);
        let of =
            |what: &str| plan.sensitivity.iter().find(|row| row.what == what).expect(what).nodes_lower_higher;
        assert_eq!(of("peak"), [6, 8]);
        assert_eq!(of("bandwidth per request"), [6, 8]);
        assert_eq!(of("CPU per request"), [7, 7]);
        // Growth of 24 % asks for 6.2 nodes, of 36 % for 6.8; headroom of 16 % for 6.19, of 24 % for 6.84.
        assert_eq!((of("growth"), of("headroom")), ([7, 7], [7, 7]));
    }

    #[test]
    fn a_lower_capacity_asks_for_more_nodes() {
        let plan = plan(&PEAK, &[rate(20_000.0)]).expect("a plan");
        let row = plan.sensitivity.iter().find(|row| row.what.contains("within the goals")).expect("the row");
        // 8.125 / 0.8 = 10.2 and 8.125 / 1.2 = 6.8.
        assert_eq!(row.nodes_lower_higher, [11, 7]);
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        let error = |peak: Peak, needs: &[Need]| plan(&peak, needs).expect_err("no plan").to_string();
        assert!(error(Peak { rate_per_s: 0.0, ..PEAK }, &[rate(1.0)]).contains("the peak is 0"));
        assert!(error(Peak { headroom: 1.0, ..PEAK }, &[rate(1.0)]).contains("headroom"));
        assert!(error(Peak { growth: -1.0, ..PEAK }, &[rate(1.0)]).contains("growth"));
        assert!(error(PEAK, &[rate(0.0)]).contains("capacity above 0"));
        assert!(error(PEAK, &[]).contains("no resource"));
        assert!(error(PEAK, &[rate(1e-9)]).contains("check the unit"));
        let full = Need { node_base: 7e9, ..Need::new(Resource::Memory, 1.0, 8e9) };
        assert!(error(PEAK, &[full]).contains("larger nodes"));
    }
}
