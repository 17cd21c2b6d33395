//! The `detsim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    detsim::cli::main()
}
