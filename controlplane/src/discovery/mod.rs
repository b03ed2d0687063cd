//! Names of nodes to addresses, again and again: all addresses, IPv6 too, by the answer's own time to live.
//!
//! Owns [`Addresses`]. Never forgets a good answer because a later question failed, and never hands out an answer in
//! another order than sorted: otherwise every rotation by a name server would look like a change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::task::JoinSet;

use crate::control::Control;
use crate::desired::Desired;
use crate::jitter;

/// Answers are asked for again no sooner than this, whatever their time to live.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Nor later than this: a moved node is noticed within it. Also the life of answers that carry none (`/etc/hosts`).
const TTL_MAX: Duration = Duration::from_secs(30);
/// First wait after a failure; doubles up to [`TTL_MAX`].
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// For one question, all servers and tries together.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// Addresses kept of one name.
const ADDRESSES_MAX: usize = 256;
/// How long the start waits for first answers; what comes later is served when it comes.
pub const FIRST_LIMIT: Duration = Duration::from_secs(3);

/// What is known of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The last good answer, sorted.
    pub addresses: Vec<IpAddr>,
    /// Why the last question failed.
    pub error: Option<String>,
}

/// Names with their addresses.
pub type Addresses = BTreeMap<String, Resolved>;

/// An answer and how long it holds.
type Answer = Result<(Vec<IpAddr>, Duration), String>;

/// Asks the system's name servers (and `/etc/hosts`).
pub struct Resolver(Option<TokioResolver>);

impl Resolver {
    /// Reads the system's configuration; without one, questions go through `getaddrinfo`.
    pub fn from_system() -> Self {
        let built = TokioResolver::builder_tokio().and_then(Self::build);
        Self(
            built
                .inspect_err(|error| tracing::info!(%error, "names are resolved by the system's library"))
                .ok(),
        )
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Answers are kept here, not there: a question that is asked is meant.
        options.cache_size = 0;
        builder.build()
    }

    async fn lookup(&self, host: &str) -> Answer {
        let asked = async {
            match &self.0 {
                Some(resolver) => {
                    let answer = resolver.lookup_ip(host).await.map_err(|error| told(&error))?;
                    let life = answer.valid_until().saturating_duration_since(Instant::now());
                    Ok((answer.iter().collect(), life))
                }
                None => {
                    let answer =
                        tokio::net::lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
                    Ok((answer.map(|address| address.ip()).collect(), TTL_MAX))
                }
            }
        };
        let answer: Answer = tokio::time::timeout(LOOKUP_LIMIT, asked)
            .await
            .unwrap_or_else(|_| Err("no answer in time".into()));
        let (addresses, life) = answer?;
        let addresses = tidy(addresses);
        if addresses.is_empty() { Err("the name has no address".into()) } else { Ok((addresses, life)) }
    }
}

/// What a name server's answer means.
fn told(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".to_owned()
    } else if error.is_no_records_found() {
        "the name has no address".to_owned()
    } else {
        error.to_string()
    }
}

/// Sorted, without repeats, bounded.
fn tidy(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// The names that the configuration uses.
fn names(desired: &Desired) -> impl Iterator<Item = &str> {
    desired.groups.iter().flat_map(|group| &group.nodes).filter_map(|node| node.at.host())
}

/// What to do about one name next.
struct Timer {
    due: Instant,
    failures: u32,
    asking: bool,
}

/// Resolves for as long as it runs.
pub async fn run(control: Arc<Control>) {
    run_with(control, Arc::new(Resolver::from_system())).await;
}

async fn run_with(control: Arc<Control>, resolver: Arc<Resolver>) {
    let mut desired = control.desired.subscribe();
    let mut timers: BTreeMap<String, Timer> = BTreeMap::new();
    let mut asking: JoinSet<(String, Answer)> = JoinSet::new();
    loop {
        adjust(&control, &mut timers, &desired.borrow_and_update().clone());
        let now = Instant::now();
        for (host, timer) in timers.iter_mut().filter(|(_, timer)| !timer.asking && timer.due <= now) {
            timer.asking = true;
            let (host, resolver) = (host.clone(), Arc::clone(&resolver));
            asking.spawn(async move {
                let answer = resolver.lookup(&host).await;
                (host, answer)
            });
        }
        let next = timers.values().filter(|timer| !timer.asking).map(|timer| timer.due).min();
        let sleep = tokio::time::sleep_until(next.unwrap_or(now + TTL_MAX).into());
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            Some(Ok((host, answer))) = asking.join_next() => {
                if let Some(timer) = timers.get_mut(&host) {
                    timer.asking = false;
                    timer.due = Instant::now() + settle(&control, &host, answer, &mut timer.failures);
                }
            }
            () = sleep => {}
        }
    }
}

/// Makes timers for new names, forgets names that nobody uses.
fn adjust(control: &Control, timers: &mut BTreeMap<String, Timer>, desired: &Desired) {
    let now = Instant::now();
    let mut wanted = BTreeMap::new();
    for host in names(desired) {
        let timer = timers.remove(host).unwrap_or(Timer { due: now, failures: 0, asking: false });
        wanted.entry(host.to_owned()).or_insert(timer);
    }
    *timers = wanted;
    control.addresses.send_if_modified(|known| {
        if known.keys().all(|host| timers.contains_key(host)) {
            return false;
        }
        Arc::make_mut(known).retain(|host, _| timers.contains_key(host));
        true
    });
}

/// Records an answer; says when to ask again.
fn settle(control: &Control, host: &str, answer: Answer, failures: &mut u32) -> Duration {
    let (wait, error) = match &answer {
        Ok((_, life)) => {
            *failures = 0;
            ((*life).clamp(TTL_MIN, TTL_MAX), None)
        }
        Err(error) => {
            let wait = jitter::backoff(RETRY_WAIT, TTL_MAX, *failures);
            *failures = failures.saturating_add(1);
            control.counters.discovery_failures.add(1);
            (wait, Some(error.clone()))
        }
    };
    let changed = control.addresses.send_if_modified(|known| {
        let before = known.get(host);
        let addresses = match &answer {
            Ok((addresses, _)) => addresses.clone(),
            Err(_) => before.map(|found| found.addresses.clone()).unwrap_or_default(),
        };
        let now = Resolved { addresses, error };
        if before == Some(&now) {
            return false;
        }
        report(host, before, &now);
        Arc::make_mut(known).insert(host.to_owned(), now);
        true
    });
    if changed {
        control.dirty.notify_one();
    }
    wait
}

fn report(host: &str, before: Option<&Resolved>, now: &Resolved) {
    match &now.error {
        Some(error) if now.addresses.is_empty() => {
            tracing::warn!(host, error, "cannot resolve a node's name; it gets no traffic until it resolves");
        }
        Some(error) => {
            tracing::warn!(host, error, "cannot resolve a node's name; the last answer stays in use")
        }
        None if before.is_none_or(|before| before.addresses != now.addresses) => {
            tracing::info!(host, addresses = ?now.addresses, "a node's name resolves");
        }
        None => {}
    }
}

/// Asks for every name once, at the same time, and waits at most [`FIRST_LIMIT`]: the start's first answers.
pub async fn first(desired: &Desired) -> Addresses {
    if names(desired).next().is_none() {
        return Addresses::new();
    }
    let resolver = Arc::new(Resolver::from_system());
    let mut asking = JoinSet::new();
    for host in names(desired).map(str::to_owned).collect::<std::collections::BTreeSet<_>>() {
        let resolver = Arc::clone(&resolver);
        asking.spawn(async move {
            let answer = resolver.lookup(&host).await;
            (host, answer)
        });
    }
    let mut known = Addresses::new();
    let all = async {
        while let Some(Ok((host, answer))) = asking.join_next().await {
            if let Ok((addresses, _)) = answer {
                known.insert(host, Resolved { addresses, error: None });
            }
        }
    };
    // What is missing is asked for again by the task.
    let _ = tokio::time::timeout(FIRST_LIMIT, all).await;
    known
}

#[cfg(test)]
mod tests;
