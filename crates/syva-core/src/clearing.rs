//! Removes a run for `--force`: the files that syva wrote to its folder, and no others.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::files::is_scratch;
use crate::{Error, Result};

/// Files of a run, apart from its configuration. That is removed last, because it marks the folder as a run.
const FILES: [&str; 3] = ["metrics.jsonl", "model.safetensors", "report.html"];
/// Whether a file of this name, in some folder of a run, is one of syva's own.
type IsOwn = fn(&str) -> bool;
/// Folders of a run, and which of their files are the run's.
const FOLDERS: [(&str, IsOwn); 3] = [
    ("tensorboard", |name| name.starts_with("events.out.tfevents.")),
    ("plots", is_plot),
    ("checkpoint", |name| matches!(name, "last.safetensors" | "best.safetensors")),
];

/// Whether `syva plot` writes files of this name.
fn is_plot(name: &str) -> bool {
    const WHAT: [&str; 6] = ["curves", "confusion", "weights", "misread", "reliability", "network"];
    let parts = name.rsplit_once('.');
    parts.is_some_and(|(what, kind)| WHAT.contains(&what) && matches!(kind, "png" | "svg"))
}

/// Removes the run in the folder `path`. Its folders go first, those that matter least before the checkpoints: one that
/// cannot be removed (it is another user's, say) must not cost the model.
pub(crate) fn clear(path: &Path) -> Result<()> {
    for (name, is_own) in FOLDERS {
        clear_folder(&path.join(name), is_own)?;
    }
    for name in FILES {
        remove(&path.join(name))?;
    }
    remove(&path.join("config.toml"))
}

/// Removes the run's own files from a folder and its subfolders, and then the folders that are empty.
fn clear_folder(folder: &Path, is_own: IsOwn) -> Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // The target of a link does not belong to the run.
        Ok(found) if !found.is_dir() => return remove(folder),
        _ => {}
    }
    let entries = fs::read_dir(folder).map_err(Error::io("read folder", folder))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read folder", folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            clear_folder(&path, is_own)?;
        } else if is_scratch(&name) || name.to_str().is_some_and(is_own) {
            remove(&path)?;
        }
    }
    match fs::remove_dir(folder) {
        // A folder that holds other people's files stays, and so do the files.
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a file or a link, if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_wrote_goes_and_what_others_laid_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let own = [
            "config.toml",
            "metrics.jsonl",
            "model.safetensors",
            "report.html",
            "checkpoint/last.safetensors",
            "checkpoint/best.safetensors",
            "checkpoint/.syva-x1y2z3.part",
            "tensorboard/events.out.tfevents.1.host.2.0",
            "tensorboard/Loss_train_vs_val_train/events.out.tfevents.1.host.2.1",
            "plots/curves.png",
            "plots/confusion.svg",
        ];
        let others =
            ["notes.txt", "checkpoint/epoch5.safetensors", "tensorboard/notes.md", "plots/mine.png", "plots/a/b"];
        for name in own.iter().chain(&others) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        clear(folder.path()).unwrap();
        for (names, stays) in [(&own[..], false), (&others[..], true)] {
            for name in names {
                assert_eq!(folder.path().join(name).exists(), stays, "{name}");
            }
        }
        assert!(!folder.path().join("tensorboard/Loss_train_vs_val_train").exists(), "what is empty goes");
        for name in others {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        clear(folder.path()).unwrap();
        assert!(!folder.path().join("plots/mine.png").exists() && !folder.path().join("checkpoint").exists());
        assert!(is_plot("network.svg") && !is_plot("network.txt"));
    }

    /// Root removes anything, so this needs another user.
    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_removed_does_not_cost_the_model() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let keep = ["config.toml", "metrics.jsonl", "model.safetensors", "checkpoint/last.safetensors"];
        for name in keep.iter().chain(&["plots/curves.png"]) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let plots = folder.path().join("plots");
        fs::set_permissions(&plots, fs::Permissions::from_mode(0o555)).unwrap();
        let cleared = clear(folder.path());
        if cleared.is_ok() {
            eprintln!("skipped: this user can remove files from a folder that is read-only");
            return;
        }
        fs::set_permissions(&plots, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(cleared.unwrap_err().to_string().contains("curves.png"));
        assert!(keep.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn what_cannot_be_removed_leaves_a_folder_that_is_still_a_run() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), "").unwrap();
        fs::create_dir(folder.path().join("report.html")).unwrap();
        assert!(clear(folder.path()).unwrap_err().to_string().contains("report.html"));
        assert!(folder.path().join("config.toml").exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        fs::write(folder.path().join("elsewhere/curves.png"), "").unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink("../elsewhere", run.join("plots")).unwrap();
        clear(&run).unwrap();
        assert!(folder.path().join("elsewhere/curves.png").exists() && !run.join("plots").exists());
    }
}
