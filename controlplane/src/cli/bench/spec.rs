//! What is to be driven: a scenario, with the flags above it, as the generator's [`Spec`].
//!
//! Owns what flags mean together and which protocol a URL asks for. Reads files; sends nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use erlmcp_bench::load::{self, Arrivals, Http, Mcp, McpCall, Protocol, Request, Spec, Target};
use erlmcp_config::model::scenario::{self, Scenario, Scheme, TargetUrl, Think, Traffic};
use erlmcp_config::scenario::{LoadedScenario, load as load_scenario, of_protocol};

use super::args::{LoadArgs, PaceArgs};
use super::resolve::Resolved;

/// Largest body that `--body @FILE` takes: each thread holds it once.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// A scenario with its target, flags put in, before names are resolved.
#[derive(Debug)]
pub(in crate::cli) struct Wanted {
    /// Where to.
    pub(in crate::cli) url: TargetUrl,
    /// What and when.
    pub(in crate::cli) scenario: Scenario,
    /// What the user should know, a line each.
    pub(in crate::cli) notes: Vec<String>,
    /// `Host`, where a header names one.
    host: Option<String>,
    /// What `--body` holds: bodies need not be text.
    body: Option<Vec<u8>>,
}

/// Why flags and scenario cannot be joined.
#[derive(Debug)]
pub(in crate::cli) enum Refusal {
    /// The scenario is bad, or a file cannot be read: exit code 1.
    Bad(anyhow::Error),
    /// Flags that do not go together: exit code 2.
    Usage(String),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Bad(error)
    }
}

fn usage<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Usage(text.into()))
}

impl Wanted {
    /// Joins scenario and flags.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(in crate::cli) fn new(args: &LoadArgs, pace: &PaceArgs) -> Result<Self, Refusal> {
        let mut notes = Vec::new();
        let loaded = match &args.scenario {
            Some(path) => load_scenario(path, &erlmcp_config::Source::default().env)
                .map_err(|report| anyhow!("the scenario is refused\n{report}"))?,
            None => default_scenario(args, &mut notes)?,
        };
        let LoadedScenario { mut scenario, report, .. } = loaded;
        notes.extend(report.diagnostics.iter().map(ToString::to_string));
        let Some(url) = args.url.clone().or_else(|| scenario.target.clone()) else {
            return usage("no URL: name one after the flags, or write `target` into the scenario");
        };
        check_scheme(&url, &scenario.traffic)?;
        scenario.timeout = args.timeout.unwrap_or(scenario.timeout);
        scenario.seed = args.seed.unwrap_or(scenario.seed);
        set_lengths(&mut scenario, pace)?;
        set_arrivals(&mut scenario, pace)?;
        let (host, body) = set_requests(&mut scenario.traffic, args)?;
        let wanted = Self { url, scenario, notes, host, body };
        wanted.check_threads(args)?;
        Ok(wanted)
    }

    fn check_threads(&self, args: &LoadArgs) -> Result<(), Refusal> {
        let (threads, connections) = (threads(args), self.scenario.connections);
        if threads > connections {
            return usage(format!(
                "{threads} threads share {connections} connections: lower --threads or raise --connections"
            ));
        }
        Ok(())
    }

    /// The generator's order, with machine matters from the flags.
    pub(in crate::cli) fn spec(&self, args: &LoadArgs, resolved: &Resolved) -> Spec {
        let scenario = &self.scenario;
        let (arrivals, duration) = arrivals(scenario);
        Spec {
            target: Target {
                url: self.url.text.clone(),
                addrs: resolved.addrs.clone(),
                host: self.host.clone().unwrap_or_else(|| self.url.authority()),
                path: self.url.path.clone(),
            },
            protocol: self.protocol(),
            arrivals,
            think: scenario.think.map_or(load::Think::No, think),
            connections: scenario.connections,
            threads: threads(args),
            cpus: args.cpus.as_ref().map(|cpus| cpus.0.clone()).unwrap_or_default(),
            warmup: scenario.warmup,
            duration,
            timeout: scenario.timeout,
            interval: scenario.interval,
            seed: scenario.seed,
            driver: args.driver,
            requests_max: scenario.requests_max,
        }
    }

    fn protocol(&self) -> Protocol {
        let body = |text: &str| self.body.clone().unwrap_or_else(|| text.as_bytes().to_vec());
        match &self.scenario.traffic {
            Traffic::Http { headers, requests } => {
                let each = requests.iter().map(|request| Request {
                    name: request.title(),
                    weight: request.weight,
                    what: Http {
                        method: request.method.clone(),
                        path: request.path.clone().unwrap_or_default(),
                        headers: merged(&request.headers, headers),
                        body: body(&request.body),
                    },
                });
                Protocol::Http(each.collect())
            }
            Traffic::Mcp { era, headers, requests, session_requests } => Protocol::Mcp(Mcp {
                era: match era {
                    scenario::Era::Sessions => load::Era::Sessions,
                    scenario::Era::Stateless => load::Era::Stateless,
                },
                headers: pairs(headers),
                calls: calls(requests),
                session_requests: *session_requests,
            }),
            Traffic::Sse { headers, hold, stall } => {
                Protocol::Sse { hold: *hold, stall: stall.0, headers: pairs(headers) }
            }
            Traffic::WebSocket { headers, requests } => {
                let each = requests.iter().enumerate().map(|(index, request)| Request {
                    name: request.title(index),
                    weight: request.weight,
                    what: request.text.clone(),
                });
                Protocol::WebSocket { messages: each.collect(), headers: pairs(headers) }
            }
            Traffic::Tcp { requests } => Protocol::Tcp(calls(requests)),
            Traffic::NewConnection { headers, method, path, body: text } => Protocol::NewConnection(Http {
                method: method.clone(),
                path: path.clone().unwrap_or_default(),
                headers: pairs(headers),
                body: body(text),
            }),
        }
    }
}

/// One thread for each processor named, unless the flag says otherwise.
fn threads(args: &LoadArgs) -> u32 {
    let pinned = args.cpus.as_ref().map_or(1, |cpus| cpus.0.len());
    args.threads.unwrap_or_else(|| u32::try_from(pinned).unwrap_or(u32::MAX))
}

/// What runs without a scenario file.
fn default_scenario(args: &LoadArgs, notes: &mut Vec<String>) -> anyhow::Result<LoadedScenario> {
    let protocol = match (args.protocol, &args.url) {
        (Some(protocol), _) => protocol.name(),
        (None, Some(url)) if url.scheme == Scheme::Ws => "websocket",
        (None, Some(url)) if url.scheme == Scheme::Tcp => "tcp",
        (None, Some(url))
            if url.bare_path().ends_with("/mcp") && args.method.is_none() && args.body.is_none() =>
        {
            notes
                .push("the path ends in /mcp, so MCP is spoken; --protocol http sends plain HTTP".to_owned());
            "mcp"
        }
        (None, _) => "http",
    };
    of_protocol(protocol).map_err(|report| anyhow!("{report}"))
}

fn check_scheme(url: &TargetUrl, traffic: &Traffic) -> Result<(), Refusal> {
    let fits = match traffic {
        Traffic::WebSocket { .. } => url.scheme != Scheme::Tcp,
        Traffic::Tcp { .. } => url.scheme == Scheme::Tcp,
        _ => url.scheme == Scheme::Http,
    };
    if fits {
        return Ok(());
    }
    let wanted = match traffic {
        Traffic::WebSocket { .. } => "ws://HOST[:PORT][/PATH]",
        Traffic::Tcp { .. } => "tcp://HOST:PORT",
        _ => "http://HOST[:PORT][/PATH]",
    };
    usage(format!("{} is no URL for {}: write {wanted}", url.text, traffic.protocol()))
}

fn set_lengths(scenario: &mut Scenario, args: &PaceArgs) -> Result<(), Refusal> {
    let set = |slot: &mut Duration, flag: Option<Duration>| *slot = flag.unwrap_or(*slot);
    set(&mut scenario.duration, args.duration);
    set(&mut scenario.warmup, args.warmup);
    set(&mut scenario.interval, args.interval);
    scenario.connections = args.connections.unwrap_or(scenario.connections);
    scenario.requests_max = args.requests.or(scenario.requests_max);
    let own_arrivals = args.rate.is_none() && args.ramp.is_none() && !args.closed;
    let own_length =
        matches!(scenario.arrivals, scenario::Arrivals::Steps { .. } | scenario::Arrivals::Replay { .. });
    if args.duration.is_some() && own_arrivals && own_length {
        return usage(
            "--duration: the scenario's arrivals say how long the run lasts; leave it out, or give --rate",
        );
    }
    Ok(())
}

fn set_arrivals(scenario: &mut Scenario, args: &PaceArgs) -> Result<(), Refusal> {
    let was_poisson = matches!(scenario.arrivals, scenario::Arrivals::Poisson { .. });
    if let Some(rate) = args.rate {
        scenario.arrivals = if args.poisson || was_poisson {
            scenario::Arrivals::Poisson { rate }
        } else {
            scenario::Arrivals::Constant { rate }
        };
    } else if let Some((from, to)) = args.ramp {
        scenario.arrivals = scenario::Arrivals::Ramp { from, to };
    } else if args.closed {
        scenario.arrivals = scenario::Arrivals::Closed;
    }
    if scenario.think.is_some() && scenario.arrivals != scenario::Arrivals::Closed {
        return usage(
            "the scenario's clients think between requests, which only a closed loop allows: leave out --rate and --ramp",
        );
    }
    Ok(())
}

/// Puts era, headers, method and body in; gives `Host` and the body's bytes back.
fn set_requests(
    traffic: &mut Traffic,
    args: &LoadArgs,
) -> Result<(Option<String>, Option<Vec<u8>>), Refusal> {
    if let Some(wanted) = args.era {
        match traffic {
            Traffic::Mcp { era, .. } => *era = wanted,
            other => return usage(format!("--era is of MCP, and {} is spoken", other.protocol())),
        }
    }
    let host = set_headers(traffic, args)?;
    let body = match args.body.as_deref() {
        Some(text) => Some(read_body(text)?),
        None => None,
    };
    if args.method.is_some() || body.is_some() {
        let method = args.method.as_deref().unwrap_or("POST");
        match traffic {
            Traffic::Http { requests, .. } => {
                requests.iter_mut().for_each(|request| method.clone_into(&mut request.method));
            }
            Traffic::NewConnection { method: slot, .. } => method.clone_into(slot),
            other => {
                return usage(format!("--method and --body are of HTTP, and {} is spoken", other.protocol()));
            }
        }
    }
    Ok((host, body))
}

fn set_headers(traffic: &mut Traffic, args: &LoadArgs) -> Result<Option<String>, Refusal> {
    let mut host = None;
    let protocol = traffic.protocol();
    for (name, value) in &args.header {
        match name.to_ascii_lowercase().as_str() {
            "host" => host = Some(value.clone()),
            "connection" | "content-length" | "keep-alive" | "transfer-encoding" | "upgrade" => {
                return usage(format!("--header {name}: the generator writes this header itself"));
            }
            _ => match traffic.headers_mut() {
                Some(headers) => {
                    headers.retain(|other, _| !other.eq_ignore_ascii_case(name));
                    headers.insert(name.clone(), value.clone());
                }
                None => return usage(format!("--header {name}: {protocol} has no headers")),
            },
        }
    }
    Ok(host)
}

fn read_body(text: &str) -> anyhow::Result<Vec<u8>> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.as_bytes().to_vec()) };
    let size = std::fs::metadata(path).with_context(|| format!("cannot read the body {path}"))?.len();
    if size > BODY_BYTES_MAX {
        bail!("the body {path} has {size} bytes, at most {BODY_BYTES_MAX} are sent: name a smaller file");
    }
    std::fs::read(path).with_context(|| format!("cannot read the body {path}"))
}

fn arrivals(scenario: &Scenario) -> (Arrivals, Duration) {
    match &scenario.arrivals {
        scenario::Arrivals::Closed => (Arrivals::Closed, scenario.duration),
        scenario::Arrivals::Constant { rate } => (Arrivals::Constant(rate.0), scenario.duration),
        scenario::Arrivals::Poisson { rate } => (Arrivals::Poisson(rate.0), scenario.duration),
        scenario::Arrivals::Ramp { from, to } => {
            (Arrivals::Ramp { from: from.0, to: to.0 }, scenario.duration)
        }
        scenario::Arrivals::Steps { steps } => {
            let each = steps.iter().map(|step| load::Step { rate: step.rate.0, length: step.length });
            (Arrivals::Steps(each.collect()), steps.iter().map(|step| step.length).sum())
        }
        scenario::Arrivals::Replay { starts, .. } => {
            (Arrivals::Replay(starts.clone()), starts.last().copied().unwrap_or_default())
        }
    }
}

const fn think(think: Think) -> load::Think {
    match think {
        Think::Fixed { time } => load::Think::Fixed(time.0),
        Think::Uniform { from, to } => load::Think::Uniform(from.0, to.0),
        Think::Exponential { mean } => load::Think::Exponential(mean.0),
    }
}

fn calls(requests: &[scenario::CallRequest]) -> Vec<Request<McpCall>> {
    let each = requests.iter().map(|request| {
        let (method, params) = request.call();
        Request { name: request.title(), weight: request.weight, what: McpCall { method, params } }
    });
    each.collect()
}

fn pairs(headers: &BTreeMap<String, String>) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A request's own headers, and those of all that it does not have itself.
fn merged(own: &BTreeMap<String, String>, all: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut merged = pairs(own);
    let rest = all.iter().filter(|(name, _)| !own.keys().any(|other| other.eq_ignore_ascii_case(name)));
    merged.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
    merged
}
