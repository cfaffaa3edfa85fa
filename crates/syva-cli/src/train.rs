//! `syva train` and `syva resume`: open data, run folder and engine, and pass the trainer's events to the
//! [terminal](crate::progress) and to files.

use std::path::Path;
use std::time::{Duration, Instant};

use syva::data::tabular::Tables;
use syva::data::{Split, Task};
use syva::run::{CONTRACT, DataConfig, InitFrom, Reached, RunConfig, RunFolder, read_config};
use syva::text::grouped;
use syva::trainer::{Event, Flow};
use syva::{Activity, DeviceId, Diagnosis, Engine, EngineOptions, Error, Model, Predictions, Result, Spec, Trainer};

use crate::Code;
use crate::args::{CheckpointArgs, LogArgs, ResumeArgs, TimeArgs, TrainArgs};
use crate::data::Talk;
use crate::folds;
use crate::progress::Report;
use crate::settings::{OpenData, Settings};
use crate::tensorboard::TensorBoard;
use crate::tui::Screen;
use crate::{data, eval, output, signals};

/// All that a new training needs: the settings that flags, a file and another run make together, and what they name.
pub struct SetUp {
    pub settings: Settings,
    pub config: RunConfig,
    pub task: Task,
    pub engine: Box<dyn Engine>,
    pub device: DeviceId,
    /// The model whose weights the training begins with.
    pub start: Option<Model>,
    /// Sentences about what was found out of a table.
    pub notes: Vec<String>,
}

impl SetUp {
    /// Resolves the settings, and opens the data that they name, and the engine.
    pub fn new(given: &Settings, file: Option<&Path>, like: Option<&Path>, talk: Talk) -> Result<Self> {
        Self::on(None, given, file, like, talk)
    }

    /// The same for tables that are already in memory, if there are any.
    pub fn on(
        tables: Option<Tables>,
        given: &Settings,
        file: Option<&Path>,
        like: Option<&Path>,
        talk: Talk,
    ) -> Result<Self> {
        let given = given.clone().or_from_file(file)?;
        let like = like.map(|run| Ok((run, read_config(run)?))).transpose()?;
        let settings = match &like {
            Some((run, config)) => given.clone().or_like(run, config, talk)?,
            None => given.clone(),
        };
        // Checked before any data is opened.
        settings.training()?;
        if given.init_from.is_some() && (given.init.is_some() || given.bias_init.is_some()) {
            let problem = "the first weights are those of a model, so this has no effect";
            return Err(Error::setting("init", problem, "leave out --init and --bias-init, or --init-from"));
        }
        let start = settings.init_from.as_deref().map(eval::load).transpose()?;
        let settings = match &start {
            Some(start) => settings.or_model(&start.model.spec),
            None => settings,
        };
        let device_name = settings.device.as_deref().unwrap_or("auto");
        let (exact, precision) = (settings.exact.unwrap_or(false), settings.precision.unwrap_or_default());
        let options = EngineOptions { threads: settings.threads, exact, precision };
        let (engine, device) = syva::engine(device_name, options)?;
        let OpenData { task, validation, table, images, notes } = settings.open(tables, talk)?;
        let settings = settings.suited_to(&task)?;
        let training = settings.training()?;
        let network = match &like {
            // The network is taken as it is, even if no flags can describe it.
            Some((_, config)) if !given.change_network() && task.train.check(&config.network).is_ok() => {
                let class_names = task.class_names.clone();
                Spec { schema: task.schema.clone(), class_names, ..config.network.clone() }
            }
            _ => settings.network(&task)?,
        };
        let (network, init_from) = match &start {
            Some(start) => begin_with(network, start, like.as_ref().is_none() && given.activation.is_none())?,
            None => (network, None),
        };
        if let (Some(from), Some((run, config))) = (&init_from, &like)
            && given.init_from.is_none()
            && config.init_from.as_ref().is_some_and(|before| before.digest != from.digest)
        {
            let (run, file) = (run.display(), from.file.display());
            output::note(format_args!("syva: {file} has other weights than those that {run} began with"));
        }
        let digest = task.digest();
        let is_same = given.data.is_none() && given.validation.is_none();
        if let Some((run, config)) = like.filter(|(_, config)| is_same && config.data.digest != digest) {
            let (run, then) = (run.display(), config.data.digest);
            output::note(format_args!("syva: this data ({digest:.12}…) is not the data of {run} ({then:.12}…)"));
        }
        let dir = data::absolute(settings.data_dir.clone())?;
        let config = RunConfig {
            syva: env!("CARGO_PKG_VERSION").into(),
            contract: CONTRACT,
            device: device.to_string(),
            exact,
            precision,
            keep: settings.keep(),
            init_from,
            training,
            data: DataConfig { source: task.name.clone(), dir, validation, table, images, digest },
            network,
        };
        let start = start.map(|start| start.model);
        Ok(Self { settings, config, task, engine, device, start, notes })
    }
}

/// The network that a training has which begins with the weights of a model, and what the run remembers of it. Says how the
/// inputs differ, if they do.
fn begin_with(mut network: Spec, start: &Reached, activations: bool) -> Result<(Spec, Option<InitFrom>)> {
    let model = &start.model;
    // A model from elsewhere may have an activation of its own for each layer.
    if activations && network.widths() == model.spec.widths() {
        network.layers.clone_from(&model.spec.layers);
        network.validate()?;
    }
    let file = start.file.display();
    if network.input.normalization != model.spec.input.normalization {
        output::note(format_args!("syva: {file} normalises its inputs in another way than this data is normalised"));
    }
    match (&network.schema, &model.spec.schema) {
        (Some(schema), None) => {
            let names = schema.input_names();
            let shown = names.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
            let more = if names.len() > 6 { ", …" } else { "" };
            output::note(format_args!("syva: {file} does not name its inputs; they are taken to be {shown}{more}"));
        }
        (Some(ours), Some(theirs)) if ours != theirs => {
            output::note(format_args!(
                "syva: {file} scales columns or targets by other data; the new data's scales are used"
            ));
        }
        _ => {}
    }
    let file = data::absolute(Some(start.file.clone()))?.unwrap_or_default();
    Ok((network, Some(InitFrom { file, digest: model.state.clone().for_prediction().digest() })))
}

pub fn train(args: &TrainArgs) -> Result<Code> {
    match args.folds {
        None => {}
        Some(of @ 2..=1000) => return folds::train(args, of),
        Some(of) => {
            let problem = format!("{of} folds are no cross-validation");
            return Err(Error::setting("folds", problem, "give 2 to 1000, such as 8"));
        }
    }
    signals::catch("nothing was written");
    if args.report.tui {
        Screen::check("tui")?;
    }
    let begin = Instant::now();
    let SetUp { settings, config, task, engine, device, start, .. } =
        SetUp::new(&args.settings, args.config.as_deref(), args.like.as_deref(), args.report.into())?;
    let (spec, training) = (&config.network, &config.training);
    let trainer = match &start {
        Some(model) => Trainer::from_model(engine.as_ref(), &device, spec, &task, training, model)?,
        None => Trainer::new(engine.as_ref(), &device, spec, &task, training)?,
    };
    let trainer = trainer.best_by(config.keep)?;
    let mut trainer = trainer.checkpoint_every(every(args.checkpoint)).inspect_every(histograms(args.log));
    // From here on there is something to save.
    signals::begin();
    let mut folder = match &settings.out {
        Some(out) => RunFolder::create(out, args.force, &config)?,
        None => RunFolder::create_numbered("runs".as_ref(), &task.name, &config)?,
    };
    let detail = detail(engine.as_ref(), &device);
    let mut report = Report::new(args.report, training.epochs, 0);
    report.begin(&format!("{} on {device} ({detail})", describe(&config, &task)), begin);
    let tensorboard = tensorboard(args.log, &folder, &config, &task, &name(engine.as_ref(), &device), (0, 0));
    Ok(drive(&mut trainer, &mut folder, &config, &task, args.time, report, tensorboard))
}

pub fn resume(args: &ResumeArgs) -> Result<Code> {
    args.fixed.check(&args.run)?;
    signals::catch("the run is unchanged");
    if args.report.tui {
        Screen::check("tui")?;
    }
    let begin = Instant::now();
    let (mut folder, mut config) = RunFolder::open(&args.run)?;
    let checkpoint = folder.load_checkpoint(&config)?;
    let before = config.clone();
    config.training.epochs = args.epochs.unwrap_or(config.training.epochs);
    config.training.stop = args.stop.unwrap_or(config.training.stop);
    config.keep = args.keep.unwrap_or(config.keep);
    let task = data::open_of_run(&args.run, &config.data, args.data_dir.as_deref(), args.threads, args.report.into())?;
    eval::check_data(&task, &config.data.digest)?;
    let precision = args.precision.unwrap_or(config.precision);
    let options = EngineOptions { threads: args.threads, exact: args.exact || config.exact, precision };
    let (engine, device) = syva::engine(args.device.as_deref().unwrap_or(&config.device), options)?;
    let (engine, device_name) = (engine.as_ref(), name(engine.as_ref(), &device));
    let trainer = folder.trainer(&config, checkpoint, engine, &device, &task)?;
    let (at, step_in_epoch) = (trainer.progress().epoch, trainer.progress().step_in_epoch);
    let mut trainer = trainer.checkpoint_every(every(args.checkpoint)).inspect_every(histograms(args.log));
    if let Some(restored) = folder.restore_metrics(trainer.progress())? {
        output::note(format_args!("syva: {restored}"));
    }
    let mut report = Report::new(args.report, config.training.epochs, at);
    let done = config.training.is_over(trainer.progress());
    if done && config == before {
        let model = folder.final_model(&config, &mut trainer)?;
        if folder.holds(&model) {
            let further = if trainer.is_stopped() { "--stop never" } else { "--epochs N" };
            let what = format!("already finished, so nothing is changed ({further} trains further)");
            report.begin(&format!("{}; {what}", describe(&config, &task)), begin);
            let found =
                if report.is_heard() { diagnose(&mut trainer, &model, &task, &config)? } else { Diagnosis::default() };
            report.end(&folder, &config, &model, &found, trainer.progress());
            return Ok(0);
        }
        let file = folder.model_path();
        let what = if file.exists() { "does not have the run's final weights" } else { "is missing" };
        output::note(format_args!("syva: {} {what}; it will be written again", file.display()));
    }
    signals::begin();
    (config.device, config.exact, config.precision) = (device.to_string(), options.exact, precision);
    folder.save_config(&config)?;
    let mut from = if done { "already trained".to_string() } else { format!("from epoch {}", at + 1) };
    if before.precision != precision && !done {
        from += &format!(", so far in {}: the result will have the bits of neither", before.precision);
    }
    report.begin(&format!("{} on {device} ({}), {from}", describe(&config, &task), detail(engine, &device)), begin);
    // If no epoch is left, the log is already complete.
    let log = LogArgs { no_tensorboard: args.log.no_tensorboard || done, ..args.log };
    let tensorboard = tensorboard(log, &folder, &config, &task, &device_name, (at, step_in_epoch));
    Ok(drive(&mut trainer, &mut folder, &config, &task, args.time, report, tensorboard))
}

/// How a device is used.
fn detail(engine: &dyn Engine, device: &DeviceId) -> String {
    let info = engine.devices().into_iter().find(|info| info.id == *device);
    info.map_or(String::new(), |info| info.detail)
}

/// The name of a device, and how it is used.
pub fn name(engine: &dyn Engine, device: &DeviceId) -> String {
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
    let training = &config.training;
    format!(
        "{} {}, {} training and {} validation samples; {}, batch {}, lr {:?}, seed {}",
        task.name,
        config.network.widths(),
        grouped(task.train.samples() as u64),
        grouped(task.validation.samples() as u64),
        output::count(training.epochs, "epoch"),
        training.batch_size,
        training.learning_rate,
        training.seed
    )
}

/// Whether the model learned anything. Evaluates it on the validation data, in the trainer's session.
fn diagnose(trainer: &mut Trainer, model: &Model, task: &Task, config: &RunConfig) -> Result<Diagnosis> {
    let session = trainer.session();
    session.set_state(&model.state)?;
    let evaluation = session.evaluate(Split::Validation)?;
    let (data, activity) = (&task.validation, Activity::of(model, &task.validation));
    Ok(Diagnosis::of(data, &evaluation, activity.as_ref(), &model.spec, Some(&config.training)))
}

/// Runs the trainer until it is done or Ctrl-C stops it. Events go to files first, and then to the terminal.
fn drive(
    trainer: &mut Trainer,
    folder: &mut RunFolder,
    config: &RunConfig,
    task: &Task,
    time: TimeArgs,
    mut report: Report,
    mut tensorboard: TensorBoard,
) -> Code {
    if let Err(error) = report.open_dashboard(folder, config) {
        output::note(format_args!("syva: {error}; the training continues without the dashboard"));
    }
    let begin = Instant::now();
    let is_late = || time.limit.is_some_and(|limit| begin.elapsed() >= limit);
    let flow = trainer.run(&mut |event| {
        if let Some(made_again) = folder.record(config, event)? {
            output::note(format_args!("syva: {made_again}"));
        }
        match event {
            Event::Steps { progress, steps_per_epoch, .. } => {
                if report.steps(progress, *steps_per_epoch) {
                    signals::interrupt();
                }
            }
            Event::Epoch(epoch) => report.epoch(epoch),
            Event::Inspection { .. } | Event::Checkpoint { .. } => {}
        }
        tensorboard.event(event);
        Ok(if signals::received() || is_late() { Flow::Stop } else { Flow::Continue })
    });
    report.clear();
    let finished = flow.and_then(|flow| match flow {
        Flow::Stop => Ok(flow),
        Flow::Continue => {
            let model = folder.finish(config, trainer)?;
            if tensorboard.is_on() && model.spec.classes() > 0 {
                trainer.session().set_state(&model.state)?;
                let predictions = Predictions::of(trainer.session(), &model.spec, &task.validation)?;
                tensorboard.worst_read(&predictions, task);
            }
            let found = if report.is_heard() { diagnose(trainer, &model, task, config)? } else { Diagnosis::default() };
            report.end(folder, config, &model, &found, trainer.progress());
            Ok(flow)
        }
    });
    // A run that was interrupted is not over, so its log has no end yet.
    if !matches!(finished, Ok(Flow::Stop)) {
        tensorboard.end(finished.is_ok());
    }
    let path = folder.path().display();
    match finished {
        Ok(Flow::Continue) => 0,
        Ok(Flow::Stop) => {
            report.so_far(folder, trainer.progress(), trainer.steps_per_epoch());
            let late = if signals::received() { "" } else { " after the time of --for" };
            output::note(format_args!("syva: stopped and saved{late}; continue with `syva resume {path}`"));
            if signals::received() { signals::exit_code() } else { 0 }
        }
        Err(error) => {
            output::note(format_args!("syva: {error}"));
            output::note(match error {
                Error::NonFinite { .. } => format!(
                    "syva: the last good state is in {path}/checkpoint, but `syva resume` would reach the same numbers; \
                     start a new run (with --force to reuse the folder)"
                ),
                _ if !folder.can_resume() => format!("syva: {path} has nothing left to resume from"),
                _ if !folder.has_checkpoint() => {
                    format!("syva: nothing was saved yet; fix the cause, then start again with `syva resume {path}`")
                }
                _ => format!(
                    "syva: the last checkpoint is intact; fix the cause, then continue with `syva resume {path}`"
                ),
            });
            1
        }
    }
}
