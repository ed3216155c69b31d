//! The program: everything is in the library's `commands`.

use std::process::ExitCode;

fn main() -> ExitCode {
    stockhold_harness::internal::main()
}
