//! The program `syva`. Its [library](syva_cli::main) reads the arguments, matches on the command, and turns errors into exit codes:
//!
//! | code | |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: a file, the disk, memory, a device, a loss that is not finite |
//! | 2 | wrong usage: a flag, a value in a settings file or in the environment |
//! | 128 + n | a training was stopped by signal n and saved: 130 by Ctrl-C or q, 143 by TERM, 129 by a hang-up |

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(syva_cli::main(std::env::args_os()))
}
