//! The program `syva` as a library, so that other programs can run it: the Python package has no other. Its settings, which
//! know flags, files and named values, serve that package too.

mod args;
mod bench;
mod curves;
mod data;
mod devices;
pub mod embedded;
mod eval;
mod explain;
mod export;
mod folders;
mod folds;
mod hyperparameters;
mod images;
mod import;
mod lr_find;
mod output;
mod picture;
mod pictures;
mod plot;
mod predict;
mod progress;
mod regions;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod signals;
mod summary;
mod tables;
mod tensorboard;
mod train;
mod tui;
mod values;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};

use clap::{CommandFactory, Parser};
use syva::{Error, Result};

use crate::args::{Cli, Command};

/// What a command ends with, as `main` says it.
type Code = u8;

/// Runs a command line, whose first word is the program's name. Returns the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    signals::let_writing_fail();
    report_only_own_panics();
    let done = match Cli::try_parse_from(words) {
        Ok(cli) => run(cli.command),
        Err(answer) => match answer.print().and_then(|()| std::io::stdout().flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("write", "standard output")(error)),
            // Help that was asked for is not wrong usage.
            _ if answer.use_stderr() => return 2,
            _ => Ok(0),
        },
    };
    match done.and_then(|code| output::finish().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            output::note(format_args!("syva: {error}"));
            let usage = matches!(error, Error::Setting { .. } | Error::Unsupported { .. });
            if usage { 2 } else { 1 }
        }
    }
}

/// A panic of a decoder over a damaged file is no fault of the program, and becomes an error. From now on it is no longer
/// reported as well.
pub fn report_only_own_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !syva::tables::catches_panics() {
            report(panic);
        }
    }));
}

fn run(command: Command) -> Result<Code> {
    match command {
        Command::Train(args) => return train::train(&args),
        Command::Resume(args) => return train::resume(&args),
        Command::Top(args) => return tui::top(&args.run),
        Command::Eval(args) => eval::eval(&args)?,
        Command::LrFind(args) => lr_find::lr_find(&args)?,
        Command::Bench(args) => bench::bench(&args)?,
        Command::Predict(args) => return predict::predict(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::serve(&args)?,
        Command::Export(args) => export::export(&args)?,
        Command::Import(args) => import::import(&args)?,
        Command::Explain(args) => explain::explain(&args)?,
        Command::Regions(args) => regions::regions(&args)?,
        Command::Report(args) => report::report(&args)?,
        Command::Plot(args) => plot::plot(&args)?,
        Command::Summary(args) => summary::summary(&args)?,
        Command::Data(args) => data::data(&args.command)?,
        Command::Devices(args) => return devices::devices(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "syva", &mut script);
            output::raw(&String::from_utf8_lossy(&script));
        }
    }
    Ok(0)
}
