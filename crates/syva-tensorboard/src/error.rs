use std::path::PathBuf;

/// What can go wrong with event files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A record does not match its checksums, or holds no event.
    #[error("{} (byte {offset}): {problem}; everything before it can be used", path.display())]
    Corrupt {
        /// The event file.
        path: PathBuf,
        /// The offset at which the record begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// TensorBoard could not show this value.
    #[error("{tag}: {problem}")]
    Value {
        /// The value's tag.
        tag: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn value(tag: &str, problem: impl Into<String>) -> Self {
        Self::Value { tag: tag.into(), problem: problem.into() }
    }
}
