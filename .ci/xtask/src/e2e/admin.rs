//! What a running gateway says of itself: metrics, status, nodes.
//!
//! Owns the reading of it. Changes go over the Unix socket, as operators' commands do.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::gateway::Gateway;
use super::http;

const LIMIT: Duration = Duration::from_secs(5);

/// One reading of `/metrics`: each sample by its name with labels, as it stands there.
#[derive(Debug, Clone)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads them.
    ///
    /// # Errors
    /// When they cannot be had within a few seconds.
    pub(super) fn of(gateway: &Gateway) -> Result<Self> {
        let reply = http::get(gateway.admin, "/metrics", LIMIT).context("read /metrics")?;
        ensure!(reply.status == 200, "/metrics: status {}", reply.status);
        Ok(Self::parse(&reply.text()))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Self(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Sum of a family's samples whose labels hold all of `labels` (each as `name="value"`).
    pub(super) fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let is_meant = |name: &str| {
            let (own, rest) = name.split_once('{').unwrap_or((name, ""));
            own == family && labels.iter().all(|label| rest.contains(label))
        };
        self.0.iter().filter(|(name, _)| is_meant(name)).map(|(_, value)| value).sum()
    }

    /// Whether any sample's labels hold `text`.
    pub(super) fn line_with(&self, family: &str, text: &str) -> Option<&str> {
        let mut names = self.0.keys().filter(|name| name.starts_with(family));
        names.find(|name| name.contains(text)).map(String::as_str)
    }

    /// Refusals by reason.
    pub(super) fn rejected(&self) -> BTreeMap<String, u64> {
        let own = self.0.iter().filter_map(|(name, value)| {
            let reason = name.strip_prefix("erlmcp_rejected_total{reason=\"")?.strip_suffix("\"}")?;
            Some((reason.to_owned(), *value as u64))
        });
        own.filter(|(_, count)| *count > 0).collect()
    }
}

/// A page of the admin API.
///
/// # Errors
/// When it cannot be had or is not JSON.
pub(super) fn page(gateway: &Gateway, path: &str) -> Result<Value> {
    let reply = http::get(gateway.admin, path, LIMIT).with_context(|| format!("read {path}"))?;
    ensure!(reply.status == 200, "{path}: status {}", reply.status);
    serde_json::from_slice(&reply.body).with_context(|| format!("read the JSON of {path}"))
}

/// A number of the first endpoint of the node at `address`.
pub(super) fn of_node(nodes: &Value, address: &str, key: &str) -> Option<Value> {
    let endpoints = nodes.as_array()?.iter().filter_map(|node| node["endpoints"].as_array()).flatten();
    let mut own = endpoints.filter(|endpoint| endpoint["address"] == address);
    Some(own.next()?[key].clone())
}

/// Asks over the Unix socket; the status.
///
/// # Errors
/// When there is no answer.
pub(super) fn post(gateway: &Gateway, path: &str) -> Result<u16> {
    let status = page(gateway, "/api/status")?;
    let socket = status["socket"].as_str().context("the gateway has no admin socket")?;
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to {socket}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let text = String::from_utf8_lossy(&reply);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.with_context(|| format!("POST {path}: no status in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up_over_their_labels() {
        let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 9\nb 5\n\
                    erlmcp_rejected_total{reason=\"bare_lf\"} 2\nerlmcp_rejected_total{reason=\"obs_fold\"} 0\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a", &[]), 7.0);
        assert_eq!(metrics.sum("a", &["x=\"1\"", "y=\"3\""]), 4.0);
        assert_eq!(metrics.sum("b", &[]), 5.0);
        assert_eq!(metrics.rejected(), [("bare_lf".to_owned(), 2)].into());
        assert!(metrics.line_with("a", "y=\"2\"").is_some() && metrics.line_with("a", "z").is_none());
    }
}
