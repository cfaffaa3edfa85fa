//! `syva train` and `syva resume`: opens data, run folder and engine, and lets the trainer tell terminal and files.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use syva::data::Task;
use syva::run::{DataConfig, Keep, Reached, RunConfig, RunFolder, read_metrics};
use syva::trainer::{Event, Flow, Progress};
use syva::{DeviceId, Engine, EngineOptions, Epoch, Error, Model, Overfitting, Predictions, Result, Trainer};

use crate::args::{CheckpointArgs, LogArgs, ReportArgs, ResumeArgs, TrainArgs};
use crate::tensorboard::TensorBoard;
use crate::tui::{Dashboard, Screen};
use crate::{data, output, tui};

/// Times that Ctrl-C (or a termination signal) came.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// The first Ctrl-C asks the trainer to stop after the step at hand; the second ends the process at once.
pub fn catch_interrupts() {
    // Without a handler Ctrl-C still ends the process, and a run resumes from its last checkpoint. But ctrlc takes the
    // signals before it starts the thread that hears them: where the system has no thread left, nobody would.
    if std::thread::Builder::new().spawn(|| ()).is_err() {
        return;
    }
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTS.fetch_add(1, Ordering::SeqCst) > 0 {
            tui::give_back();
            std::process::exit(1);
        }
    });
}

/// Whether somebody wants this process to end.
pub fn interrupted() -> bool {
    INTERRUPTS.load(Ordering::SeqCst) > 0
}

/// `nohup` has hang-ups ignored, so that a training outlives its terminal; catching termination signals would take that
/// back. Threads inherit what is blocked, so this comes before any of them. (Only Linux tells what is ignored.)
fn keep_ignoring_hangups() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::signal::{SigSet, Signal};
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        if ignored >> (Signal::SIGHUP as u32 - 1) & 1 == 1 {
            let _ = SigSet::from_iter([Signal::SIGHUP]).thread_block();
        }
    }
}

pub fn train(args: &TrainArgs) -> Result<ExitCode> {
    keep_ignoring_hangups();
    if args.report.tui {
        Screen::check("tui")?;
    }
    let begin = Instant::now();
    let settings = args.settings.clone().or_from_file(args.config.as_deref())?;
    let training = settings.training()?;
    let device_name = settings.device.as_deref().unwrap_or("auto");
    let (exact, precision) = (settings.exact.unwrap_or(false), settings.precision.unwrap_or_default());
    let options = EngineOptions { threads: settings.threads, exact, precision };
    let (engine, device) = syva::engine(device_name, options)?;
    let source = settings.data.unwrap_or(syva::data::source::Source::Auto);
    let task = data::open(source, settings.data_dir.as_deref(), settings.threads, args.report.into())?;
    let spec = settings.network(&task)?;
    let config = RunConfig {
        syva: env!("CARGO_PKG_VERSION").into(),
        device: device.to_string(),
        exact,
        precision,
        keep: settings.keep.unwrap_or_default(),
        training,
        data: DataConfig { source: task.name.clone(), dir: data::absolute(settings.data_dir)?, digest: task.digest() },
        network: spec.clone(),
    };
    let trainer = Trainer::new(engine.as_ref(), &device, &spec, &task, training)?;
    let mut trainer = trainer.checkpoint_every(every(args.checkpoint)).inspect_every(histograms(args.log));
    let folder = match &settings.out {
        Some(out) => RunFolder::create(out, args.force, &config)?,
        None => RunFolder::create_numbered("runs".as_ref(), &task.name, &config)?,
    };
    let detail = detail(engine.as_ref(), &device);
    let report = Report::new(args.report, &config, trainer.steps_per_epoch(), 0);
    report.begin(&format!("{} on {device} ({detail})", describe(&config, &task)), begin);
    let tensorboard = tensorboard(args.log, &folder, &config, &task, &name(engine.as_ref(), &device), (0, 0));
    Ok(drive(&mut trainer, &folder, &config, &task, report, tensorboard))
}

pub fn resume(args: &ResumeArgs) -> Result<ExitCode> {
    keep_ignoring_hangups();
    if args.report.tui {
        Screen::check("tui")?;
    }
    let begin = Instant::now();
    let (folder, mut config) = RunFolder::open(&args.run)?;
    let checkpoint = folder.load_checkpoint(&config)?;
    let before = config.clone();
    config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
    config.keep = args.keep.unwrap_or(config.keep);
    let dir = data::absolute(args.data_dir.clone())?.or(config.data.dir.clone());
    let source = data::source_of(&args.run, &config.data)?;
    let task = data::open(source, dir.as_deref(), args.threads, args.report.into())?;
    let digest = task.digest();
    if digest != config.data.digest {
        let problem = format!("the data ({digest:.12}…) is not what the run began with ({:.12}…)", config.data.digest);
        return Err(Error::mismatch(problem, "put the old data back, or start a new run"));
    }
    let precision = args.precision.unwrap_or(config.precision);
    let options = EngineOptions { threads: args.threads, exact: args.exact || config.exact, precision };
    let (engine, device) = syva::engine(args.device.as_deref().unwrap_or(&config.device), options)?;
    let at = checkpoint.as_ref().map_or((0, 0), |(_, progress)| (progress.epoch, progress.step_in_epoch));
    let (at, step_in_epoch) = at;
    let device_name = name(engine.as_ref(), &device);
    let (engine, network, training) = (engine.as_ref(), &config.network, config.training);
    let trainer = match checkpoint {
        Some((state, progress)) => Trainer::resume(engine, &device, network, &task, training, &state, progress)?,
        None => Trainer::new(engine, &device, network, &task, training)?,
    };
    let mut trainer = trainer.checkpoint_every(every(args.checkpoint)).inspect_every(histograms(args.log));
    folder.truncate_metrics(at)?;
    let report = Report::new(args.report, &config, trainer.steps_per_epoch(), at);
    let done = at == config.training.epochs;
    if done && config == before {
        let model = final_model(&mut trainer, &folder, &config)?;
        if folder.holds(&model) {
            let what = "all done already, so nothing is changed (--epochs N adds more)";
            report.begin(&format!("{}; {what}", describe(&config, &task)), begin);
            report.end(&folder, &model, config.keep)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    (config.device, config.exact, config.precision) = (device.to_string(), options.exact, precision);
    folder.save_config(&config)?;
    let mut from = if done { "all trained already".to_string() } else { format!("from epoch {}", at + 1) };
    if before.precision != precision && !done {
        from += &format!(", until now in {}: its bits will be those of neither", before.precision);
    }
    report.begin(&format!("{} on {device} ({}), {from}", describe(&config, &task), detail(engine, &device)), begin);
    // Where no epoch is left, the log has its end already.
    let log = LogArgs { no_tensorboard: args.log.no_tensorboard || done, ..args.log };
    let tensorboard = tensorboard(log, &folder, &config, &task, &device_name, (at, step_in_epoch));
    Ok(drive(&mut trainer, &folder, &config, &task, report, tensorboard))
}

/// How a device is used.
fn detail(engine: &dyn Engine, device: &DeviceId) -> String {
    let info = engine.devices().into_iter().find(|info| info.id == *device);
    info.map_or(String::new(), |info| info.detail)
}

/// What a device is, and how it is used.
fn name(engine: &dyn Engine, device: &DeviceId) -> String {
    let info = engine.devices().into_iter().find(|info| info.id == *device);
    info.map_or(String::new(), |info| format!("{}: {} ({})", info.id, info.name, info.detail))
}

fn tensorboard(
    args: LogArgs,
    folder: &RunFolder,
    config: &RunConfig,
    task: &Task,
    device: &str,
    at: (u64, usize),
) -> TensorBoard {
    if args.no_tensorboard { TensorBoard::off() } else { TensorBoard::begin(folder.path(), config, device, task, at) }
}

fn histograms(args: LogArgs) -> u64 {
    if args.no_tensorboard { 0 } else { args.histograms }
}

fn every(args: CheckpointArgs) -> Duration {
    Duration::from_secs(args.checkpoint_seconds)
}

fn describe(config: &RunConfig, task: &Task) -> String {
    let training = config.training;
    format!(
        "{} {}, {} training and {} validation samples; {}, batch {}, lr {:?}, seed {}",
        task.name,
        config.network.widths(),
        task.train.samples(),
        task.validation.samples(),
        output::count(training.epochs, "epoch"),
        training.batch_size,
        training.learning_rate,
        training.seed
    )
}

/// The model that the run comes to, once all is trained.
fn final_model(trainer: &mut Trainer, folder: &RunFolder, config: &RunConfig) -> Result<Model> {
    match config.keep {
        Keep::Last => trainer.model(),
        Keep::Best => folder.best_model(config),
    }
}

/// Runs the trainer to its end, or to Ctrl-C; files first, then the terminal.
fn drive(
    trainer: &mut Trainer,
    folder: &RunFolder,
    config: &RunConfig,
    task: &Task,
    mut report: Report,
    mut tensorboard: TensorBoard,
) -> ExitCode {
    catch_interrupts();
    if let Err(error) = report.open_dashboard(folder, config) {
        output::note(format_args!("syva: {error}; the run goes on without"));
    }
    let flow = trainer.run(&mut |event| {
        match event {
            Event::Steps { progress, steps_per_epoch, .. } => {
                if report.steps(progress, *steps_per_epoch) {
                    INTERRUPTS.fetch_add(1, Ordering::SeqCst);
                }
            }
            Event::Epoch(epoch) => {
                folder.append_metrics(epoch)?;
                report.epoch(epoch);
            }
            Event::Inspection { .. } => {}
            Event::Checkpoint { state, progress, best } => {
                folder.save_checkpoint(config, state, progress, *best)?;
            }
        }
        tensorboard.event(event);
        Ok(if interrupted() { Flow::Stop } else { Flow::Continue })
    });
    report.clear();
    let finished = flow.and_then(|flow| match flow {
        Flow::Stop => Ok(flow),
        Flow::Continue => {
            let model = final_model(trainer, folder, config)?;
            folder.save_model(&model)?;
            if tensorboard.is_on() && model.spec.classes() > 0 {
                trainer.session().set_state(&model.state)?;
                let predictions = Predictions::of(trainer.session(), &model.spec, &task.validation)?;
                tensorboard.worst_read(&predictions, task);
            }
            report.end(folder, &model, config.keep)?;
            Ok(flow)
        }
    });
    // A run that was interrupted goes on.
    if !matches!(finished, Ok(Flow::Stop)) {
        tensorboard.end(finished.is_ok());
    }
    let path = folder.path().display();
    match finished {
        Ok(Flow::Continue) => ExitCode::SUCCESS,
        Ok(Flow::Stop) => {
            report.so_far(folder);
            output::note(format_args!("syva: stopped and saved; go on with `syva resume {path}`"));
            ExitCode::from(1)
        }
        Err(error) => {
            output::note(format_args!("syva: {error}"));
            output::note(match error {
                Error::NonFinite { .. } => format!(
                    "syva: the last good state is kept in {path}/checkpoint; since `syva resume` would come to the \
                     same numbers, begin a new run (the same --out wants --force)"
                ),
                _ => format!("syva: what was saved is whole; once that is mended, go on with `syva resume {path}`"),
            });
            ExitCode::from(1)
        }
    }
}

/// The most epochs of which each has a line of its own.
const MOST_LINES: u64 = 20;

/// What the terminal shows: a bar where there is a terminal, and a line an epoch, or every tenth of many; or JSON; or
/// nothing.
struct Report {
    args: ReportArgs,
    bar: ProgressBar,
    epochs: u64,
    first_epoch: u64,
    begin: Instant,
    last: Option<Epoch>,
    dashboard: Option<(Screen, Dashboard)>,
    /// When so many steps had been taken.
    pace: (Instant, u64),
}

impl Report {
    fn new(args: ReportArgs, config: &RunConfig, steps_per_epoch: usize, first_epoch: u64) -> Self {
        let epochs = config.training.epochs;
        let steps = epochs.saturating_mul(steps_per_epoch as u64);
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
        let template = "{prefix} {bar:24} {msg} | {per_sec} | {elapsed} < {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let steps_per_second = |state: &indicatif::ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{:.0} steps/s", state.per_sec());
            };
            bar.set_style(style.with_key("per_sec", steps_per_second).progress_chars("━╸─"));
        }
        bar.set_position(first_epoch * steps_per_epoch as u64);
        bar.reset_eta();
        let pace = (Instant::now(), 0);
        Self { args, bar, epochs, first_epoch, begin: Instant::now(), last: None, dashboard: None, pace }
    }

    /// Takes the whole terminal, where that is asked for.
    fn open_dashboard(&mut self, folder: &RunFolder, config: &RunConfig) -> Result<()> {
        if self.args.tui {
            let name = folder.path().display().to_string();
            let epochs = read_metrics(folder.path())?;
            let dashboard = Dashboard::new(&name, config, epochs, " q stops and saves ");
            self.dashboard = Some((Screen::open()?, dashboard));
        }
        Ok(())
    }

    /// Says what begins; from then on there is a bar, where there is a terminal.
    fn begin(&self, what: &str, begin: Instant) {
        if !self.args.quiet && !self.args.json {
            output::note(format_args!("{what}; ready in {:.2} s", begin.elapsed().as_secs_f64()));
            if std::io::stderr().is_terminal() {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
        }
    }

    /// Shows how far it is; true where the user asks to stop.
    fn steps(&mut self, progress: &Progress, steps_per_epoch: usize) -> bool {
        if let Some((screen, dashboard)) = &mut self.dashboard {
            let steps = progress.epoch * steps_per_epoch as u64 + progress.step_in_epoch as u64;
            let (since, before) = self.pace;
            if before == 0 || since.elapsed() > Duration::from_millis(500) {
                let rate = steps.saturating_sub(before) as f64 / since.elapsed().as_secs_f64();
                if before > 0 {
                    dashboard.pace(rate);
                }
                self.pace = (Instant::now(), steps);
            }
            dashboard.progress(progress.step_in_epoch as f64 / steps_per_epoch as f64);
            return screen.show(dashboard);
        }
        if self.bar.is_hidden() {
            return false;
        }
        self.bar.set_prefix(format!("epoch {}/{}", progress.epoch + 1, self.epochs));
        self.bar.set_position(progress.epoch * steps_per_epoch as u64 + progress.step_in_epoch as u64);
        if self.last.is_none() {
            self.bar.set_message(format!("train {:.4}", progress.loss_sum / progress.step_in_epoch as f64));
        }
        false
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.last = Some(epoch.clone());
        if let Some((_, dashboard)) = &mut self.dashboard {
            dashboard.epoch(epoch);
            return;
        }
        if self.args.json {
            if let Ok(json) = serde_json::to_string(epoch) {
                output::line(json);
            }
        } else if !self.bar.is_hidden() {
            let percent = |acc: Option<f64>| acc.map_or(String::new(), |acc| format!(" {:.2} %", 100.0 * acc));
            self.bar.set_message(format!(
                "train {:.4}{}, val {:.4}{}",
                epoch.train_loss,
                percent(epoch.train_acc),
                epoch.val_loss,
                percent(epoch.val_acc)
            ));
        }
        let few = self.epochs.saturating_sub(self.first_epoch) <= MOST_LINES;
        let end = epoch.epoch == self.epochs || epoch.epoch == self.first_epoch + 1;
        if (few || end || epoch.epoch.is_multiple_of(10)) && !self.args.quiet && !self.args.json {
            let line = format!("{epoch}  {:.2} s", epoch.train_seconds + epoch.eval_seconds);
            self.bar.suspend(|| output::line(line));
        }
    }

    fn clear(&mut self) {
        // Gives the terminal back.
        self.dashboard = None;
        self.bar.finish_and_clear();
    }

    /// What there is of a run that stops before its end.
    fn so_far(&self, folder: &RunFolder) {
        if self.args.quiet || self.args.json {
            return;
        }
        // Without metrics nothing can be said; that the run is saved is said in any case.
        let metrics = read_metrics(folder.path()).unwrap_or_default();
        if let (Some(last), Some(overfitting)) = (metrics.last(), Overfitting::of(&metrics)) {
            output::print(&format!(
                "{}, after {} of {} epochs\n{overfitting}\n",
                scores(last),
                last.epoch,
                self.epochs
            ));
        }
    }

    /// The run in a few lines, or one of JSON.
    fn end(&self, folder: &RunFolder, model: &Model, keep: Keep) -> Result<()> {
        if self.args.quiet {
            return Ok(());
        }
        let digest = model.state.digest();
        let seconds = self.begin.elapsed().as_secs_f64();
        let path = folder.model_path();
        let metrics = read_metrics(folder.path())?;
        let (Some(last), Some(overfitting)) = (metrics.last(), Overfitting::of(&metrics)) else { return Ok(()) };
        let epoch = Reached::of(folder.path())?.seen.map_or(last.epoch, |(epochs, _)| epochs);
        let of_model = metrics.iter().find(|metrics| metrics.epoch == epoch).unwrap_or(last);
        if self.args.json {
            output::line(serde_json::json!({
                "run": folder.path().to_string_lossy(), "model": path.to_string_lossy(), "sha256_of_weights": digest, "seconds": seconds,
                "epochs": last.epoch, "train_loss": last.train_loss, "train_acc": last.train_acc,
                "train_balanced_acc": last.train_balanced_acc, "val_loss": last.val_loss, "val_acc": last.val_acc,
                "val_balanced_acc": last.val_balanced_acc, "best_epoch": overfitting.best_epoch,
                "best_val_loss": overfitting.best_val_loss, "kept": keep, "model_epoch": of_model.epoch,
                "model_val_loss": of_model.val_loss, "model_val_acc": of_model.val_acc,
                "loss_gap": overfitting.loss_gap, "acc_gap": overfitting.acc_gap,
            }));
            return Ok(());
        }
        let mut text = if of_model.epoch == last.epoch {
            format!("{}, after {}\n", scores(last), output::count(last.epoch, "epoch"))
        } else {
            format!(
                "the model, of epoch {}: {}\nthe last epoch, {}: {}\n",
                of_model.epoch,
                scores(of_model),
                last.epoch,
                scores(last)
            )
        };
        text += &format!("{overfitting}\n");
        let trained = last.epoch - self.first_epoch;
        if trained > 0 {
            text += &format!(
                "{seconds:.1} s for {}, {:.3} s each\n",
                output::count(trained, "epoch"),
                seconds / trained as f64
            );
        }
        let why = if keep == Keep::Best { ", whose val loss is lowest" } else { "" };
        text += &format!("model  {} (the weights of epoch {}{why})\n", path.display(), of_model.epoch);
        text += &format!("sha256 of the weights  {digest}\n");
        output::print(&text);
        Ok(())
    }
}

/// How well an epoch did, in words.
fn scores(epoch: &Epoch) -> String {
    let (Some(acc), Some(balanced), Some(train)) = (epoch.val_acc, epoch.val_balanced_acc, epoch.train_acc) else {
        return format!("val loss {:.4}, train loss {:.4}", epoch.val_loss, epoch.train_loss);
    };
    let [acc, balanced, train] = [acc, balanced, train].map(|share| 100.0 * share);
    format!("val accuracy {acc:.2} % (class-balanced {balanced:.2} %), train {train:.2} %")
}
