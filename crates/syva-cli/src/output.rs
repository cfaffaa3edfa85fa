//! Writes to the terminal. A reader that is gone (a closed pipe) is not an error, and no failure here stops a training.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use syva::text::grouped;
use syva::{Diagnosis, Error, Result};

/// The reason why standard output could not be written, if it failed.
static FAILURE: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes text to standard output. On a terminal, control characters are replaced, because names come from outside.
/// Elsewhere the text is unchanged, so that programs find the files that it names.
pub fn print(text: &str) {
    if std::io::stdout().is_terminal() { raw(&shown_lines(text)) } else { raw(text) }
}

/// Writes text to standard output unchanged.
pub fn raw(text: &str) {
    clear_status();
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        // The reader of a pipe may stop reading at any time.
        && error.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failure) = FAILURE.lock()
    {
        failure.get_or_insert(error);
    }
}

/// Writes a line to standard output.
pub fn line(text: impl Display) {
    print(&format!("{text}\n"));
}

/// Writes a line of JSON to standard output.
pub fn json(text: impl Display) {
    raw(&format!("{text}\n"));
}

/// Lines for standard error that are held back while a dashboard has the terminal.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Writes a line to standard error. Unlike `eprintln!`, it does not panic if that fails.
pub fn note(text: impl Display) {
    let text = shown_lines(&text.to_string());
    if let Ok(mut held) = HELD.lock()
        && let Some(lines) = held.as_mut()
    {
        lines.push(text);
        return;
    }
    clear_status();
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether the terminal shows a status line.
static STATUS: AtomicBool = AtomicBool::new(false);

/// Shows a line in place of the previous status line. All other output removes it.
pub fn status(line: &str) {
    let terminal = Term::stderr();
    // The cursor stays behind the line. A line padded to the terminal's width would wrap when Ctrl-C is echoed.
    let _ = terminal.clear_line().and_then(|()| terminal.write_str(line));
    STATUS.store(true, Ordering::SeqCst);
}

/// Removes the status line.
pub fn clear_status() {
    if STATUS.swap(false, Ordering::SeqCst) {
        let _ = Term::stderr().clear_line();
    }
}

/// Whether standard error can show a status line.
pub fn has_status() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Holds lines for standard error back from now on.
pub fn hold_notes() {
    if let Ok(mut held) = HELD.lock() {
        held.get_or_insert_default();
    }
}

/// The lines that are held back.
pub fn held_notes() -> Vec<String> {
    HELD.lock().ok().and_then(|held| held.clone()).unwrap_or_default()
}

/// Writes the lines that were held back.
pub fn release_notes() {
    let lines = HELD.lock().ok().and_then(|mut held| held.take()).unwrap_or_default();
    lines.iter().for_each(note);
}

/// Refuses to write over a run's own files.
pub fn check_out(flag: &str, path: &Path) -> Result<()> {
    let own = ["config.toml", "metrics.jsonl", ".lock"].iter().any(|name| path.file_name() == Some(name.as_ref()));
    if own || path.extension().is_some_and(|extension| extension == "safetensors") {
        let problem = format!("'{}' is the name of a run's own file", path.display());
        return Err(Error::setting(flag, problem, "choose another name"));
    }
    Ok(())
}

/// The ending of a file's name, in lower case, if it is one of these. Otherwise, the file's format would not be what
/// its name says.
pub fn check_ending(flag: &str, path: &Path, endings: &[&'static str]) -> Result<&'static str> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    endings.iter().copied().find(|known| ending.as_deref() == Some(known)).ok_or_else(|| {
        let problem = format!("'{}' is not the name of such a file", path.display());
        Error::setting(flag, problem, format!("give a name that ends in .{}", endings.join(" or .")))
    })
}

/// Text from outside, such as a file name, in a form that is safe to show on a terminal, in HTML and in SVG. Characters
/// that would control the terminal, break the line or change the direction of the text are replaced by `�`.
pub fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            // Marks, embeddings, overrides and isolates of direction; line and paragraph separators.
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// Like [`shown`], but keeps the ends of lines.
fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// A name for a title or a legend: as in [`shown`], and not too long.
pub fn short(name: &str) -> String {
    const MOST: usize = 40;
    let name: Vec<char> = shown(name).chars().collect();
    if name.len() <= MOST {
        return name.into_iter().collect();
    }
    let (begin, end) = (&name[..MOST / 2], &name[name.len() - MOST / 2 + 1..]);
    begin.iter().chain(['…'].iter()).chain(end).collect()
}

/// The name of a run, from its folder.
pub fn name_of(run: &Path) -> String {
    // `.` and `..` have no name, but their targets do.
    let whole = run.canonicalize().ok();
    let name = run.file_name().or_else(|| whole.as_deref().and_then(Path::file_name));
    short(&name.map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned()))
}

/// Checks that all output was written. A redirection to a full disk must not look like success.
pub fn finish() -> Result<()> {
    match FAILURE.lock().ok().and_then(|mut failure| failure.take()) {
        Some(error) => Err(Error::io("write", "standard output")(error)),
        None => Ok(()),
    }
}

/// What to do with a run that has not finished an epoch. Its files do not tell why it was stopped.
pub fn unless_not_finite(run: &Path) -> String {
    let run = run.display();
    format!("`syva resume {run}` continues it; if its loss was not finite, start a new run with a lower --lr")
}

/// A number of things: `1 epoch`, `46,900 steps`.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{} {thing}s", grouped(number)) }
}

/// `1:02:03`, `2:03` or `3 s`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// Prints what the user should know about a run.
pub fn warn(found: &Diagnosis) {
    if !found.is_empty() {
        note(format_args!("syva: {}", found.to_string().replace('\n', "; ")));
    }
}

/// The same for JSON.
pub fn warnings(found: &Diagnosis) -> serde_json::Map<String, serde_json::Value> {
    let warnings: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
    let report =
        serde_json::json!({ "learned_nothing": found.learned_nothing(), "warnings": warnings, "advice": found.advice });
    report.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_steer_neither_terminal_nor_direction() {
        assert_eq!(shown("z\u{1b}]0;pwned\u{7}"), "z\u{fffd}]0;pwned\u{fffd}");
        assert_eq!(shown("a\n\r\t\u{7f}\u{9b}b"), format!("a{}b", "\u{fffd}".repeat(5)));
        for direction in ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200f}', '\u{61c}', '\u{2028}'] {
            assert_eq!(shown(&format!("a{direction}b")), "a\u{fffd}b", "{direction:?}");
        }
        // Letters of all scripts are kept, and so are the characters that join them.
        for name in ["ääkköset", "שלום", "数字", "👩‍💻", "naïve $x$ 'n' <b>"] {
            assert_eq!(shown(name), name);
        }
    }
}
