//! Writing to the terminal: a reader that went away (a closed pipe) is no error, and none of it stops a training.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use syva::{Error, Result};

/// Why standard output could not be written, if so.
static FAILURE: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes text to standard output.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        // The reader of a pipe may stop listening whenever it likes.
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

/// Lines for standard error that wait while a dashboard has the terminal.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Writes a line to standard error. Unlike `eprintln!` it does not panic where nobody reads it.
pub fn note(text: impl Display) {
    if let Ok(mut held) = HELD.lock()
        && let Some(lines) = held.as_mut()
    {
        lines.push(text.to_string());
        return;
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// From now on lines for standard error wait.
pub fn hold_notes() {
    if let Ok(mut held) = HELD.lock() {
        held.get_or_insert_default();
    }
}

/// The lines that wait.
pub fn held_notes() -> Vec<String> {
    HELD.lock().ok().and_then(|held| held.clone()).unwrap_or_default()
}

/// Writes the lines that waited.
pub fn release_notes() {
    let lines = HELD.lock().ok().and_then(|mut held| held.take()).unwrap_or_default();
    lines.iter().for_each(note);
}

/// Whether all that was printed has arrived: a redirection to a full disk must not look like success.
pub fn finish() -> Result<()> {
    match FAILURE.lock().ok().and_then(|mut failure| failure.take()) {
        Some(error) => Err(Error::io("write", "standard output")(error)),
        None => Ok(()),
    }
}
