//! The official Python SDKs against the gateway: the 2.x line in both eras, the 1.x line in the older one.
//!
//! Owns the runs; what is checked stands in `.ci/xtask/e2e/mcp_v1.py` and `mcp_v2.py`.

use anyhow::Result;

use super::{Context, Outcome, mcp};
use crate::setup;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for driver in mcp::DRIVERS {
        let gateway = mcp::gateway(context, driver)?;
        let url = gateway.url(mcp::PATH);
        for (script, python) in [
            ("mcp_v1.py", setup::python_mcp1(&context.tools)),
            ("mcp_v2.py", setup::python_mcp2(&context.tools)),
        ] {
            outcome.append(mcp::script(context, &python, script, &url, driver)?);
        }
    }
    Ok(outcome)
}
