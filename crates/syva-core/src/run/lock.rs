//! The lock on a run folder, so that two processes never write to one run.
//!
//! The system's lock on `.lock` keeps others out, but it belongs to the file and not to its name: whoever deletes a
//! `.lock` that looks stale lets a second process in. And some file systems have no locks at all. So the holder checks
//! before each save that the folder still belongs to it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use same_file::Handle;

use crate::{Error, Result};

/// The file that the lock is on.
pub(super) const LOCK: &str = ".lock";

/// A run folder that this process has locked.
#[derive(Debug)]
pub(super) struct Lock {
    folder: PathBuf,
    path: PathBuf,
    /// The locked file itself, whatever its name is now.
    file: Handle,
    /// What this process wrote to the file, if the file system has no locks. A later process writes something else.
    token: Option<String>,
}

impl Lock {
    /// Locks a run folder for this process.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            // Opening a pipe would block, and a link would be written through.
            return Err(Error::file(path, "the lock", "this is not a regular file", "remove it"));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io("write", &path))?;
        Self::on(folder, path, file)
    }

    fn on(folder: &Path, path: PathBuf, mut file: File) -> Result<Self> {
        // [`is_locked`] holds the lock for a moment.
        let mut tries = 5;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if tries > 0 => tries -= 1,
                locked => break locked,
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let token = match locked {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => {
                let problem = "another syva process is using it";
                return Err(Error::file(folder, "the run folder", problem, "wait for it, or choose another folder"));
            }
            // The file system has no locks. Training with a token in the file is better than refusing to.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let token = format!("{} {}\n", std::process::id(), now.as_nanos());
                let written = file.set_len(0).and_then(|()| file.write_all(token.as_bytes()));
                written.map_err(Error::io("write", &path))?;
                Some(token)
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        };
        let file = Handle::from_file(file).map_err(Error::io("read", &path))?;
        Ok(Self { folder: folder.into(), path, file, token })
    }

    /// Checks that the folder still belongs to this process. If the lock was merely deleted, it is created again.
    pub fn check(&mut self) -> Result<()> {
        let lost = |problem: &str, remedy: &str| Err(Error::file(&self.folder, "the run folder", problem, remedy));
        let taken = || {
            let problem = "another syva process has taken it over, because its .lock was removed or cannot be locked";
            lost(problem, "let that process finish; this one has stopped and saves nothing more")
        };
        match fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_file() => {
                let problem = "its .lock is no longer a file, so nothing keeps other syva processes out";
                lost(problem, "remove it; this process has stopped and saves nothing more")
            }
            Ok(_) => match Handle::from_path(&self.path) {
                Ok(there) if there != self.file => taken(),
                Ok(_) if self.token.as_ref().is_some_and(|token| is_other(&self.path, token)) => taken(),
                // A file that can no longer be opened proves nothing.
                _ => Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A folder without a configuration is a new one, which does not belong to the run.
                if !self.folder.join("config.toml").exists() {
                    return lost("it was moved or deleted", "if it was moved, continue there with `syva resume`");
                }
                match OpenOptions::new().create_new(true).write(true).open(&self.path) {
                    Ok(file) => {
                        *self = Self::on(&self.folder, self.path.clone(), file)?;
                        Ok(())
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => taken(),
                    Err(error) => Err(Error::io("write", &self.path)(error)),
                }
            }
            Err(_) => Ok(()),
        }
    }
}

/// Whether a lock file holds another token. False if the file cannot be read.
fn is_other(path: &Path, token: &str) -> bool {
    let mut there = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1 << 10).read_to_end(&mut there));
    read.is_ok() && there != token.as_bytes()
}

/// Whether this error means that the file system has no locks. NFS without its lock daemon reports ENOLCK.
fn has_no_locks(error: &std::io::Error) -> bool {
    let no_lock_daemon = if cfg!(target_os = "linux") { 37 } else { 77 };
    error.kind() == ErrorKind::Unsupported || (cfg!(unix) && error.raw_os_error() == Some(no_lock_daemon))
}

/// Whether a process is working in the run folder `path` now, and so training. False if that cannot be determined.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let path = path.join(LOCK);
    if !path.is_file() {
        return false;
    }
    let file = File::open(path);
    // A training's exclusive lock rules out a shared one. The shared lock is held only for a moment, so it keeps no one
    // out.
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_deleted_is_made_again_and_one_that_was_taken_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), "").unwrap();
        let mut first = Lock::take(folder.path()).unwrap();
        first.check().unwrap();
        assert!(Lock::take(folder.path()).unwrap_err().to_string().contains("another syva process is using it"));
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        first.check().unwrap();
        assert!(is_locked(folder.path()));
        assert!(Lock::take(folder.path()).is_err(), "it is locked again");
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        let mut second = Lock::take(folder.path()).unwrap();
        assert!(first.check().unwrap_err().to_string().contains("another syva process has taken it over"));
        second.check().unwrap();
        drop(second);
        assert!(first.check().is_err(), "the second may have saved");
        fs::remove_dir_all(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        assert!(first.check().unwrap_err().to_string().contains("moved or deleted"));
    }

    #[test]
    fn where_there_are_no_locks_who_comes_later_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        fs::write(&path, "1 2\n").unwrap();
        let file = Handle::from_path(&path).unwrap();
        let token = Some("1 2\n".to_string());
        let mut first = Lock { folder: folder.path().into(), path: path.clone(), file, token };
        first.check().unwrap();
        fs::write(&path, "3 4\n").unwrap();
        assert!(first.check().unwrap_err().to_string().contains("cannot be locked"));
        let refused = |code| std::io::Error::from_raw_os_error(code);
        if cfg!(target_os = "linux") {
            assert!(has_no_locks(&refused(37)) && has_no_locks(&refused(38)) && has_no_locks(&refused(95)));
            assert!(!has_no_locks(&refused(5)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join(LOCK)).unwrap();
        assert!(Lock::take(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(!is_locked(folder.path()));
    }
}
