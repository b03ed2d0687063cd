//! erlmcp.
fn main() {}
