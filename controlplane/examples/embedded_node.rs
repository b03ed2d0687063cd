//! Serves the embedded MCP node alone, without a gateway: `cargo run --example embedded_node [ADDR]`.
//!
//! Prints its URL and serves until it gets SIGINT.

use std::{io, net::SocketAddr};

use erlmcp_controlplane::embedded::EmbeddedNode;

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let addr: SocketAddr = addr.parse().map_err(io::Error::other)?;
    let node = EmbeddedNode::start(addr).await?;
    println!("{}", node.url());
    tokio::signal::ctrl_c().await?;
    node.stop().await
}
