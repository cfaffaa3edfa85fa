//! `metrics.jsonl`: one line per epoch, for people and their scripts. The checkpoint stores the same epochs, so a line
//! that was lost, duplicated or changed is noticed, and written again when the run goes on.

use std::fs;
use std::path::Path;

use crate::files::{exists, read_limited};
use crate::trainer::{Epoch, Progress};
use crate::{Error, Result};

/// The file's name.
pub(super) const METRICS: &str = "metrics.jsonl";
/// More than any run writes: millions of epochs.
const MAX_BYTES: u64 = 1 << 32;

/// The epochs of the run in `path`. Empty if there are none yet. A torn last line, left by a kill, is ignored.
///
/// # Errors
/// [`Error::File`] if a line is not an epoch, or if the epochs do not ascend.
pub fn read_metrics(path: &Path) -> Result<Vec<Epoch>> {
    let (run, path) = (path, path.join(METRICS));
    let mut last = 0;
    let mut epochs = Vec::new();
    for (line, epoch) in lines(&path)? {
        let refuse = |problem: String| Err(Error::file(&path, format!("line {line}"), problem, again(run)));
        let epoch: Epoch = match epoch {
            Ok(epoch) => epoch,
            Err(error) => return refuse(error.to_string()),
        };
        if epoch.epoch <= last {
            let stands = if epoch.epoch == last { "occurs twice".into() } else { format!("follows epoch {last}") };
            return refuse(format!("epoch {} {stands}", epoch.epoch));
        }
        last = epoch.epoch;
        epochs.push(epoch);
    }
    Ok(epochs)
}

/// The remedy for a damaged file.
fn again(run: &Path) -> String {
    format!("`syva resume {}` writes the file again from the checkpoint", run.display())
}

/// The lines of the file with their numbers. Each is an epoch, or the reason why it is not one. A torn last line is
/// left out.
fn lines(path: &Path) -> Result<Vec<(usize, serde_json::Result<Epoch>)>> {
    if !exists(path)? {
        return Ok(Vec::new());
    }
    if !path.is_file() {
        // Opening a pipe would block.
        return Err(Error::file(path, "the metrics", "this is not a regular file", "remove it, or name another run"));
    }
    let bytes = read_limited(path, MAX_BYTES)?;
    let lines = bytes.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let mut lines: Vec<_> = lines.map(|(i, line)| (i + 1, serde_json::from_slice(line))).collect();
    if lines.last().is_some_and(|(_, epoch)| epoch.is_err()) {
        lines.pop();
    }
    Ok(lines)
}

/// The lines for these epochs.
pub(super) fn text(epochs: &[Epoch]) -> Result<String> {
    epochs.iter().map(|epoch| serde_json::to_string(epoch).map(|line| line + "\n")).collect::<Result<_, _>>().map_err(
        |error: serde_json::Error| Error::mismatch(format!("the metrics cannot be written: {error}"), "report this"),
    )
}

/// Checks that the file has the epochs that the checkpoint holds. It may also have later ones, because epochs are
/// written before the checkpoint.
pub(super) fn compare(path: &Path, epochs: &[Epoch], progress: &Progress) -> Result<()> {
    let mut left = epochs.iter();
    for wanted in &progress.history {
        let number = wanted.epoch;
        let problem = match left.find(|epoch| epoch.epoch >= number) {
            Some(found) if found == wanted => continue,
            Some(found) if found.epoch == number => format!("epoch {number} differs from the checkpoint"),
            _ => format!("epoch {number} is missing, although it has been trained"),
        };
        return Err(Error::file(path.join(METRICS), "the metrics", problem, again(path)));
    }
    Ok(())
}

/// The epochs that a checkpoint should hold: those that it does hold, and, for epochs trained before checkpoints stored
/// them, those in the file.
pub(super) fn history(path: &Path, progress: &Progress) -> Result<Vec<Epoch>> {
    // The epochs ascend, so this is a binary search: files of many thousands of lines would take long otherwise.
    let known = |number: u64| progress.history.binary_search_by_key(&number, |epoch| epoch.epoch).is_ok();
    let mut history: Vec<Epoch> = lines(&path.join(METRICS))?.into_iter().filter_map(|(_, epoch)| epoch.ok()).collect();
    history.retain(|epoch| (1..=progress.epoch).contains(&epoch.epoch) && !known(epoch.epoch));
    // If an epoch occurs twice, the later line counts: it is from the process that trained last.
    history.reverse();
    history.extend(progress.history.iter().cloned());
    history.sort_by_key(|epoch| epoch.epoch);
    history.dedup_by_key(|epoch| epoch.epoch);
    Ok(history)
}

/// Describes what is wrong with the file, or returns `None`. A torn last line and epochs later than the checkpoint are
/// not faults.
pub(super) fn damage(path: &Path, progress: &Progress) -> Result<Option<String>> {
    let path = path.join(METRICS);
    let found = lines(&path)?;
    let broken = found.iter().filter(|(_, epoch)| epoch.is_err()).count();
    let mut found: Vec<Epoch> = found.into_iter().filter_map(|(_, epoch)| epoch.ok()).collect();
    found.retain(|epoch| epoch.epoch <= progress.epoch);
    if broken == 0 && found == progress.history {
        return Ok(None);
    }
    let ascends = found.is_sorted_by(|a, b| a.epoch < b.epoch);
    found.sort_by_key(|epoch| epoch.epoch);
    let of = |number: u64| &found[found.partition_point(|epoch| epoch.epoch < number)..];
    let missing =
        progress.history.iter().filter(|epoch| of(epoch.epoch).first().is_none_or(|f| f.epoch != epoch.epoch));
    let missing = missing.count();
    let doubled = found.windows(2).filter(|pair| pair[0].epoch == pair[1].epoch).count();
    let changed = progress.history.iter().filter(|epoch| {
        let mut same = of(epoch.epoch).iter().take_while(|found| found.epoch == epoch.epoch).peekable();
        same.peek().is_some() && !same.any(|found| found == *epoch)
    });
    let changed = changed.count();
    let mut faults = Vec::new();
    let epochs = |count: usize| if count == 1 { "1 epoch".to_string() } else { format!("{count} epochs") };
    for (count, what) in [(missing, "lacked"), (doubled, "repeated"), (changed, "had other numbers for")] {
        if count > 0 {
            faults.push(format!("{what} {}", epochs(count)));
        }
    }
    if broken > 0 {
        faults.push(format!("had {broken} damaged line{}", if broken == 1 { "" } else { "s" }));
    }
    if faults.is_empty() && !ascends {
        faults.push("was not in order".into());
    }
    // The only fault left is that there are lines of epochs that the checkpoint does not have.
    let faults = if faults.is_empty() { "had extra lines".into() } else { faults.join(", ") };
    Ok(Some(format!("{} {faults}", path.display())))
}

/// The length of the file; 0 if it does not exist.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path.join(METRICS)).map_or(0, |found| found.len())
}
