//! Writing to standard output: a reader that went away (a closed pipe) is no error.

use std::io::Write;

/// Writes text to standard output.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // The reader of a pipe may stop listening whenever it likes; nothing that matters is written only there.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to standard output.
pub fn line(text: impl std::fmt::Display) {
    print(&format!("{text}\n"));
}
