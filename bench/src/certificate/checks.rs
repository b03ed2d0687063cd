//! The checks themselves. Each reads an outcome, compares with [`limits`](super::limits), and says why.

use super::{Check, Side, Verdict, limits};
use crate::load::{Arrivals, ErrorKind, Outcome, ThreadUse};
use crate::report::human;
use crate::stats;

/// All of them, in the order of reports.
pub(super) fn all(outcome: &Outcome) -> Vec<Check> {
    let run = Run::of(outcome);
    vec![
        length(&run),
        samples(&run),
        lag(&run),
        lag_max(&run),
        rate(&run),
        unanswered(&run),
        busy(&run),
        run_delay(&run),
        switches(&run),
        steal(&run),
        throttling(&run),
        ports(&run),
        retransmits(&run),
        softnet(&run),
        arrivals(&run),
        little(&run),
        errors(&run),
    ]
}

/// What several checks want to know.
struct Run<'a> {
    outcome: &'a Outcome,
    open: bool,
    seconds: f64,
    /// Share of sent requests that had to wait for a connection.
    waited: f64,
    answered: u64,
}

impl<'a> Run<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self {
            outcome,
            open: outcome.spec.arrivals != Arrivals::Closed,
            seconds: outcome.measured.as_secs_f64(),
            waited: ratio(outcome.pacing.waited, outcome.totals.sent).unwrap_or(0.0),
            answered: outcome.totals.completed + outcome.totals.errors.total(),
        }
    }

    fn error_share(&self) -> f64 {
        ratio(self.outcome.totals.errors.total(), self.answered).unwrap_or(0.0)
    }

    /// The worst thread by some use of it.
    fn worst_thread(&self, by: impl Fn(&ThreadUse) -> f64) -> Option<f64> {
        self.outcome.machine.threads.iter().map(by).max_by(f64::total_cmp)
    }

    /// Own lag at p99 that is accepted, and that which is not at all, nanoseconds. Relative to the *service* time: the
    /// response time contains the lag and would excuse it.
    fn lag_limits(&self) -> (f64, f64) {
        let service = &self.outcome.latencies.service;
        let median = if service.is_empty() { 0.0 } else { service.value_at_quantile(0.5) as f64 };
        (
            (limits::LAG_P99_SHARE * median).clamp(limits::LAG_P99_FLOOR, limits::LAG_P99_CEILING),
            (limits::LAG_P99_INVALID_SHARE * median)
                .clamp(limits::LAG_P99_INVALID_FLOOR, limits::LAG_P99_INVALID_CEILING),
        )
    }

    /// Whether the generator itself had no time to send.
    fn generator_was_late(&self) -> bool {
        let lag = &self.outcome.lag;
        let late = !lag.is_empty() && lag.value_at_quantile(0.99) as f64 > self.lag_limits().1;
        late || self.worst_thread(|thread| thread.busy_share).unwrap_or(0.0) >= limits::BUSY_INVALID
            || self.worst_thread(|thread| thread.run_delay_share).unwrap_or(0.0) >= limits::RUN_DELAY_INVALID
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A check under way: `judge` gives the verdict, the reason is asked for only when it is a bad one.
fn check(
    name: &str,
    side: Side,
    measured: String,
    limit: String,
    verdict: Verdict,
    reason: impl FnOnce() -> String,
) -> Check {
    let reason = (verdict != Verdict::Valid).then(reason);
    Check { name: name.to_owned(), side, verdict: Some(verdict), measured, limit, reason }
}

/// A check that does not apply, and why.
fn not_judged(name: &str, side: Side, why: &str) -> Check {
    Check {
        name: name.to_owned(),
        side,
        verdict: None,
        measured: why.to_owned(),
        limit: "–".to_owned(),
        reason: None,
    }
}

/// Verdict of a figure that grows worse as it grows.
fn at_most(value: f64, degraded: f64, invalid: f64) -> Verdict {
    if value >= invalid {
        Verdict::Invalid
    } else if value >= degraded {
        Verdict::Degraded
    } else {
        Verdict::Valid
    }
}

const NO_INVALID: f64 = f64::INFINITY;

fn length(run: &Run) -> Check {
    let cut = run.outcome.cut.as_deref();
    let short = run.seconds < limits::SECONDS_MIN;
    let verdict = if short || cut.is_some() { Verdict::Degraded } else { Verdict::Valid };
    let measured = human::nanoseconds(run.seconds * 1e9);
    let asked = human::nanoseconds(run.outcome.spec.duration.as_secs_f64() * 1e9);
    let limit = format!("at least {} s", limits::SECONDS_MIN);
    check("length", Side::Run, format!("{measured} of {asked}"), limit, verdict, || match cut {
        Some(why) => format!("the run was cut ({why}): all figures are partial; run it to its end"),
        None => {
            format!(
                "{measured} are too short: one scheduler slice of 10 ms makes p99; take a longer --duration"
            )
        }
    })
}

fn samples(run: &Run) -> Check {
    let completed = run.outcome.totals.completed;
    let least = stats::samples_least(0.99);
    let verdict = match completed {
        0 => Verdict::Invalid,
        few if few < least => Verdict::Degraded,
        _ => Verdict::Valid,
    };
    let limit = format!("at least {least} replies");
    check("samples", Side::Run, format!("{} replies", human::count(completed)), limit, verdict, || {
        if completed == 0 {
            format!("no good reply came, so nothing was measured; {}", what_failed(run))
        } else {
            format!("{completed} replies carry no p99: that takes {least}; run longer or at a higher rate")
        }
    })
}

/// The commonest failure in words.
fn what_failed(run: &Run) -> String {
    let errors = &run.outcome.totals.errors;
    let worst =
        ErrorKind::ALL.into_iter().max_by_key(|kind| errors.of(*kind)).filter(|kind| errors.of(*kind) > 0);
    let Some(kind) = worst else {
        return "no request was answered within the run: take a longer --duration or look at the server"
            .to_owned();
    };
    let why = match kind {
        ErrorKind::Connect => "could not connect: is the server up, and the address right?",
        ErrorKind::Exhausted => {
            "found no local port or descriptor: take fewer connections or raise the limits"
        }
        ErrorKind::Closed => "had their connection closed by the server: look at its log and its limits",
        ErrorKind::Timeout => "had no reply in time: take a lower rate or a longer --timeout",
        ErrorKind::Garbage => "had a reply that is not of the protocol: is the --protocol right?",
        ErrorKind::Refused => {
            "were refused (status 400 and above, or a JSON-RPC error): look at path and headers"
        }
        ErrorKind::SessionLost => "lost their session: does every server of the target know all sessions?",
    };
    format!("{} requests {why}", human::count(errors.of(kind)))
}

fn lag(run: &Run) -> Check {
    const NAME: &str = "schedule lag p99";
    if !run.open {
        return not_judged(NAME, Side::Generator, "closed loop: there is no schedule");
    }
    let lag = &run.outcome.lag;
    if lag.is_empty() {
        return not_judged(NAME, Side::Generator, "no request was sent");
    }
    let p99 = lag.value_at_quantile(0.99) as f64;
    let (valid, invalid) = run.lag_limits();
    let verdict = match p99 {
        fine if fine <= valid => Verdict::Valid,
        late if late <= invalid => Verdict::Degraded,
        _ => Verdict::Invalid,
    };
    let limit = format!("at most {}", human::nanoseconds(valid));
    check(NAME, Side::Generator, human::nanoseconds(p99), limit, verdict, || {
        format!(
            "1 % of requests were sent {} or more after they could have been: response times \
             contain the generator's own delay; give it a processor of its own (--cpus), more --threads, or a lower rate",
            human::nanoseconds(p99)
        )
    })
}

fn lag_max(run: &Run) -> Check {
    const NAME: &str = "schedule lag max";
    if !run.open {
        return not_judged(NAME, Side::Generator, "closed loop: there is no schedule");
    }
    if run.outcome.lag.is_empty() {
        return not_judged(NAME, Side::Generator, "no request was sent");
    }
    let max = run.outcome.lag.max() as f64;
    let response = run.outcome.latencies.response.max() as f64;
    let valid = (limits::LAG_MAX_SHARE * response).max(limits::LAG_MAX_FLOOR);
    let verdict = if max >= limits::LAG_MAX_INVALID {
        Verdict::Invalid
    } else if max > valid {
        Verdict::Degraded
    } else {
        Verdict::Valid
    };
    let limit = format!("at most {}", human::nanoseconds(valid.min(limits::LAG_MAX_INVALID)));
    check(NAME, Side::Generator, human::nanoseconds(max), limit, verdict, || {
        format!(
            "the generator stood still for {}: the maximum and the highest percentiles are its own; give it a processor \
             of its own (--cpus), and nothing else beside it",
            human::nanoseconds(max)
        )
    })
}

fn rate(run: &Run) -> Check {
    const NAME: &str = "sent of due";
    let totals = &run.outcome.totals;
    // A request whose connection was refused was begun, too, and never sent: that is an error's to tell.
    let begun = totals.sent.max(run.answered).min(totals.due);
    let Some(sent) = ratio(begun, totals.due).filter(|_| run.open) else {
        return not_judged(NAME, Side::Generator, "closed loop: no rate is asked");
    };
    let late = run.generator_was_late();
    let side = if late || sent >= limits::RATE_VALID { Side::Generator } else { Side::Server };
    let verdict = match sent {
        reached if reached >= limits::RATE_VALID => Verdict::Valid,
        near if near >= limits::RATE_DEGRADED || !late => Verdict::Degraded,
        _ => Verdict::Invalid,
    };
    let measured = format!("{} of {}", human::share(sent), human::rate(totals.due as f64 / run.seconds));
    let limit = format!("at least {}", human::share(limits::RATE_VALID));
    check(NAME, side, measured, limit, verdict, || {
        let sent_rate = human::rate(begun as f64 / run.seconds);
        if late {
            format!(
                "the generator could not send as asked (it sent {sent_rate} with connections idle): take more --threads, \
                 processors of its own (--cpus), or a lower rate"
            )
        } else {
            format!(
                "the server could not keep up: all {} connections were busy and it took {sent_rate}; response times grow \
                 for as long as the run lasts. Take a lower rate, or more --connections if the server could use them",
                human::count(u64::from(run.outcome.spec.connections))
            )
        }
    })
}

fn unanswered(run: &Run) -> Check {
    const NAME: &str = "unanswered at the end";
    let sent = run.outcome.totals.sent;
    let open = sent.saturating_sub(run.answered);
    let Some(share) = ratio(open, sent).filter(|_| run.open) else {
        return not_judged(NAME, Side::Server, "closed loop: at most one a connection");
    };
    let verdict = at_most(share, limits::UNANSWERED_VALID, NO_INVALID);
    let limit = format!("below {}", human::share(limits::UNANSWERED_VALID));
    let measured = format!("{} ({})", human::share(share), human::count(open));
    check(NAME, Side::Server, measured, limit, verdict, || {
        format!(
            "{} requests had no reply when measuring ended: percentiles beyond {} are lower bounds; take a longer \
             --duration",
            human::count(open),
            human::percentile(((1.0 - share) * 1_000.0).floor() / 1_000.0)
        )
    })
}

fn busy(run: &Run) -> Check {
    const NAME: &str = "generator busy";
    let Some(share) = run.worst_thread(|thread| thread.busy_share) else {
        return not_judged(NAME, Side::Generator, "no thread was measured");
    };
    let (degraded, invalid) = if run.open {
        (limits::BUSY_DEGRADED, limits::BUSY_INVALID)
    } else {
        (limits::BUSY_INVALID, NO_INVALID)
    };
    let limit = format!("below {}", human::share(degraded));
    let measured = format!("{} of a thread", human::share(share));
    check(NAME, Side::Generator, measured, limit, at_most(share, degraded, invalid), || {
        if run.open {
            "a thread of the generator had hardly a moment to wait: replies queue up in it and look slow; take more \
             --threads or a lower rate"
                .to_owned()
        } else {
            "the generator was the bottleneck: the rate is its own, not the server's; take more --threads"
                .to_owned()
        }
    })
}

fn run_delay(run: &Run) -> Check {
    const NAME: &str = "waiting for a processor";
    let Some(share) = run.worst_thread(|thread| thread.run_delay_share) else {
        return not_judged(NAME, Side::Generator, "no thread was measured");
    };
    // A closed loop has no schedule to miss: replies are read late, which degrades what is told of them.
    let invalid = if run.open { limits::RUN_DELAY_INVALID } else { NO_INVALID };
    let verdict = at_most(share, limits::RUN_DELAY_DEGRADED, invalid);
    let limit = format!("below {}", human::share(limits::RUN_DELAY_DEGRADED));
    check(NAME, Side::Generator, format!("{} of the time", human::share(share)), limit, verdict, || {
        format!(
            "a thread of the generator was ready to run and had no processor for {} of the time: other work shares it; \
             pin the generator (--cpus) away from the server and from others",
            human::share(share)
        )
    })
}

fn switches(run: &Run) -> Check {
    const NAME: &str = "involuntary switches";
    let Some(most) = run.worst_thread(|thread| thread.involuntary_switches as f64) else {
        return not_judged(NAME, Side::Generator, "no thread was measured");
    };
    let rate = most / run.seconds.max(f64::MIN_POSITIVE);
    let verdict = at_most(rate, limits::SWITCHES_DEGRADED, NO_INVALID);
    let limit = format!("below {}", human::rate(limits::SWITCHES_DEGRADED));
    check(NAME, Side::Generator, human::rate(rate), limit, verdict, || {
        "the scheduler took the processor away from the generator again and again: pin it (--cpus) away from other work"
            .to_owned()
    })
}

fn steal(run: &Run) -> Check {
    const NAME: &str = "steal";
    let Some(share) = run.outcome.machine.steal_share else {
        return not_judged(NAME, Side::Generator, "the kernel does not say");
    };
    let verdict = at_most(share, limits::STEAL_DEGRADED, limits::STEAL_INVALID);
    let limit = format!("below {}", human::share(limits::STEAL_DEGRADED));
    check(NAME, Side::Generator, human::share(share), limit, verdict, || {
        format!(
            "the hypervisor gave {} of the processors' time to others: the tail is the host's; measure on a dedicated \
             machine or at another hour",
            human::share(share)
        )
    })
}

fn throttling(run: &Run) -> Check {
    const NAME: &str = "throttled periods";
    let Some(periods) = run.outcome.machine.throttled else {
        return not_judged(NAME, Side::Generator, "no quota");
    };
    let share = periods as f64 * limits::THROTTLE_PERIOD / run.seconds.max(f64::MIN_POSITIVE);
    let verdict = match periods {
        0 => Verdict::Valid,
        _ if share >= limits::THROTTLED_INVALID => Verdict::Invalid,
        _ => Verdict::Degraded,
    };
    check(NAME, Side::Generator, human::count(periods), "none".to_owned(), verdict, || {
        format!(
            "the control group's CPU quota stopped the generator in {periods} periods, up to 100 ms each: raise or remove \
             its quota (cpu.max)"
        )
    })
}

fn ports(run: &Run) -> Check {
    let (used, available) = run.outcome.machine.ports;
    let exhausted = run.outcome.totals.errors.of(ErrorKind::Exhausted);
    let share = ratio(used, available);
    if share.is_none() && exhausted == 0 {
        return not_judged("ports", Side::Generator, "the kernel does not say");
    }
    let failed = ratio(exhausted, run.answered).unwrap_or(0.0);
    let verdict = if failed >= limits::EXHAUSTED_INVALID {
        Verdict::Invalid
    } else if exhausted > 0 || share.unwrap_or(0.0) >= limits::PORTS_DEGRADED {
        Verdict::Degraded
    } else {
        Verdict::Valid
    };
    let measured =
        format!("{} of {}, {} failed", human::count(used), human::count(available), human::count(exhausted));
    let limit = format!("below {}, none failed", human::share(limits::PORTS_DEGRADED));
    check("ports", Side::Generator, measured, limit, verdict, || {
        "local ports or descriptors ran out: the limit that was found is the generator's; widen \
         net.ipv4.ip_local_port_range, raise RLIMIT_NOFILE, keep connections alive, or take several target addresses"
            .to_owned()
    })
}

fn retransmits(run: &Run) -> Check {
    const NAME: &str = "retransmits";
    let Some(segments) = run.outcome.machine.retransmits else {
        return not_judged(NAME, Side::Run, "the kernel does not say");
    };
    let share = ratio(segments, run.outcome.totals.sent).unwrap_or(0.0);
    let verdict = at_most(share, limits::RETRANSMITS_DEGRADED, NO_INVALID);
    let limit = format!("below {} of requests", human::share(limits::RETRANSMITS_DEGRADED));
    check(NAME, Side::Run, human::count(segments), limit, verdict, || {
        format!(
            "{} TCP segments were sent again on this machine, each a delay of 200 ms and more: the tail is the network's; \
             look for loss, full accept queues and small buffers",
            human::count(segments)
        )
    })
}

fn softnet(run: &Run) -> Check {
    const NAME: &str = "packets dropped";
    let Some(drops) = run.outcome.machine.softnet_drops else {
        return not_judged(NAME, Side::Generator, "the kernel does not say");
    };
    let verdict = if drops > 0 { Verdict::Degraded } else { Verdict::Valid };
    check(NAME, Side::Generator, human::count(drops), "none".to_owned(), verdict, || {
        "this machine dropped packets before its network stack saw them: raise net.core.netdev_max_backlog or spread the \
         interrupts"
            .to_owned()
    })
}

fn arrivals(run: &Run) -> Check {
    const NAME: &str = "arrival process";
    let gaps = &run.outcome.pacing.gaps;
    if run.waited > limits::ARRIVALS_WAITED_MAX {
        return not_judged(
            NAME,
            Side::Generator,
            &format!("{} of arrivals waited for a connection", human::share(run.waited)),
        );
    }
    let few = || not_judged(NAME, Side::Generator, "too few arrivals");
    match run.outcome.spec.arrivals {
        Arrivals::Poisson(_) => {
            let Some(test) = stats::exponential_gaps(gaps, limits::ARRIVALS_TOLERANCE) else { return few() };
            let large =
                at_most(test.distance_beyond_tolerance, limits::ARRIVALS_DEGRADED, limits::ARRIVALS_INVALID);
            let verdict = if test.p_value < limits::ARRIVALS_LEVEL { large } else { Verdict::Valid };
            let measured = format!(
                "distance {:.3}, {:.3} beyond {}, p {:.3}",
                test.distance,
                test.distance_beyond_tolerance,
                human::nanoseconds(limits::ARRIVALS_TOLERANCE as f64),
                test.p_value
            );
            arrivals_check(measured, verdict, "exponential")
        }
        Arrivals::Constant(rate) => {
            let expected = 1e9 * f64::from(run.outcome.spec.threads.max(1)) / rate;
            let tolerance =
                (limits::ARRIVALS_TOLERANCE_SHARE * expected).max(limits::ARRIVALS_TOLERANCE as f64);
            let Some(test) = stats::constant_gaps(gaps, expected, tolerance) else { return few() };
            let verdict = at_most(test.displaced, limits::ARRIVALS_DEGRADED, limits::ARRIVALS_INVALID);
            let measured =
                format!("{} off by {} and more", human::share(test.displaced), human::nanoseconds(tolerance));
            arrivals_check(measured, verdict, "even")
        }
        Arrivals::Closed => not_judged(NAME, Side::Generator, "closed loop: the server sets the arrivals"),
        Arrivals::Ramp { .. } | Arrivals::Steps(_) | Arrivals::Replay(_) => {
            not_judged(NAME, Side::Generator, "only constant and Poisson arrivals are tested")
        }
    }
}

fn arrivals_check(measured: String, verdict: Verdict, kind: &str) -> Check {
    let limit = format!("below {} of gaps out of place", human::share(limits::ARRIVALS_DEGRADED));
    check("arrival process", Side::Generator, measured, limit, verdict, || {
        format!(
            "the gaps between requests were not {kind} as asked, so the server saw another load: give the generator a \
             processor of its own (--cpus), more --threads, or a lower rate"
        )
    })
}

fn little(run: &Run) -> Check {
    const NAME: &str = "Little's law";
    let service = &run.outcome.latencies.service;
    if service.is_empty() || run.error_share() > limits::LITTLE_ERRORS_MAX {
        return not_judged(NAME, Side::Generator, "failed requests have no service time");
    }
    let unanswered = run.outcome.totals.sent.saturating_sub(run.answered);
    if run.open && ratio(unanswered, run.outcome.totals.sent).unwrap_or(0.0) > limits::UNANSWERED_VALID {
        return not_judged(NAME, Side::Generator, "unanswered requests have no service time");
    }
    let mean = service.mean() / 1e9;
    let law = stats::little(run.outcome.pacing.in_flight_seconds, service.len(), mean, run.seconds);
    // Requests under way at either end count in one sum and not in the other: as many as are in flight, twice.
    let edges = 2.0 * law.observed.max(1.0) * service.value_at_quantile(0.99) as f64 / 1e9;
    let larger = law.observed.max(law.predicted) * run.seconds;
    let excess = (law.deviation - edges / larger.max(f64::MIN_POSITIVE)).max(0.0);
    let verdict = at_most(excess, limits::LITTLE_VALID, limits::LITTLE_INVALID);
    let measured = format!("{:.2} in flight, {:.2} by rate × time", law.observed, law.predicted);
    let limit = format!("within {}", human::share(limits::LITTLE_VALID));
    check(NAME, Side::Generator, measured, limit, verdict, || {
        format!(
            "requests in flight and rate × service time differ by {}: requests are missing from the generator's books, \
             which is a defect of it; please report the scenario",
            human::share(law.deviation)
        )
    })
}

fn errors(run: &Run) -> Check {
    let share = run.error_share();
    let total = run.outcome.totals.errors.total();
    let verdict = at_most(share, limits::ERRORS_DEGRADED, limits::ERRORS_INVALID);
    let limit = format!("below {}", human::share(limits::ERRORS_DEGRADED));
    let measured = format!("{} ({})", human::share(share), human::count(total));
    check("errors", Side::Server, measured, limit, verdict, || {
        format!(
            "percentiles are of good replies alone, and {} failed; {}",
            human::share(share),
            what_failed(run)
        )
    })
}
