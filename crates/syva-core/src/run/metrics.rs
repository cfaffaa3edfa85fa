//! `metrics.jsonl`: a line per epoch, for people and their scripts. The checkpoint remembers the same epochs, so that a
//! line that was lost, doubled or changed is noticed, and written again when the run goes on.

use std::fs;
use std::path::Path;

use crate::files::read_limited;
use crate::trainer::{Epoch, Progress};
use crate::{Error, Result};

/// The file's name.
pub(super) const METRICS: &str = "metrics.jsonl";
/// More than any run writes: millions of epochs.
const MAX_BYTES: u64 = 1 << 32;

/// The epochs of the run in `path`; none if it has none yet. A torn last line, left by a kill, is passed over.
///
/// # Errors
/// [`Error::File`] where a line is no epoch, or the epochs do not ascend.
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

/// What mends a file.
fn again(run: &Path) -> String {
    format!("`syva resume {}` writes the file again from the checkpoint", run.display())
}

/// The lines of the file with their numbers, each an epoch or why it is none; without a torn last line.
fn lines(path: &Path) -> Result<Vec<(usize, serde_json::Result<Epoch>)>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    if !path.is_file() {
        // A pipe would be waited for.
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

/// The lines of these epochs.
pub(super) fn text(epochs: &[Epoch]) -> Result<String> {
    epochs.iter().map(|epoch| serde_json::to_string(epoch).map(|line| line + "\n")).collect::<Result<_, _>>().map_err(
        |error: serde_json::Error| Error::mismatch(format!("the metrics cannot be written: {error}"), "report this"),
    )
}

/// Checks that the epochs of the file are those that the checkpoint remembers. There may be more, later ones: they are
/// written first.
pub(super) fn compare(path: &Path, epochs: &[Epoch], progress: &Progress) -> Result<()> {
    let mut left = epochs.iter();
    for wanted in &progress.history {
        let number = wanted.epoch;
        let problem = match left.find(|epoch| epoch.epoch >= number) {
            Some(found) if found == wanted => continue,
            Some(found) if found.epoch == number => "differs from the checkpoint",
            _ => "is missing, although the run has trained it",
        };
        return Err(Error::file(path.join(METRICS), format!("epoch {number}"), problem, again(path)));
    }
    Ok(())
}

/// What a checkpoint should remember: what it does, and of epochs from before checkpoints did, what the file has.
pub(super) fn history(path: &Path, progress: &Progress) -> Result<Vec<Epoch>> {
    // The epochs ascend; a file of many thousands must not be searched through for each of them.
    let known = |number: u64| progress.history.binary_search_by_key(&number, |epoch| epoch.epoch).is_ok();
    let mut history: Vec<Epoch> = lines(&path.join(METRICS))?.into_iter().filter_map(|(_, epoch)| epoch.ok()).collect();
    history.retain(|epoch| (1..=progress.epoch).contains(&epoch.epoch) && !known(epoch.epoch));
    // Of an epoch that stands twice, the later line: that of who trained last.
    history.reverse();
    history.extend(progress.history.iter().cloned());
    history.sort_by_key(|epoch| epoch.epoch);
    history.dedup_by_key(|epoch| epoch.epoch);
    Ok(history)
}

/// What is wrong with the file, in words, where more is than a torn last line and epochs that the checkpoint has not
/// come to; none where nothing is.
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
    // What is left are lines of epochs that the run never came to count.
    let faults = if faults.is_empty() { "had extra lines".into() } else { faults.join(", ") };
    Ok(Some(format!("{} {faults}", path.display())))
}

/// How long the file is; 0 where there is none.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path.join(METRICS)).map_or(0, |found| found.len())
}
