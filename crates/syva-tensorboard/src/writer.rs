//! The writer of a run: a folder, its event file, and one more file for each series of a grouped scalar.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::proto::event::What;
use crate::proto::session_log::SessionStatus;
use crate::proto::{
    Category, DataClass, Event, Layout, MarginChartContent, MultilineChartContent, SessionLog, chart,
    margin_chart_content,
};
use crate::summary::strings;
use crate::{
    Error, Experiment, HParamValue, Image, Node, PrCurve, Result, Status, Value, graph, hparams, proto, record,
};

/// Writes a run's events.
///
/// Events are buffered. They are written by [`flush`](Writer::flush), when the writer is dropped, and when something is
/// logged after the [`flush time`](Writer::flush_every) has passed.
///
/// A kill can tear only the last record, and a reader sees that by its checksum. If a write fails, for example because
/// the disk is full, the file is cut back to its last whole record, and the events are written again later.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    main: EventFile,
    series: BTreeMap<String, EventFile>,
    flush_every: Duration,
    purge_series: Option<i64>,
}

/// A chart of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chart {
    /// All scalars whose tags match one of these regular expressions.
    Lines {
        /// The chart's title.
        title: String,
        /// The expressions.
        tags: Vec<String>,
    },
    /// A line and the band between two others.
    Band {
        /// The chart's title.
        title: String,
        /// The tags of the line, the lower edge and the upper edge.
        tags: [String; 3],
    },
}

impl Writer {
    /// Begins an event file in `folder`, which is created if it does not exist. Event files that are there remain part
    /// of the run.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let main = EventFile::create(&folder, None)?;
        Ok(Self { folder, main, series: BTreeMap::new(), flush_every: Duration::from_secs(2), purge_series: None })
    }

    /// Like [`Writer::create`], but for a resumed run. Everything that was logged at `step` or later no longer counts.
    /// For [`Writer::scalars`], whose steps are often epochs, this holds from `series_step` on.
    pub fn resume(folder: impl AsRef<Path>, step: u64, series_step: u64) -> Result<Self> {
        let mut writer = Self::create(folder)?;
        writer.main.append(&session_start(step as i64));
        writer.purge_series = Some(series_step as i64);
        Ok(writer)
    }

    /// Sets the flush time: events wait no longer than this while more is logged. The default is 2 s.
    #[must_use]
    pub fn flush_every(mut self, time: Duration) -> Self {
        self.flush_every = time;
        self
    }

    /// The event file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.main.path
    }

    /// Logs a number.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.log(step, [Value::scalar(tag, value)])
    }

    /// Logs numbers of several series under one tag. TensorBoard draws them in one chart. As in PyTorch's
    /// `add_scalars`, each series becomes a run of its own in a folder below: the series `train` of `Loss/train_vs_val`
    /// goes to
    /// `Loss_train_vs_val_train`.
    pub fn scalars(&mut self, tag: &str, step: u64, series: &[(&str, f64)]) -> Result<()> {
        let mut done = Ok(());
        for (name, value) in series {
            let run = format!("{}_{name}", tag.replace('/', "_"));
            if !self.series.contains_key(&run) {
                // A series whose file cannot be created must not hold up the others.
                match EventFile::create(&self.folder.join(&run), self.purge_series) {
                    Ok(file) => drop(self.series.insert(run.clone(), file)),
                    Err(error) => done = done.and(Err(error)),
                }
            }
            if let Some(file) = self.series.get_mut(&run) {
                file.append(&summary(step, [Value::scalar(tag, *value)]));
            }
        }
        done.and(self.flush_if_due())
    }

    /// Logs text, shown as Markdown.
    pub fn text(&mut self, tag: &str, step: u64, markdown: &str) -> Result<()> {
        self.log(step, [Value::text(tag, markdown)])
    }

    /// Logs a picture.
    pub fn image(&mut self, tag: &str, step: u64, image: &Image) -> Result<()> {
        self.log(step, [Value::image(tag, image)?])
    }

    /// Logs the distribution of numbers as a histogram.
    pub fn histogram(&mut self, tag: &str, step: u64, values: &[f32]) -> Result<()> {
        self.log(step, [Value::histogram(tag, values)])
    }

    /// Logs a precision-recall curve.
    pub fn pr_curve(&mut self, tag: &str, step: u64, curve: &PrCurve) -> Result<()> {
        self.log(step, [Value::pr_curve(tag, curve)])
    }

    /// Logs the run's graph.
    pub fn graph(&mut self, nodes: &[Node]) -> Result<()> {
        self.main.append(&event(0, What::GraphDef(graph::graph(nodes).encode_to_vec())));
        self.flush_if_due()
    }

    /// Logs by which hyperparameters and metrics runs are compared. TensorBoard takes this from any run of a folder.
    pub fn experiment(&mut self, experiment: &Experiment) -> Result<()> {
        self.log(0, [experiment.value(now())])
    }

    /// Logs that a training with these hyperparameters begins. Trainings with the same `group` count as repetitions of
    /// each other.
    pub fn session_start(&mut self, hparams: &[(&str, HParamValue)], group: &str) -> Result<()> {
        self.log(0, [hparams::session_start(hparams, group, now())])
    }

    /// Like [`Writer::experiment`] and [`Writer::session_start`], but for a run that may be resumed with other
    /// hyperparameters. TensorBoard keeps the first hyperparameters that it finds in a folder. So this method writes
    /// them to a file of their own, whose name comes first, and which replaces the one from before. A TensorBoard that
    /// has read the old file shows the new values after a restart.
    ///
    /// ```
    /// use syva_tensorboard::{Experiment, Writer};
    /// let folder = tempfile::tempdir()?;
    /// Writer::create(folder.path())?.session(&Experiment::default(), &[("device", "cpu".into())], "")?;
    /// Writer::resume(folder.path(), 10, 1)?.session(&Experiment::default(), &[("device", "gpu".into())], "")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session(&mut self, experiment: &Experiment, hparams: &[(&str, HParamValue)], group: &str) -> Result<()> {
        let mut bytes = Vec::new();
        record::append(&event(0, What::FileVersion("brain.Event:2".into())), &mut bytes);
        record::append(&summary(0, [experiment.value(now())]), &mut bytes);
        record::append(&summary(0, [hparams::session_start(hparams, group, now())]), &mut bytes);
        // Written under another name first, so that an event file is always whole.
        let (scratch, path) = (self.folder.join(".session.syva"), self.folder.join(SESSION));
        let written = fs::write(&scratch, bytes).and_then(|()| fs::rename(&scratch, &path));
        if written.is_err() {
            let _ = fs::remove_file(&scratch);
        }
        written.map_err(Error::io("write", path))
    }

    /// Logs how the training ended.
    pub fn session_end(&mut self, status: Status) -> Result<()> {
        self.log(0, [hparams::session_end(status, now())])
    }

    /// Arranges scalars in charts, grouped by category, on TensorBoard's page "custom scalars".
    pub fn layout(&mut self, categories: &[(&str, Vec<Chart>)]) -> Result<()> {
        let content = |chart: &Chart| match chart {
            Chart::Lines { title, tags } => {
                (title.clone(), chart::Content::Multiline(MultilineChartContent { tag: tags.clone() }))
            }
            Chart::Band { title, tags } => {
                let [value, lower, upper] = tags.clone();
                let series = vec![margin_chart_content::Series { value, lower, upper }];
                (title.clone(), chart::Content::Margin(MarginChartContent { series }))
            }
        };
        let charts = |charts: &[Chart]| {
            charts.iter().map(content).map(|(title, content)| proto::Chart { title, content: Some(content) }).collect()
        };
        let category = categories
            .iter()
            .map(|(title, list)| Category { title: (*title).into(), chart: charts(list), closed: false })
            .collect();
        let tensor = strings(vec![Layout { version: 0, category }.encode_to_vec()]);
        let tag = "custom_scalars__config__";
        self.log(0, [Value::tensor(tag, "custom_scalars", Vec::new(), DataClass::Tensor, tensor)])
    }

    /// Logs several values of one step.
    pub fn log(&mut self, step: u64, values: impl IntoIterator<Item = Value>) -> Result<()> {
        self.main.append(&summary(step, values));
        self.flush_if_due()
    }

    fn flush_if_due(&mut self) -> Result<()> {
        if self.main.last_flush.elapsed() >= self.flush_every { self.flush() } else { Ok(()) }
    }

    /// Writes what has been logged to the operating system. After that, a kill of the process loses nothing.
    pub fn flush(&mut self) -> Result<()> {
        let mut done = self.main.flush();
        for file in self.series.values_mut() {
            // A file that fails must not hold up the others.
            done = done.and(file.flush());
        }
        done
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Errors are ignored here. To see them, call `flush`.
        let _ = self.flush();
    }
}

/// An event file, and the events that are not written to it yet.
#[derive(Debug)]
struct EventFile {
    path: PathBuf,
    file: File,
    /// The length of the file's whole records in bytes.
    length: u64,
    pending: Vec<u8>,
    last_flush: Instant,
}

/// The file of [`Writer::session`]. Its name makes it the first in its folder.
const SESSION: &str = "events.out.tfevents.0000000000.000000.session.syva";

/// The most bytes that are kept for a later try while writes fail.
const MAX_PENDING: usize = 1 << 24;

impl EventFile {
    /// Creates a file in the folder, and writes its first record.
    fn create(folder: &Path, purge: Option<i64>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
        let seconds = now() as u64;
        for number in 0.. {
            // TensorBoard looks for "tfevents" in names, and reads the files of a folder in the order of their names.
            let name = format!("events.out.tfevents.{seconds:010}.{:06}.{}.syva", number, std::process::id());
            let path = folder.join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
                Ok(file) => {
                    let mut file = Self { path, file, length: 0, pending: Vec::new(), last_flush: Instant::now() };
                    file.append(&event(0, What::FileVersion("brain.Event:2".into())));
                    if let Some(step) = purge {
                        file.append(&session_start(step));
                    }
                    if let Err(error) = file.flush() {
                        // The next value tries again, and would leave another empty file each time.
                        let _ = fs::remove_file(&file.path);
                        return Err(error);
                    }
                    return Ok(file);
                }
            }
        }
        unreachable!("the numbers do not end")
    }

    fn append(&mut self, event: &Event) {
        record::append(event, &mut self.pending);
    }

    fn flush(&mut self) -> Result<()> {
        self.last_flush = Instant::now();
        let written = self.file.write_all(&self.pending);
        if let Err(error) = written {
            // Half a record would hide all records after it.
            let back = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            if back.is_err() || self.pending.len() > MAX_PENDING {
                self.pending.clear();
            }
            return Err(Error::io("write", &self.path)(error));
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn event(step: i64, what: What) -> Event {
    Event { wall_time: now(), step, what: Some(what) }
}

fn summary(step: u64, values: impl IntoIterator<Item = Value>) -> Event {
    event(step as i64, What::Summary(values.into_iter().collect()))
}

fn session_start(step: i64) -> Event {
    event(step, What::SessionLog(SessionLog { status: SessionStatus::Start.into() }))
}
