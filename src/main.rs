//! Parses the command line, starts the runtime and calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    todo_api::cli::main()
}
