//! Writes files so that a crash leaves either the old file or the new one, but never a partial one.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How the names of scratch files begin and end.
const SCRATCH: (&str, &str) = (".syva-", ".part");

/// Whether this is the name of a scratch file. A killed process may have left one.
pub(crate) fn is_scratch(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(SCRATCH.0) && name.ends_with(SCRATCH.1))
}

/// Writes a file through a scratch file beside it: sync, rename, sync the folder. A link stays a link, and its target
/// is replaced. A device or pipe must not be replaced, so it is written to directly.
///
/// # Errors
/// [`Error::Io`] with the operating system's reason. An existing file is then unchanged.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// syva_core::files::write_atomically(&path, |file| file.write_all(b"first"))?;
/// syva_core::files::write_atomically(&path, |file| file.write_all(b"second"))?;
/// assert_eq!(std::fs::read(&path)?, b"second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let mut device = fs::File::options().write(true).open(path).map_err(Error::io("write", path))?;
        return write(&mut device).map_err(Error::io("write", path));
    }
    let target = link_target(path);
    let path = target.as_deref().unwrap_or(path);
    // In the same folder, because a rename is atomic only within a file system.
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH.0).suffix(SCRATCH.1);
    #[cfg(unix)]
    {
        // Scratch files are private (0600), but the file that replaces the old one should have the mode that the umask
        // gives.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The name of the scratch file would not help the user.
    let plain = |error: io::Error| match error.kind() {
        kind @ io::ErrorKind::NotFound => {
            let folder = folder_of(path).display();
            io::Error::new(kind, format!("there is no folder {folder}; create it first, or name another place"))
        }
        kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory) => kind.into(),
        _ => error,
    };
    let scratch = builder.tempfile_in(folder_of(path)).map_err(|error| Error::io("create", path)(plain(error)))?;
    let mut writer = BufWriter::new(scratch);
    write(&mut writer).map_err(Error::io("write", path))?;
    let scratch = writer.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?;
    // The bytes must be on the disk before the name is. Otherwise a power cut could leave the name on an empty file.
    scratch.as_file().sync_all().map_err(Error::io("write", path))?;
    scratch.persist(path).map_err(|error| Error::io("replace", path)(error.error))?;
    sync_folder(folder_of(path))
}

/// The target of a link. `None` if the path is not a link.
fn link_target(path: &Path) -> Option<PathBuf> {
    let link = fs::read_link(path).ok()?;
    // The target may not exist yet.
    Some(fs::canonicalize(path).unwrap_or_else(|_| folder_of(path).join(link)))
}

/// Refuses a path that a link leads out of the folder `root`, so that a run folder from somewhere else cannot direct
/// writes to other places. Also refuses a path that is a pipe or a device. If `root` itself is a link, it is followed,
/// because the user named it.
///
/// # Errors
/// [`Error::File`], naming the link or the pipe.
///
/// ```
/// # #[cfg(unix)] {
/// let folder = tempfile::tempdir()?;
/// let run = folder.path().join("run");
/// std::fs::create_dir_all(run.join("plots"))?;
/// syva_core::files::stay_inside(&run, &run.join("plots/curves.png"))?;
/// std::os::unix::fs::symlink(folder.path().join("letter"), run.join("plots/curves.png"))?;
/// let error = syva_core::files::stay_inside(&run, &run.join("plots/curves.png")).unwrap_err();
/// assert!(error.to_string().contains("leads out of the run folder"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stay_inside(root: &Path, path: &Path) -> Result<()> {
    let mut at = root.to_path_buf();
    for part in path.strip_prefix(root).unwrap_or(path) {
        at.push(part);
        if !fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink()) {
            continue;
        }
        let root = fs::canonicalize(root).map_err(Error::io("read", root))?;
        // The target may not exist yet.
        let target = link_target(&at).unwrap_or_default();
        let inside = folder_of(&target).canonicalize().is_ok_and(|folder| folder.starts_with(&root));
        // A link from one of the run's files to another would write over that one.
        if inside && at == path && target.is_file() {
            let problem = format!("this is a link to another of the run's files, {}", target.display());
            return Err(Error::file(at, "the path", problem, "remove the link"));
        }
        if !inside {
            let problem = format!("this is a link that leads out of the run folder, to {}", target.display());
            return Err(Error::file(
                at,
                "the path",
                problem,
                "remove the link; to keep runs elsewhere, name that folder",
            ));
        }
    }
    // Opening a pipe would wait for a process at its other end.
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(Error::file(path, "the path", "this is not a regular file", "remove it"));
    }
    Ok(())
}

/// Whether there is something at this path. An error if that cannot be told, because a folder above it is another user's,
/// say: then it may well be there.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    match path.try_exists() {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        found => found.map_err(Error::io("read", path)),
    }
}

/// Makes renames in a folder durable. Does nothing on systems where a folder cannot be opened as a file (Windows).
///
/// # Errors
/// [`Error::Io`] with the operating system's reason.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        fs::File::open(folder).and_then(|file| file.sync_all()).map_err(Error::io("synchronise folder", folder))?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Reads a file of at most `limit` bytes. A larger file is refused without being read.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::file(path, "the path", "this is not a file", "name the file itself"));
    }
    if metadata.len() > limit {
        let problem = format!("{} bytes are more than such a file can have ({limit})", metadata.len());
        return Err(Error::file(path, "its size", problem, "check that it is the right file"));
    }
    fs::read(path).map_err(Error::io("read", path))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/picture.png");
        let said = write_atomically(&path, |_| Ok(())).unwrap_err().to_string();
        let absent = folder.path().join("absent").display().to_string();
        assert!(
            said.ends_with(&format!("there is no folder {absent}; create it first, or name another place")),
            "{said}"
        );
    }

    #[test]
    fn links_stay_links_and_devices_devices() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("file", &link).unwrap();
        for content in [b"first", b"later"] {
            write_atomically(&link, |writer| writer.write_all(content)).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        write_atomically(&device, |writer| writer.write_all(b"gone")).unwrap();
        assert!(!fs::metadata(&device).unwrap().is_file());
    }
}
