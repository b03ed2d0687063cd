//! What makes a fit untrustworthy: the warnings that go with it.
//!
//! Owns their conditions and words. Never suppresses a fit; refusing is the prediction's.

use std::fmt;

use serde::{Serialize, Serializer};

use super::fit::{Point, constrained};
use super::{EXTRAPOLATION_MAX, Knees, Usl, summit_size};

/// Residual from which a size is called badly fitted.
const RESIDUAL_LARGE: f64 = 0.15;
/// Change of the throughput predicted at the furthest size allowed that a single measurement must not cause.
const SWAY_LARGE: f64 = 0.15;
/// Share by which the marginal throughput of a size has to fall short of the fit's to be called a knee.
const KNEE_SHORTFALL: f64 = 0.3;

/// A reason to beware.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warning {
    /// A size fits badly.
    Residual {
        /// Which.
        size: f64,
        /// Measured over fitted, less 1.
        relative: f64,
        /// Whether it is among the smaller half of the sizes, which anchor `lambda`.
        small: bool,
    },
    /// Without one measurement there is a summit, or none, or another one.
    KappaFlips {
        /// Size of the measurement left out.
        without: f64,
        /// `kappa` of all.
        kappa: f64,
        /// `kappa` of the others.
        kappa_without: f64,
    },
    /// Without one measurement the furthest prediction is another.
    Sways {
        /// Size of the measurement left out.
        without: f64,
        /// Prediction without it over that with it, less 1.
        relative: f64,
        /// The size predicted.
        at: f64,
    },
    /// Whether the throughput bends at all is not certain, let alone where: both intervals reach 0.
    NoBend {
        /// Largest size measured.
        largest: f64,
    },
    /// The summit lies beyond what may be extrapolated.
    SummitBeyond {
        /// N*.
        size: f64,
        /// Largest size measured.
        largest: f64,
    },
    /// From one size to the next throughput grew far less than the law has it.
    Knee {
        /// The smaller size.
        from: f64,
        /// The larger one.
        to: f64,
        /// Growth over the fit's.
        growth: f64,
    },
    /// Threads share cores from here.
    Smt {
        /// Physical cores.
        cores: u32,
    },
    /// Memory is remote from here.
    Numa {
        /// Cores of one node.
        node_cores: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coefficient = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") };
        let percent = |share: f64| format!("{:+.0} %", share * 100.0);
        match *self {
            Self::Residual { size, relative, small } => {
                write!(f, "size {size} lies {} off the fit", percent(relative))?;
                if small {
                    f.write_str(": a small size anchors lambda, so sigma and kappa make up for it")?;
                }
                f.write_str("; measure it again, or leave it out and see what changes")
            }
            Self::KappaFlips { without, kappa, kappa_without } => write!(
                f,
                "without size {without} kappa is {} instead of {}: whether and where throughput \
                 peaks hangs on that one measurement; measure more sizes",
                coefficient(kappa_without),
                coefficient(kappa)
            ),
            Self::Sways { without, relative, at } => write!(
                f,
                "without size {without} the throughput predicted at {at} changes by {}; do not plan with it",
                percent(relative)
            ),
            Self::NoBend { largest } => write!(
                f,
                "up to {largest} the data agree with no bend at all (the intervals of sigma and kappa reach 0): they do not say where \
                 it comes; of a published table such a fit was 41 % too hopeful at four times its largest size. Measure larger \
                 sizes"
            ),
            Self::SummitBeyond { size, largest } => write!(
                f,
                "the summit at {size:.0} lies beyond twice the largest size measured ({largest}): its throughput is not given"
            ),
            Self::Knee { from, to, growth } => write!(
                f,
                "from {from} to {to} throughput grew {:.0} % of what the law has it: a knee (shared cores, remote memory, a \
                 full network card?) that the law does not know; fit the sizes before and after it apart",
                growth * 100.0
            ),
            Self::Smt { cores } => write!(
                f,
                "predictions beyond {cores} cross the number of physical cores: from there threads share them, and each \
                 adds far less"
            ),
            Self::Numa { node_cores } => write!(
                f,
                "predictions beyond {node_cores} cross a NUMA node: from there memory is remote, and each core adds less"
            ),
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// All warnings of a fit of these points, which are sorted by size.
pub(super) fn all(usl: &Usl, points: &[Point], knees: Knees) -> Vec<Warning> {
    let mut found = residuals(usl);
    found.extend(left_out(usl, points));
    if usl.sigma.low == 0.0 && usl.kappa.low == 0.0 {
        found.push(Warning::NoBend { largest: usl.largest });
    }
    let size = summit_size(&usl.fit);
    if size.is_finite() && usl.summit.throughput.is_none() {
        found.push(Warning::SummitBeyond { size, largest: usl.largest });
    }
    found.extend(knee(usl));
    let crosses = |limit: &u32| f64::from(*limit) < usl.largest * EXTRAPOLATION_MAX && *limit > 1;
    found.extend(knees.node_cores.filter(crosses).map(|node_cores| Warning::Numa { node_cores }));
    found.extend(knees.cores.filter(crosses).map(|cores| Warning::Smt { cores }));
    found
}

fn residuals(usl: &Usl) -> Vec<Warning> {
    let middle = usl.residuals.get(usl.residuals.len() / 2).map_or(1.0, |residual| residual.size);
    let large = usl.residuals.iter().filter(|residual| residual.relative.abs() > RESIDUAL_LARGE);
    large.map(|r| Warning::Residual { size: r.size, relative: r.relative, small: r.size < middle }).collect()
}

/// Leaves out each measurement in turn: the worst flip of `kappa`, and the worst sway of the furthest prediction.
fn left_out(usl: &Usl, points: &[Point]) -> Vec<Warning> {
    let at = usl.largest * EXTRAPOLATION_MAX;
    let kappa = usl.fit.kappa;
    let predicted = usl.fit.ln_throughput(at);
    let mut flip: Option<(f64, Warning)> = None;
    let mut sway: Option<(f64, Warning)> = None;
    for (i, (without, _)) in points.iter().enumerate() {
        let mut others = points.to_vec();
        others.remove(i);
        let fit = constrained(&others);
        // A flip: from a summit within sight (ten times what was measured) to none, or the other way round.
        let sight = usl.largest * 10.0;
        let [now, then] = [summit_size(&usl.fit) < sight, summit_size(&fit) < sight];
        let change = (fit.kappa - kappa).abs();
        if now != then && flip.as_ref().is_none_or(|(worst, _)| change > *worst) {
            flip = Some((change, Warning::KappaFlips { without: *without, kappa, kappa_without: fit.kappa }));
        }
        let relative = (fit.ln_throughput(at) - predicted).exp() - 1.0;
        if relative.abs() > SWAY_LARGE && sway.as_ref().is_none_or(|(worst, _)| relative.abs() > *worst) {
            sway = Some((relative.abs(), Warning::Sways { without: *without, relative, at }));
        }
    }
    [flip, sway].into_iter().flatten().map(|(_, warning)| warning).collect()
}

/// The pair of neighbouring sizes whose growth falls furthest short of the fit's.
fn knee(usl: &Usl) -> Option<Warning> {
    let pairs = usl.residuals.windows(2).filter(|pair| pair[0].size < pair[1].size);
    let growths = pairs.filter_map(|pair| {
        let fitted = pair[1].fitted - pair[0].fitted;
        // Beyond the summit the law itself falls; a ratio of falls says nothing about a knee.
        (fitted > 0.05 * pair[0].fitted).then(|| (pair, (pair[1].throughput - pair[0].throughput) / fitted))
    });
    let (pair, growth) = growths.min_by(|a, b| a.1.total_cmp(&b.1))?;
    (growth < 1.0 - KNEE_SHORTFALL).then_some(Warning::Knee { from: pair[0].size, to: pair[1].size, growth })
}
