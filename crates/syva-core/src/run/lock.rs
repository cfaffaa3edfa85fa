//! The lock on a run folder, so that two processes never write to one run.
//!
//! The system's lock on `.lock` keeps others out, but it is on the file, not on its name: whoever deletes a `.lock` that
//! looks stale lets a second process in, and some file systems have no locks at all. So the holder looks again before
//! each save whether the folder is still its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use same_file::Handle;

use crate::{Error, Result};

/// The file that the lock is on.
pub(super) const LOCK: &str = ".lock";

/// A run folder that this process holds.
#[derive(Debug)]
pub(super) struct Lock {
    folder: PathBuf,
    path: PathBuf,
    /// The locked file, by what it is and not by its name.
    file: Handle,
    /// What this process wrote into it, where the file system has no locks: who comes later writes something else.
    token: Option<String>,
}

impl Lock {
    /// Locks a run folder for this process.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            // A pipe would be waited for, and a link written through.
            return Err(Error::file(path, "the lock", "this is not a regular file", "remove it"));
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io("write", &path))?;
        Self::on(folder, path, file)
    }

    fn on(folder: &Path, path: PathBuf, mut file: File) -> Result<Self> {
        // Who asks whether a run is alive ([`is_locked`]) has its lock for a moment.
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
            // Better to work than to refuse.
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

    /// Checks that the folder is still this process's. A lock that was only deleted is made again.
    pub fn check(&mut self) -> Result<()> {
        let lost = |problem: &str, remedy: &str| Err(Error::file(&self.folder, "the run folder", problem, remedy));
        let taken = || {
            let problem = "another syva process has taken it over, because its .lock was removed or cannot be locked";
            lost(problem, "let that process finish; this one has stopped and saves nothing more")
        };
        match fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_file() => taken(),
            Ok(_) => match Handle::from_path(&self.path) {
                Ok(there) if there != self.file => taken(),
                Ok(_) if self.token.as_ref().is_some_and(|token| is_other(&self.path, token)) => taken(),
                // One that cannot be opened any more tells nothing.
                _ => Ok(()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A folder that was made anew in the place of a moved one is not the run's.
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

/// Whether a lock file holds another token. One that cannot be read tells nothing.
fn is_other(path: &Path, token: &str) -> bool {
    let mut there = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1 << 10).read_to_end(&mut there));
    read.is_ok() && there != token.as_bytes()
}

/// Whether this is how a file system says that it has no locks: an NFS without its lock daemon says ENOLCK.
fn has_no_locks(error: &std::io::Error) -> bool {
    let no_lock_daemon = if cfg!(target_os = "linux") { 37 } else { 77 };
    error.kind() == ErrorKind::Unsupported || (cfg!(unix) && error.raw_os_error() == Some(no_lock_daemon))
}

/// Whether a process works in the run folder `path` at this moment, and so trains; false where that cannot be told.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let path = path.join(LOCK);
    if !path.is_file() {
        return false;
    }
    let file = File::open(path);
    // A shared lock is not to be had beside the exclusive one of a training, and keeps no one out for long.
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
