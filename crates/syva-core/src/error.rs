//! The one error type of the libraries. Each message says what was wrong, where, and what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::text::rate;

/// Everything that can go wrong in Syvä.
///
/// Messages are complete sentences for a person: what was wrong, where (file, place, setting) and the remedy.
///
/// ```
/// use syva_core::Error;
/// let error = Error::setting("--batch-size", "a batch cannot have 0 samples", "give 1 or more");
/// assert_eq!(error.to_string(), "--batch-size: a batch cannot have 0 samples; give 1 or more");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {}", name_of(path), reason(source))]
    Io {
        /// What was tried, as a verb: "read", "create folder", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file's content is not what its format or its companion files demand.
    #[error("{} ({place}): {problem}; {remedy}", name_of(path))]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it: a byte offset, a tensor's name, a line.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A setting (flag, configuration entry, builder argument) makes no sense.
    #[error("{setting}: {problem}; {remedy}")]
    Setting {
        /// The setting's name, as the user wrote it.
        setting: String,
        /// What is wrong with it.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// Data, model and state do not fit together.
    #[error("{problem}; {remedy}")]
    Mismatch {
        /// Which two things differ, with both values.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// An engine cannot do what was asked. This is reported before any work begins.
    #[error("{what} is not supported here; {remedy}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// What can be used instead.
        remedy: String,
    },
    /// The system has too little of a resource, or refuses it: memory, threads.
    #[error("{resource}: {problem}; {remedy}")]
    Resource {
        /// The resource.
        resource: String,
        /// How much was asked for, and for what.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A device, such as a graphics card, failed or ran out of memory, or its driver refused. Everything that it
    /// computed after its state was last read is lost. Checkpoints are intact.
    #[error("{device}: {problem}; {remedy}")]
    Device {
        /// The device's name, as `--device` takes it.
        device: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A download failed.
    #[error("{what} could not be downloaded ({problem}); {remedy}")]
    Network {
        /// What was to be downloaded.
        what: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A number in the training is no longer finite.
    #[error(
        "{what} is not finite at epoch {epoch}, step {step} (learning rate {learning_rate:?}); \
         try a learning rate of {} or less (--lr), or inputs of smaller scale",
        rate(*suggestion)
    )]
    NonFinite {
        /// What is not finite: "the loss", "a weight".
        what: &'static str,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Step within the epoch, counted from 1.
        step: u64,
        /// The learning rate of that step.
        learning_rate: f32,
        /// A learning rate to try: a tenth of that rate, but at most 0.1.
        suggestion: f32,
    },
}

/// What a path is called in messages: `-` is standard input.
fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}

/// The operating system's reason, and what to do if that is known.
fn reason(source: &io::Error) -> String {
    let known = match source.kind() {
        // Errors with a text of their own say enough.
        _ if source.get_ref().is_some() => None,
        ErrorKind::NotFound => Some("there is no such file or folder; check the name"),
        ErrorKind::PermissionDenied => Some("permission denied; change the permissions, or name another place"),
        ErrorKind::ReadOnlyFilesystem => Some("this file system is read-only; name another place"),
        ErrorKind::IsADirectory => Some("it is a folder; name a file"),
        ErrorKind::NotADirectory => Some("a part of its path is a file, not a folder; check the name"),
        ErrorKind::StorageFull => Some("the disk is full; make room on it, or name another place"),
        _ => None,
    };
    known.map_or_else(|| source.to_string(), str::to_string)
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an [`Error::Setting`].
    pub fn setting(setting: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::Resource`].
    pub fn resource(resource: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Resource { resource: resource.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::Mismatch`].
    pub fn mismatch(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Mismatch { problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::File`].
    pub fn file(
        path: impl Into<PathBuf>,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::File { path: path.into(), place: place.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates an [`Error::NonFinite`] of a step with this learning rate, with a rate to try instead.
    #[must_use]
    pub fn non_finite(what: &'static str, epoch: u64, step: u64, learning_rate: f32) -> Self {
        let suggestion = (learning_rate / 10.0).min(0.1);
        Self::NonFinite { what, epoch, step, learning_rate, suggestion }
    }

    /// For `map_err`: wraps a [`std::io::Error`] with what was tried on which path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_reasons_come_with_a_remedy() {
        let said = |kind: ErrorKind| Error::io("write", "a/b.png")(kind.into()).to_string();
        assert_eq!(
            said(ErrorKind::PermissionDenied),
            "cannot write a/b.png: permission denied; change the permissions, or name another place"
        );
        assert_eq!(said(ErrorKind::IsADirectory), "cannot write a/b.png: it is a folder; name a file");
        let own = io::Error::new(ErrorKind::NotFound, "looked everywhere");
        assert_eq!(Error::io("find", "MNIST")(own).to_string(), "cannot find MNIST: looked everywhere");
    }

    #[test]
    fn a_suggested_rate_is_a_short_number() {
        let error = Error::NonFinite { what: "the loss", epoch: 1, step: 2, learning_rate: 0.9, suggestion: 0.9 * 0.1 };
        assert!(error.to_string().contains("try a learning rate of 0.09 or less"), "{error}");
    }
}
