//! The `erlmcp` binary. Everything lives in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    erlmcp_controlplane::cli::main()
}
