//! A scenario of `erlmcp bench`: what virtual clients ask, when, for how long. Types beside the shape of the file.
//!
//! Holds what is the same on every machine; threads, processors and drivers are flags. Never starts anything.

pub use super::scenario_values::{Pause, Rate, Scheme, TargetUrl};

use crate::shape::{Field, SECONDS, Shape, Text, Variant, def, int, list, opt, req};
use crate::texts::{HEADER_NAME, HEADER_VALUE, LINE, METHOD};
use crate::units::{self, Bare, DURATION_MS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A scenario, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where to, when the command line does not say.
    pub target: Option<TargetUrl>,
    /// What is spoken and asked.
    pub traffic: Traffic,
    /// When requests start.
    pub arrivals: Arrivals,
    /// Pause between a reply and the next request; closed loop only.
    pub think: Option<Think>,
    /// Virtual clients, one connection each.
    pub connections: u32,
    /// Driven and thrown away before measuring.
    #[serde(with = "units::duration")]
    pub warmup: Duration,
    /// Measured. Steps and recorded starts bring their own.
    #[serde(with = "units::duration")]
    pub duration: Duration,
    /// A request without its whole reply after so long has failed.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Length of a row in the time series.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// Ends the run after so many measured requests.
    pub requests_max: Option<u64>,
    /// Of arrivals, mix and think times.
    pub seed: u64,
    /// For `erlmcp plan`.
    pub goals: Vec<String>,
}

/// What is spoken, with the mix of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Traffic {
    /// HTTP/1.1, keep-alive.
    Http {
        /// Of each request.
        headers: BTreeMap<String, String>,
        /// The mix.
        requests: Vec<HttpRequest>,
    },
    /// MCP over Streamable HTTP.
    Mcp {
        /// Which clients.
        era: Era,
        /// Of each request.
        headers: BTreeMap<String, String>,
        /// The mix.
        requests: Vec<CallRequest>,
        /// Requests of one session; 0 never ends it.
        session_requests: u32,
    },
    /// Event streams.
    Sse {
        /// Of each request.
        headers: BTreeMap<String, String>,
        /// How long a stream is held.
        #[serde(with = "units::duration")]
        hold: Duration,
        /// A longer gap between events is a stall.
        stall: Pause,
    },
    /// WebSocket text messages.
    #[serde(rename = "websocket")]
    WebSocket {
        /// Of the handshake.
        headers: BTreeMap<String, String>,
        /// The mix.
        requests: Vec<TextRequest>,
    },
    /// Lines of JSON-RPC over bare TCP.
    Tcp {
        /// The mix.
        requests: Vec<CallRequest>,
    },
    /// A new connection per HTTP request.
    NewConnection {
        /// Of each request.
        headers: BTreeMap<String, String>,
        /// Such as `GET`.
        method: String,
        /// With query; none: the target's.
        path: Option<String>,
        /// Sent with its length.
        body: String,
    },
}

impl Traffic {
    /// As `--protocol` and the file name it.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Mcp { .. } => "mcp",
            Self::Sse { .. } => "sse",
            Self::WebSocket { .. } => "websocket",
            Self::Tcp { .. } => "tcp",
            Self::NewConnection { .. } => "new-connection",
        }
    }

    /// Headers that go with each request; `None` where the protocol has none.
    pub const fn headers_mut(&mut self) -> Option<&mut BTreeMap<String, String>> {
        match self {
            Self::Http { headers, .. }
            | Self::Mcp { headers, .. }
            | Self::Sse { headers, .. }
            | Self::WebSocket { headers, .. }
            | Self::NewConnection { headers, .. } => Some(headers),
            Self::Tcp { .. } => None,
        }
    }
}

/// Revisions of MCP, by how clients and servers know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Era {
    /// `initialize` and a session.
    #[serde(rename = "2025-11-25")]
    Sessions,
    /// Stateless.
    #[serde(rename = "2026-07-28")]
    Stateless,
}

/// One of an HTTP mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// For reports; method and path when absent.
    pub name: Option<String>,
    /// Share among its neighbours.
    pub weight: u32,
    /// Such as `GET`.
    pub method: String,
    /// With query; none: the target's.
    pub path: Option<String>,
    /// Beside those of `traffic.headers`, and before them.
    pub headers: BTreeMap<String, String>,
    /// Sent with its length.
    pub body: String,
}

/// One of an MCP or JSON-RPC mix: a method with `params`, or a tool with `arguments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// For reports; method or tool when absent.
    pub name: Option<String>,
    /// Share among its neighbours.
    pub weight: u32,
    /// Such as `tools/list`.
    pub method: Option<String>,
    /// Of the method.
    pub params: Option<Map<String, Value>>,
    /// Called by `tools/call`.
    pub tool: Option<String>,
    /// Of the tool.
    pub arguments: Option<Map<String, Value>>,
}

impl CallRequest {
    /// What reports call it.
    pub fn title(&self) -> String {
        let own = [&self.name, &self.tool, &self.method].into_iter().flatten().next();
        own.cloned().unwrap_or_default()
    }

    /// Method and `params`.
    pub fn call(&self) -> (String, Value) {
        match &self.tool {
            Some(tool) => {
                let arguments = self.arguments.clone().unwrap_or_default();
                ("tools/call".to_owned(), serde_json::json!({ "name": tool, "arguments": arguments }))
            }
            None => {
                let method = self.method.clone().unwrap_or_default();
                (method, Value::Object(self.params.clone().unwrap_or_default()))
            }
        }
    }
}

impl HttpRequest {
    /// What reports call it.
    pub fn title(&self) -> String {
        let derived = || {
            [self.method.as_str(), self.path.as_deref().unwrap_or_default()].join(" ").trim_end().to_owned()
        };
        self.name.clone().unwrap_or_else(derived)
    }
}

impl TextRequest {
    /// What reports call it, being the one at `index` of its mix.
    pub fn title(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("message {}", index + 1))
    }
}

/// One of a WebSocket mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRequest {
    /// For reports; `message N` when absent.
    pub name: Option<String>,
    /// Share among its neighbours.
    pub weight: u32,
    /// One message.
    pub text: String,
}

/// When requests start. All but `closed` wait for no reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// A client's next request starts with its reply.
    Closed,
    /// Evenly spaced.
    Constant {
        /// Over all clients.
        rate: Rate,
    },
    /// Exponential gaps.
    Poisson {
        /// Mean, over all clients.
        rate: Rate,
    },
    /// Linearly from one rate to another over `duration`.
    Ramp {
        /// At the start.
        from: Rate,
        /// At the end.
        to: Rate,
    },
    /// One rate after the other.
    Steps {
        /// At least one.
        steps: Vec<Step>,
    },
    /// Recorded starts.
    Replay {
        /// A number of seconds, or a time with its unit, a line; relative to the scenario's folder.
        file: String,
        /// What stood in it, from its first line on, ascending.
        #[serde(skip)]
        starts: Vec<Duration>,
    },
}

/// A stretch of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Over all clients.
    pub rate: Rate,
    /// How long.
    #[serde(with = "units::duration")]
    pub length: Duration,
}

/// Pause between a reply and the next request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Think {
    /// Always the same.
    Fixed {
        /// This.
        time: Pause,
    },
    /// Anything between two.
    Uniform {
        /// Shortest.
        from: Pause,
        /// Longest.
        to: Pause,
    },
    /// Exponential.
    Exponential {
        /// Its mean.
        mean: Pause,
    },
}

/// Most requests in a mix: each has histograms of its own.
const MIX_MAX: usize = 64;
/// Most stretches of one run.
const STEPS_MAX: usize = 1000;
/// Most connections: the whole range of local ports towards sixteen addresses.
const CONNECTIONS_MAX: u64 = 1_000_000;

fn parses<T: std::str::FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop)
}

fn check_rate(text: &str) -> Result<(), String> {
    let Rate(rate) = text.parse()?;
    if rate > 0.0 { Ok(()) } else { Err("a rate of zero starts nothing".to_owned()) }
}

/// A path with query, in URL characters (RFC 9112 section 3.2.1).
fn check_target_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(())
    } else {
        Err("it must start with `/` and hold only URL characters and no fragment".to_owned())
    }
}

/// Bodies and messages may hold lines.
fn check_body(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("it must hold no NUL".to_owned()) } else { Ok(()) }
}

const RATE: Shape =
    Shape::Text(Text { name: "a rate such as 500, 500/s or 20k/s", example: "500/s", check: check_rate });
const RATE_OR_ZERO: Shape =
    Shape::Text(Text { name: "a rate such as 0, 500/s or 20k/s", example: "500/s", check: parses::<Rate> });
const PAUSE: Shape =
    Shape::Text(Text { name: "a time such as 250us, 5ms or 1.5s", example: "5ms", check: parses::<Pause> });
const TARGET: Shape = Shape::Text(Text {
    name: "the URL of a target",
    example: "http://127.0.0.1:8080/mcp",
    check: parses::<TargetUrl>,
});
const PATH: Shape =
    Shape::Text(Text { name: "a path with query", example: "/mcp?a=b", check: check_target_path });
const BODY: Shape = Shape::Text(Text { name: "a body", example: "hello", check: check_body });
/// From zero on, unlike [`SECONDS`].
const SECONDS_OR_ZERO: Shape = Shape::Duration { bare: Bare::Seconds, min: 0, max: DURATION_MS_MAX };
const LABEL: Shape = Shape::Text(LINE);
const WEIGHT: Shape = int(1, 1_000_000);
const HEADERS: Shape = Shape::Dict { key: HEADER_NAME, of: &Shape::Text(HEADER_VALUE), max: 64 };

const fn weight() -> Field {
    def("weight", WEIGHT, "1", "share among the requests of the mix")
}

const fn headers(doc: &'static str) -> Field {
    def("headers", HEADERS, "{}", doc)
}

const HTTP_REQUEST: &[Field] = &[
    opt("name", LABEL, "in reports; method and path when absent"),
    weight(),
    def("method", Shape::Text(METHOD), "GET", "HTTP method"),
    opt("path", PATH, "path with query; the target's when absent"),
    headers("of this request, before those of all"),
    def("body", BODY, "\"\"", "sent with its length"),
];

const CALL_REQUEST: &[Field] = &[
    opt("name", LABEL, "in reports; method or tool when absent"),
    weight(),
    opt("method", LABEL, "JSON-RPC method; or give `tool`"),
    opt("params", Shape::Json, "of the method; `_meta` is added as the era wants it"),
    opt("tool", LABEL, "name of a tool, called by tools/call; or give `method`"),
    opt("arguments", Shape::Json, "of the tool"),
];

const TEXT_REQUEST: &[Field] = &[
    opt("name", LABEL, "in reports; `message N` when absent"),
    weight(),
    req("text", BODY, "the message; one is awaited in return"),
];

const CALLS: Shape = list(&Shape::Map(CALL_REQUEST), MIX_MAX);

const TRAFFIC: Shape = Shape::Tagged {
    tag: "protocol",
    variants: &[
        Variant {
            tag: "http",
            fields: &[
                headers("of each request"),
                def("requests", list(&Shape::Map(HTTP_REQUEST), MIX_MAX), "[{method: GET}]", "the mix"),
            ],
        },
        Variant {
            tag: "mcp",
            fields: &[
                def(
                    "era",
                    Shape::Choice(&["2025-11-25", "2026-07-28"]),
                    "2026-07-28",
                    "2025-11-25: initialize and a session; 2026-07-28: stateless",
                ),
                headers("of each request, such as Authorization"),
                def("requests", CALLS, "[{method: tools/list}]", "the mix; initialize is measured by itself"),
                def("session_requests", int(0, 1_000_000_000), "0", "after so many a new session; 0: never"),
            ],
        },
        Variant {
            tag: "sse",
            fields: &[
                headers("of each request, such as Mcp-Session-Id"),
                def("hold", SECONDS, "10s", "a stream is held for so long, or until the server ends it"),
                def("stall", PAUSE, "1s", "a longer gap between events counts as a stall"),
            ],
        },
        Variant {
            tag: "websocket",
            fields: &[
                headers("of the handshake"),
                def(
                    "requests",
                    list(&Shape::Map(TEXT_REQUEST), MIX_MAX),
                    "[{name: ping, text: '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}'}]",
                    "the mix",
                ),
            ],
        },
        Variant {
            tag: "tcp",
            fields: &[def("requests", CALLS, "[{method: ping}]", "the mix, a line of JSON-RPC each")],
        },
        Variant {
            tag: "new-connection",
            fields: &[
                headers("of each request"),
                def("method", Shape::Text(METHOD), "GET", "HTTP method"),
                opt("path", PATH, "path with query; the target's when absent"),
                def("body", BODY, "\"\"", "sent with its length"),
            ],
        },
    ],
};

const STEP: &[Field] =
    &[req("rate", RATE, "requests per second over all clients"), req("length", SECONDS, "how long")];

const ARRIVALS: Shape = Shape::Tagged {
    tag: "kind",
    variants: &[
        Variant { tag: "closed", fields: &[] },
        Variant { tag: "constant", fields: &[req("rate", RATE, "requests per second, evenly spaced")] },
        Variant {
            tag: "poisson",
            fields: &[req("rate", RATE, "mean requests per second, exponential gaps")],
        },
        Variant {
            tag: "ramp",
            fields: &[
                req("from", RATE_OR_ZERO, "requests per second at the start"),
                req("to", RATE_OR_ZERO, "requests per second at the end of `duration`"),
            ],
        },
        Variant {
            tag: "steps",
            fields: &[req("steps", list(&Shape::Map(STEP), STEPS_MAX), "one rate after the other")],
        },
        Variant {
            tag: "replay",
            fields: &[req(
                "file",
                LABEL,
                "recorded starts, a number of seconds or a time with its unit a line",
            )],
        },
    ],
};

const THINK: Shape = Shape::Tagged {
    tag: "kind",
    variants: &[
        Variant { tag: "fixed", fields: &[req("time", PAUSE, "always this")] },
        Variant { tag: "uniform", fields: &[req("from", PAUSE, "shortest"), req("to", PAUSE, "longest")] },
        Variant { tag: "exponential", fields: &[req("mean", PAUSE, "its mean")] },
    ],
};

/// The keys at the top of a scenario file.
pub(crate) const KEYS: &[Field] = &[
    opt("target", TARGET, "where to, when the command line names no URL"),
    req("traffic", TRAFFIC, "what is spoken and asked: `protocol: http` and its requests"),
    def("arrivals", ARRIVALS, "{kind: closed}", "when requests start"),
    opt("think", THINK, "pause between a reply and the next request; closed loop only"),
    def("connections", int(1, CONNECTIONS_MAX), "64", "virtual clients, one connection each"),
    def("warmup", SECONDS_OR_ZERO, "2s", "driven and thrown away before measuring"),
    def("duration", SECONDS, "30s", "measured; steps and recorded starts bring their own"),
    def("timeout", SECONDS, "10s", "a request without its whole reply after so long has failed"),
    def("interval", SECONDS, "1s", "length of a row in the time series"),
    opt("requests_max", int(1, u64::MAX), "ends the run after so many measured requests"),
    def("seed", int(0, u64::MAX), "1", "of arrivals, mix and think times: the same seed, the same schedule"),
    def("goals", list(&LABEL, 32), "[]", "what `erlmcp plan` holds the rate to, such as `p99 < 5ms`"),
];
