//! The capacity planner: what a server can do within its goals, why, and how many are needed.
//!
//! Owns the search for the highest rate ([`search`]), the scaling law ([`usl`]), the queue model ([`queue`]), the number of
//! nodes ([`nodes`]), the comparison with an earlier result ([`baseline`]) and their report
//! ([`report`]). All of them are
//! pure and seeded; only `measure` runs load. Never extrapolates silently, never counts a trial that the generator spoiled.

pub mod baseline;
mod generator;
pub mod goals;
mod measure;
pub mod nodes;
mod plan;
pub mod queue;
mod record;
pub mod report;
pub mod search;
mod trial;
pub mod usl;

pub use goals::{Goal, GoalError};
pub use measure::{plan, plan_on};
pub use plan::{NodeSize, Plan, PlanError, PlanSpec, QueueReport, ScalingReport, ShardRun};
pub use record::{Times, TrialRecord};
pub use trial::{Ask, Evidence, Measured, Rig, ServerUse, Trial, TrialError};

use std::time::Duration;

use crate::load;

/// Something that a plan tells while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A part of the plan begins, such as "search" or "scaling over connections".
    Part(&'a str),
    /// A trial begins.
    TrialBegan {
        /// What is asked of it.
        ask: &'a Ask,
        /// Why it is run.
        purpose: &'a str,
        /// Which one of its part, from 1.
        number: usize,
        /// Time that the part has taken.
        took: Duration,
        /// The most that it may take.
        time_max: Duration,
    },
    /// How a running trial fares, about five times a second.
    Live(&'a load::Progress),
    /// A trial ended.
    TrialEnded(&'a TrialRecord),
    /// Something that the user should know.
    Note(&'a str),
}

/// Who is told how a plan proceeds.
pub trait Progress {
    /// Takes an event; must return at once.
    fn event(&mut self, event: &Event<'_>);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}
