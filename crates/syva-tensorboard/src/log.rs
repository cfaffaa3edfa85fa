//! Logs: the scalars of all event files below a folder, as far as they have been written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::proto::event::What;
use crate::proto::session_log::SessionStatus;
use crate::proto::summary::value::Value as Content;
use crate::proto::{DataType, Event, TensorProto};
use crate::record::{EventReader, is_event_file};
use crate::{Error, Result};

/// A number at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The step, or epoch.
    pub step: i64,
    /// Seconds since 1970.
    pub wall_time: f64,
    /// The number.
    pub value: f64,
}

/// The event files of one folder: what TensorBoard calls a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The points under each tag, by ascending step. If a step is logged again, the run was resumed there. As in
    /// TensorBoard, the new point replaces all points at and after its step.
    pub scalars: BTreeMap<String, Vec<Point>>,
}

/// All runs below a folder.
///
/// ```
/// use syva_tensorboard::{Log, Writer};
/// let folder = tempfile::tempdir()?;
/// let mut writer = Writer::create(folder.path())?;
/// writer.scalars("Loss/train_vs_val", 1, &[("train", 0.5), ("val", 0.6)])?;
/// writer.flush()?;
///
/// let mut log = Log::new(folder.path());
/// log.refresh()?;
/// let run = &log.runs()["Loss_train_vs_val_val"];
/// assert_eq!(run.scalars["Loss/train_vs_val"][0].value, f64::from(0.6f32));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Followed>,
    runs: BTreeMap<String, Run>,
}

#[derive(Debug)]
struct Followed {
    run: String,
    reader: Option<EventReader>,
}

/// The greatest depth of folders that are searched, so that a link to a folder above does not cause an endless search.
const MAX_DEPTH: usize = 16;

impl Log {
    /// A log of the event files in and below `folder`. Nothing is read until [`Log::refresh`].
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self { folder: folder.as_ref().to_path_buf(), files: BTreeMap::new(), runs: BTreeMap::new() }
    }

    /// Reads new files, and new events in known files. Returns the damage that it found. The events before the damage
    /// in a file are used. The events of a file that was deleted stay.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder itself, or a file in it, cannot be read. A further call goes on from there.
    pub fn refresh(&mut self) -> Result<Vec<Error>> {
        let mut found = Vec::new();
        collect(&self.folder, MAX_DEPTH, &mut BTreeSet::new(), &mut found)?;
        let mut problems = Vec::new();
        for path in found {
            if self.files.contains_key(&path) {
                continue;
            }
            let folder = path.parent().and_then(|folder| folder.strip_prefix(&self.folder).ok());
            let run = folder.map_or(String::new(), |folder| folder.to_string_lossy().replace('\\', "/"));
            let reader = Some(EventReader::new(&path));
            self.files.insert(path, Followed { run, reader });
        }
        for followed in self.files.values_mut() {
            let run = self.runs.entry(followed.run.clone()).or_default();
            while let Some(reader) = &mut followed.reader {
                match reader.next_event() {
                    Ok(Some(event)) => run.add(event),
                    Ok(None) => break,
                    Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => break,
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => {
                        // There is no way to know where the next record begins.
                        followed.reader = None;
                        problems.push(error);
                    }
                }
            }
        }
        Ok(problems)
    }

    /// The runs by the names of their folders, relative to the log's. The log's own folder is "".
    #[must_use]
    pub fn runs(&self) -> &BTreeMap<String, Run> {
        &self.runs
    }

    /// The number of event files found.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }
}

/// The event files in and below a folder. Each folder is visited once, however many links lead to it.
fn collect(folder: &Path, depth: usize, visited: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    if !visited.insert(fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Error::io("read folder", folder))? {
        let path = entry.map_err(Error::io("read folder", folder))?.path();
        if path.is_dir() {
            if depth > 0 {
                // A folder that cannot be read is skipped.
                let _ = collect(&path, depth - 1, visited, found);
            }
        // Only regular files: opening a pipe of such a name would block.
        } else if is_event_file(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

impl Run {
    fn add(&mut self, event: Event) {
        match event.what {
            Some(What::Summary(summary)) => {
                for value in summary.value {
                    let number = match value.value {
                        Some(Content::SimpleValue(value)) => Some(f64::from(value)),
                        Some(Content::Tensor(tensor)) => number(&tensor),
                        _ => None,
                    };
                    if let Some(number) = number {
                        let point = Point { step: event.step, wall_time: event.wall_time, value: number };
                        let points = self.scalars.entry(value.tag).or_default();
                        purge(points, event.step);
                        points.push(point);
                    }
                }
            }
            Some(What::SessionLog(log)) if log.status == i32::from(SessionStatus::Start) => {
                self.scalars.values_mut().for_each(|points| purge(points, event.step));
            }
            _ => {}
        }
    }
}

/// Removes the points at `step` and after it.
fn purge(points: &mut Vec<Point>, step: i64) {
    while points.last().is_some_and(|last| last.step >= step) {
        points.pop();
    }
}

/// The number in a tensor that has no dimensions, or only one value.
fn number(tensor: &TensorProto) -> Option<f64> {
    let dims = tensor.tensor_shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    if dims.iter().any(|dim| dim.size != 1) {
        return None;
    }
    let content = &tensor.tensor_content[..];
    match DataType::try_from(tensor.dtype).ok()? {
        DataType::DtFloat => tensor
            .float_val
            .first()
            .copied()
            .or_else(|| Some(f32::from_le_bytes(content.try_into().ok()?)))
            .map(f64::from),
        DataType::DtDouble => {
            tensor.double_val.first().copied().or_else(|| Some(f64::from_le_bytes(content.try_into().ok()?)))
        }
        _ => None,
    }
}
