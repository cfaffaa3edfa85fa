//! The writer: a folder, its event file, and one more file for each series of a grouped scalar.

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
/// Events are gathered and written when the [`flush time`](Writer::flush_every) is over (asked whenever something is
/// logged), on [`flush`](Writer::flush), and when the writer is dropped. A kill can tear the last record only, which its
/// checksum tells; a write that fails (a full disk) is taken back to the last whole record, and what could not be
/// written is tried again later.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    main: EventFile,
    series: BTreeMap<String, EventFile>,
    flush_every: Duration,
    purge_series: Option<i64>,
}

/// A chart of a layout: which lines it shows.
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
        /// The tags of the line, of the lower and of the upper edge.
        tags: [String; 3],
    },
}

impl Writer {
    /// Begins an event file in `folder`, which is made if need be; files that are there stay and count on.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let main = EventFile::create(&folder, None)?;
        Ok(Self { folder, main, series: BTreeMap::new(), flush_every: Duration::from_secs(2), purge_series: None })
    }

    /// Like [`Writer::create`], but for a run that goes on: what was logged at `step` or later (and at `series_step` or
    /// later by [`Writer::scalars`], whose steps are often epochs) no longer counts.
    pub fn resume(folder: impl AsRef<Path>, step: u64, series_step: u64) -> Result<Self> {
        let mut writer = Self::create(folder)?;
        writer.main.append(&session_start(step as i64));
        writer.purge_series = Some(series_step as i64);
        Ok(writer)
    }

    /// The longest that something logged waits to be written while more is logged (2 s unless set).
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

    /// Logs numbers of several series under one tag, which TensorBoard draws in one chart. As PyTorch's `add_scalars`
    /// does, each series becomes a run of its own in a folder below: `Loss/train_vs_val` with the series `train` goes to
    /// `Loss_train_vs_val_train`.
    pub fn scalars(&mut self, tag: &str, step: u64, series: &[(&str, f64)]) -> Result<()> {
        let mut done = Ok(());
        for (name, value) in series {
            let run = format!("{}_{name}", tag.replace('/', "_"));
            if !self.series.contains_key(&run) {
                // One that cannot be begun must not keep back the others.
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

    /// Logs how numbers are distributed.
    pub fn histogram(&mut self, tag: &str, step: u64, values: &[f32]) -> Result<()> {
        self.log(step, [Value::histogram(tag, values)])
    }

    /// Logs precision against recall.
    pub fn pr_curve(&mut self, tag: &str, step: u64, curve: &PrCurve) -> Result<()> {
        self.log(step, [Value::pr_curve(tag, curve)])
    }

    /// Logs the run's graph.
    pub fn graph(&mut self, nodes: &[Node]) -> Result<()> {
        self.main.append(&event(0, What::GraphDef(graph::graph(nodes).encode_to_vec())));
        self.flush_if_due()
    }

    /// Says which hyperparameters and metrics runs are compared by. TensorBoard takes it from any run of a folder.
    pub fn experiment(&mut self, experiment: &Experiment) -> Result<()> {
        self.log(0, [experiment.value(now())])
    }

    /// Says that a training with these hyperparameters begins; those of one `group` count as repetitions of one
    /// another.
    pub fn session_start(&mut self, hparams: &[(&str, HParamValue)], group: &str) -> Result<()> {
        self.log(0, [hparams::session_start(hparams, group, now())])
    }

    /// Like [`Writer::experiment`] and [`Writer::session_start`], for a run that may be resumed with other
    /// hyperparameters: TensorBoard keeps the first that it finds in a folder, so these are in a file of their own, which
    /// comes first and takes the place of the one before. A TensorBoard that has read that one shows the new values when
    /// it is started again.
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
        // No event file until it is whole.
        let (scratch, path) = (self.folder.join(".session.syva"), self.folder.join(SESSION));
        let written = fs::write(&scratch, bytes).and_then(|()| fs::rename(&scratch, &path));
        if written.is_err() {
            let _ = fs::remove_file(&scratch);
        }
        written.map_err(Error::io("write", path))
    }

    /// Says how the training ended.
    pub fn session_end(&mut self, status: Status) -> Result<()> {
        self.log(0, [hparams::session_end(status, now())])
    }

    /// Arranges scalars in charts, category by category: TensorBoard's page "custom scalars".
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

    /// Logs values of one step.
    pub fn log(&mut self, step: u64, values: impl IntoIterator<Item = Value>) -> Result<()> {
        self.main.append(&summary(step, values));
        self.flush_if_due()
    }

    fn flush_if_due(&mut self) -> Result<()> {
        if self.main.last_flush.elapsed() >= self.flush_every { self.flush() } else { Ok(()) }
    }

    /// Writes what has been logged. It is then in the operating system's hands: a kill of the process loses nothing.
    pub fn flush(&mut self) -> Result<()> {
        let mut done = self.main.flush();
        for file in self.series.values_mut() {
            // One that fails must not keep back the others.
            done = done.and(file.flush());
        }
        done
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who wants to know whether it works calls `flush`.
        let _ = self.flush();
    }
}

/// A file and what has not been written to it yet.
#[derive(Debug)]
struct EventFile {
    path: PathBuf,
    file: File,
    /// The file's length: whole records.
    length: u64,
    pending: Vec<u8>,
    last_flush: Instant,
}

/// The file of [`Writer::session`]: by its name, the first in its folder.
const SESSION: &str = "events.out.tfevents.0000000000.000000.session.syva";

/// What is kept at most for a disk that is full.
const MAX_PENDING: usize = 1 << 24;

impl EventFile {
    /// A new file in the folder, its first record in it already.
    fn create(folder: &Path, purge: Option<i64>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
        let seconds = now() as u64;
        for number in 0.. {
            // TensorBoard goes by "tfevents" and takes the files of a folder in the order of their names.
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
                        // Tried again for each value, it would leave an empty file each time.
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
            // Half a record would hide all that follows it.
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
