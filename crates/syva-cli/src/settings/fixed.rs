//! The settings that a run keeps when it is resumed.

use std::path::Path;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Id};
use syva::{Error, Result};

use super::Settings;

/// What `syva resume` is asked for and cannot change: the flags of `syva train` that it does not have, because they make
/// the bits of a run. They are hidden, so that asking for them is answered.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The flags that were given, with their values.
    given: Vec<String>,
}

impl Fixed {
    /// Refuses any of these settings that was given for `run`.
    pub fn check(&self, run: &Path) -> Result<()> {
        if self.given.is_empty() {
            return Ok(());
        }
        let given = &self.given;
        let remedy = format!("start a new run: `syva train --like {} {}`", run.display(), given.join(" "));
        Err(Error::setting(given.join(", "), "resuming cannot change this setting of a run", remedy))
    }

    /// The flags of `syva train` that are settings.
    fn flags() -> Vec<Arg> {
        let settings = Settings::augment_args(Command::new("train"));
        settings.get_arguments().cloned().chain([Arg::new("config").long("config")]).collect()
    }
}

impl Args for Fixed {
    /// Adds the flags that the command does not have yet, so it must come after the command's own.
    fn augment_args(command: Command) -> Command {
        let there: Vec<Id> = command.get_arguments().map(|flag| flag.get_id().clone()).collect();
        let hidden = |flag: Arg| {
            // What is said of a value that cannot be read does not matter here.
            let text = flag.value_parser(clap::value_parser!(String)).allow_negative_numbers(true);
            text.hide(true).num_args(0..=1).default_missing_value("")
        };
        command.args(Self::flags().into_iter().filter(|flag| !there.contains(flag.get_id())).map(hidden))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Fixed {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut given = Vec::new();
        for flag in Self::flags() {
            // The command's own flags are of other types.
            if let Ok(Some(value)) = matches.try_get_one::<String>(flag.get_id().as_str())
                && !OWN.contains(&flag.get_id().as_str())
            {
                given.push(format!("--{} {value}", flag.get_long().unwrap_or_default()).trim_end().to_string());
            }
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings of text that `syva resume` can change.
const OWN: [&str; 1] = ["device"];
