//! Writing files so that a reader, or a kill, never meets half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Replaces `path` by a file of these bytes, or leaves it as it was.
///
/// The bytes go to a scratch file in the same folder (so that the rename stays on one file system), which is synced
/// (so that the rename cannot overtake the data), renamed over `path` (atomic on every platform), and then the folder
/// is synced (so that the rename itself survives a power cut).
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// syva_core::files::write_atomically(&path, b"first")?;
/// syva_core::files::write_atomically(&path, b"second")?;
/// assert_eq!(std::fs::read(&path)?, b"second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".syva-").suffix(".part");
    #[cfg(unix)]
    {
        // A scratch file is private by default; what it becomes should follow the user's umask like any other file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut scratch = builder.tempfile_in(folder).map_err(Error::io("create a file in", folder))?;
    scratch.write_all(bytes).map_err(Error::io("write", path))?;
    scratch.as_file().sync_all().map_err(Error::io("write", path))?;
    scratch.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    sync_folder(folder)
}

/// Makes a rename in `folder` survive a power cut, where the platform can.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

/// Reads a file of at most `limit` bytes; a larger one is refused unread.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::file(path, "the path", "this is not a file", "name the file itself"));
    }
    if metadata.len() > limit {
        let problem = format!("{} bytes are more than the {limit} that such a file can have", metadata.len());
        return Err(Error::file(path, "its size", problem, "is it the right file?"));
    }
    fs::read(path).map_err(Error::io("read", path))
}
