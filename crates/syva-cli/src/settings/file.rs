//! Settings in a TOML file, and by name from another program.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use syva::names::nearest;
use syva::{Error, Result};

use super::Settings;

/// More bytes than any settings file has.
const MOST_BYTES: u64 = 1 << 20;

/// What scikit-learn calls settings, and what they are called here.
const ELSEWHERE: [(&str, &str); 5] = [
    ("alpha", "l2"),
    ("hidden_layer_sizes", "hidden"),
    ("learning_rate_init", "lr"),
    ("max_iter", "epochs"),
    ("random_state", "seed"),
];

impl Settings {
    /// Settings by their names, with `-` or `_` between words, and values as a settings file has them.
    ///
    /// # Errors
    /// [`Error::Setting`] with the name as it was given.
    pub fn named(given: impl IntoIterator<Item = (String, toml::Value)>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in given {
            let plain = name.replace('_', "-");
            let known = [Self::NAMES, &["learning_rate", "preset"]].concat();
            if !known.iter().any(|known| known.replace('_', "-") == plain) {
                let theirs = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
                let remedy = match theirs.or_else(|| nearest(&name.replace('-', "_"), &known)) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "the settings are those of `syva train --help`".into(),
                };
                return Err(Error::setting(name, "there is no such setting", remedy));
            }
            let read = Self::deserialize(toml::Table::from_iter([(plain, value)])).map_err(|error| {
                let problem = error.message();
                let problem = problem.strip_prefix(&format!("{name}: ")).unwrap_or(problem);
                let (problem, remedy) = problem.split_once("; ").unwrap_or((problem, "give a value of that type"));
                Error::setting(name, problem.trim(), remedy)
            })?;
            settings = settings.or(read);
        }
        Ok(settings)
    }

    /// The settings in a TOML file. An invalid setting is wrong usage, like an invalid flag.
    pub(super) fn from_file(path: &Path) -> Result<Self> {
        let refuse = |place: &str, problem: &str, remedy: &str| {
            Error::setting(format!("{} ({place})", path.display()), problem, remedy)
        };
        // This also reads from a pipe, such as `<(…)` in a shell.
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(refuse("its size", "a settings file has at most 1 MiB", "name a settings file"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let place = format!("byte {}", error.valid_up_to());
            refuse(&place, "it is not UTF-8 text", "save it as UTF-8, or name another file")
        })?;
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let place = format!("line {line}");
            if text.contains("\n[training]\n") {
                let remedy = "`syva train --like RUN` repeats a run, and `syva resume RUN` continues it";
                return refuse(&place, "this looks like a run's own config.toml, not like a settings file", remedy);
            }
            if let Some((problem, remedy)) = text.lines().nth(line - 1).and_then(|line| mistake(line, error.message()))
            {
                return refuse(&place, &problem, &remedy);
            }
            // All the names, which serde lists, would bury the one that is wrong.
            let problem = error.message().split(", expected one of").next().unwrap_or_default();
            let problem = problem.replace("unknown field", "unknown setting");
            let remedy = match problem.split_once("; ") {
                // What reads a value says what to write instead.
                Some((problem, remedy)) => return refuse(&place, problem, remedy),
                None if problem.starts_with("unknown setting") => {
                    "use the names of the flags from --data to --out (see `syva train --help`)"
                }
                None if problem.starts_with("invalid type") => "give a value of that type",
                None => "write each setting once, as `name = value` on a line of its own",
            };
            refuse(&place, &problem, remedy)
        })?;
        // Flags are checked when they are parsed. Settings from the file are checked here, where its name is known.
        file.training().map_err(|error| match error {
            Error::Setting { setting, problem, remedy } => refuse(&setting, &problem, &remedy),
            other => other,
        })?;
        for (name, folder) in [("data-dir", &file.data_dir), ("init-from", &file.init_from), ("out", &file.out)] {
            if folder.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
                return Err(refuse(name, "the folder's name is empty", "name a folder, or leave the line out"));
            }
        }
        Ok(file)
    }
}

/// What is wrong with a line of a settings file, and what to write: the mistakes that people make who do not know TOML.
/// `said` is what the parser says of it.
fn mistake(line: &str, said: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.split('#').next().unwrap_or_default().trim());
    if said.starts_with("invalid type") && ["path string", "a string"].iter().any(|text| said.ends_with(text)) {
        return Some((format!("{value} is not text"), "put it in quotes".into()));
    }
    let unreadable = toml::from_str::<toml::Table>(line).is_err();
    if name == "exact" && !value.is_empty() && (unreadable || said.starts_with("invalid type")) {
        return Some((format!("{name} cannot be {value}"), "write true or false, without quotes".into()));
    }
    // The other mistakes are those of a line that TOML cannot read.
    if !unreadable || value.contains(['"', '\'', '[', ']']) {
        return None;
    }
    if value.is_empty() {
        return Some((format!("{name} has no value"), "write one, or leave the line out".into()));
    }
    let point = value.replacen(',', ".", 1);
    if point != value && point.parse::<f64>().is_ok() {
        return Some((format!("{value} is not a number"), format!("write {point}")));
    }
    let is_text = value.starts_with(|c: char| c.is_alphabetic() || matches!(c, '.' | '/' | '~'));
    is_text.then(|| (format!("{value} is not in quotes"), format!("write {name} = \"{value}\"")))
}
