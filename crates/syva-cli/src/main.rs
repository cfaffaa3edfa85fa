//! The program `syva`. `main` reads the arguments, matches on the command, and turns errors into exit codes:
//! 0 done, 1 failed or interrupted, 2 wrong usage.

mod args;
mod bench;
mod curves;
mod data;
mod devices;
mod eval;
mod output;
mod picture;
mod pictures;
mod plot;
mod predict;
mod report;
mod settings;
mod summary;
mod tensorboard;
mod train;
mod tui;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use syva::{Error, Result};

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let done = run(Cli::parse().command);
    match done.and_then(|code| output::finish().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            output::note(format_args!("syva: {error}"));
            let usage = matches!(error, Error::Setting { .. } | Error::Unsupported { .. });
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => return train::train(&args),
        Command::Resume(args) => return train::resume(&args),
        Command::Top(args) => tui::top(&args.run)?,
        Command::Eval(args) => eval::eval(&args)?,
        Command::Bench(args) => bench::bench(&args)?,
        Command::Predict(args) => return predict::predict(&args),
        Command::Report(args) => report::report(&args)?,
        Command::Plot(args) => plot::plot(&args)?,
        Command::Summary(args) => summary::summary(&args)?,
        Command::Data(args) => data::data(&args.command)?,
        Command::Devices(args) => return devices::devices(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "syva", &mut script);
            output::print(&String::from_utf8_lossy(&script));
        }
    }
    Ok(ExitCode::SUCCESS)
}
