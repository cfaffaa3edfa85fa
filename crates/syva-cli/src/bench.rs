//! `syva bench`: how long an epoch takes, how fast the machine could be, and where the time of a step goes.

mod sweep;

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use syva::data::{Split, Task};
use syva::random::permutation;
use syva::{
    Breakdown, DeviceInfo, Engine, EngineOptions, Error, Matrix, Report, Result, Session, Span, Spec, State, StepPart,
    Trainer, Training,
};

use crate::args::BenchArgs;
use crate::data::{self, Talk};
use crate::output;
use crate::settings::Settings;

/// The timings of the course's chapter, "Syvät neuroverkot": 100 epochs of 784-256-128-10 on MNIST with batch 128, in
/// PyTorch. Device, seconds per epoch, seconds in total, accuracy on the 10,000 test images in per cent.
const CHAPTER: [(&str, f64, f64, f64); 4] = [
    ("MacBook Pro M2 Max, CPU", 2.9, 288.0, 95.35),
    ("MacBook Pro M2 Max, MPS", 3.7, 372.0, 95.18),
    ("PC i7-12700F, CPU", 3.2, 322.0, 95.21),
    ("PC RTX 3060 Ti, CUDA", 3.3, 330.0, 95.14),
];

/// The number of single predictions that are timed together.
const PREDICTIONS: u32 = 1000;

/// The measurements on a device. All times are in seconds.
struct Timing {
    device: DeviceInfo,
    epochs: Vec<f64>,
    losses: Vec<f64>,
    steps: usize,
    samples: usize,
    /// Multiply-adds of an epoch, if all products are dense.
    dense: u64,
    breakdown: Breakdown,
    /// The device's peak in operations per second: the higher of the values measured before and after.
    peak: Option<f64>,
    evaluation: f64,
    prediction: f64,
    /// The time of the whole training, with an evaluation after each epoch, and the final accuracy.
    whole: Option<(f64, f64)>,
}

pub fn bench(args: &BenchArgs) -> Result<()> {
    let settings = Settings {
        data: args.data.map(crate::tables::DataArg::Named),
        data_dir: args.data_dir.clone(),
        hidden: args.hidden.clone(),
        optimizer: args.optimizer,
        activation: args.activation,
        dropout: args.dropout,
        lr: args.lr,
        batch_size: args.batch_size,
        seed: args.seed,
        ..Settings::default()
    };
    let training = settings.training()?;
    if args.epochs == 0 {
        return Err(Error::setting("epochs", "0 epochs cannot be timed", "give 1 or more"));
    }
    let source = args.data.unwrap_or(syva::data::source::Source::Auto);
    let mut chosen: Vec<(Box<dyn Engine>, DeviceInfo)> = Vec::new();
    let options = EngineOptions { threads: args.threads, exact: args.exact, precision: args.precision };
    if let Some(name) = &args.device {
        let (engine, device) = syva::engine(name, options)?;
        let info = engine.devices().into_iter().find(|info| info.id == device);
        chosen.extend(info.map(|info| (engine, info)));
    } else {
        for info in syva::engines(options)?.iter().flat_map(|engine| engine.devices()) {
            // The reference is a definition, and a GPU in software is a substitute. They are timed only if they are
            // named.
            if info.id.engine != "reference" && !info.detail.contains("software") {
                chosen.push((syva::engine(&info.id.to_string(), options)?.0, info));
            }
        }
    }
    if chosen.is_empty() {
        let problem = format!("no device here computes in {}", args.precision);
        return Err(Error::setting("precision", problem, "leave it out (`syva devices` lists the devices)"));
    }
    let talk = if args.json { Talk::Notices } else { Talk::All };
    let task = data::open(source, settings.data_dir.as_deref(), args.threads, talk)?;
    if args.sweep {
        return sweep::sweep(&chosen, &task, args);
    }
    let spec = settings.network(&task)?;
    let timings: Vec<Timing> = (chosen.iter())
        .map(|(engine, info)| measure(engine.as_ref(), info, &spec, &task, &training, args))
        .collect::<Result<_>>()?;
    let report = report(&timings, &spec, &task, &training);
    if args.json {
        output::json(as_json(&timings, &spec, &task, &training));
    } else {
        output::print(&report);
    }
    if let Some(path) = &args.markdown {
        syva::files::write_atomically(path, |file| file.write_all(report.as_bytes()))?;
    }
    Ok(())
}

fn measure(
    engine: &dyn Engine,
    info: &DeviceInfo,
    spec: &Spec,
    task: &Task,
    training: &Training,
    args: &BenchArgs,
) -> Result<Timing> {
    let peak = engine.peak(&info.id);
    let mut session = engine.open(&info.id, spec, training)?;
    session.load(Split::Train, &task.train)?;
    session.load(Split::Validation, &task.validation)?;
    session.set_state(&State::initial(spec, training)?)?;
    let samples = task.train.samples();
    let steps = training.updates_per_epoch(samples);
    let rates = vec![training.learning_rate; steps];
    // Each epoch has its own order of the samples, as in the trainer.
    let epoch = |number: u64, run: &mut dyn FnMut(&Span<'_>) -> Result<Report>| -> Result<(f64, f64)> {
        let order = permutation(training.seed, number, samples);
        let (first_step, batch_size) = (number * steps as u64, training.samples_per_update());
        let start = Instant::now();
        let report = run(&Span { first_step, order: &order, batch_size, learning_rate: &rates, ..Span::default() })?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some(step) = report.first_non_finite {
            let problem = format!("the loss of step {} is not finite", first_step + step as u64 + 1);
            return Err(Error::mismatch(problem, "lower --lr"));
        }
        Ok((seconds, report.losses.iter().sum::<f64>() / report.losses.len() as f64))
    };
    let mut times = Vec::new();
    for number in 0..args.warmup + args.epochs {
        times.push(epoch(number, &mut |span| session.train(span))?);
    }
    let mut breakdown = Breakdown::default();
    epoch(args.warmup + args.epochs, &mut |span| {
        let (report, parts) = session.profile(span)?;
        breakdown = parts;
        Ok(report)
    })?;
    let (evaluation, prediction) = judge(session.as_mut(), spec, task)?;
    let whole = if args.table { Some(train_whole(engine, info, spec, task, training)?) } else { None };
    let peak = peak.into_iter().chain(engine.peak(&info.id)).reduce(f64::max);
    let products = |l: usize| if l == 0 { 2 } else { 3 };
    let weights = |l: usize| (spec.fan_in(l) * spec.layers[l].units) as u64;
    Ok(Timing {
        device: info.clone(),
        epochs: times[args.warmup as usize..].iter().map(|time| time.0).collect(),
        losses: times.iter().map(|time| time.1).collect(),
        steps,
        samples,
        dense: (0..spec.layers.len()).map(|l| products(l) * weights(l)).sum::<u64>() * samples as u64,
        breakdown,
        peak,
        evaluation,
        prediction,
        whole,
    })
}

/// The median seconds of an evaluation on the validation data, and of the prediction of one sample.
fn judge(session: &mut dyn Session, spec: &Spec, task: &Task) -> Result<(f64, f64)> {
    let mut evaluations = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        session.evaluate(Split::Validation)?;
        evaluations.push(start.elapsed().as_secs_f64());
    }
    let features = spec.input.features;
    let values: Vec<f32> = (0..features).map(|k| task.validation.inputs().get(k)).collect();
    let (inputs, mut outputs) = (values.into(), Matrix::zeros(1, spec.outputs()));
    let mut predictions = Vec::new();
    for _ in 0..6 {
        let start = Instant::now();
        for _ in 0..PREDICTIONS {
            session.predict(&inputs, &mut outputs)?;
        }
        predictions.push(start.elapsed().as_secs_f64() / f64::from(PREDICTIONS));
    }
    Ok((median(&evaluations), median(&predictions[1..])))
}

/// The chapter's training: all epochs, each followed by an evaluation on the validation data. Returns the seconds and
/// the final accuracy.
fn train_whole(
    engine: &dyn Engine,
    info: &DeviceInfo,
    spec: &Spec,
    task: &Task,
    training: &Training,
) -> Result<(f64, f64)> {
    output::note(format_args!("training {} epochs on {}", training.epochs, info.id));
    let start = Instant::now();
    let mut accuracy = 0.0;
    Trainer::new(engine, &info.id, spec, task, training)?.run(&mut |event| {
        if let syva::trainer::Event::Epoch(epoch) = event {
            accuracy = epoch.val_acc.unwrap_or(0.0);
        }
        Ok(syva::trainer::Flow::Continue)
    })?;
    Ok((start.elapsed().as_secs_f64(), accuracy))
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    f64::midpoint(times[(times.len() - 1) / 2], times[times.len() / 2])
}

impl Timing {
    /// Seconds per epoch in which threads waited. With more than one thread, they wait mostly for each other.
    fn waiting(&self) -> f64 {
        self.breakdown.seconds * self.breakdown.threads as f64
            - self.breakdown.parts.iter().map(|part| part.seconds).sum::<f64>()
    }

    /// Floating-point operations per second: those of a dense network, and those actually done.
    fn speeds(&self) -> (f64, Option<f64>) {
        let speed = |multiply_adds: u64| 2.0 * multiply_adds as f64 / median(&self.epochs);
        let done = self.breakdown.multiply_adds();
        (speed(self.dense), (done > 0).then(|| speed(done)))
    }
}

/// Whether the chapter's rows are for the same training.
fn is_chapters(spec: &Spec, task: &Task, training: &Training) -> bool {
    task.name == "mnist" && spec.widths() == "784-256-128-10" && training.batch_size == 128
}

/// The whole report as Markdown that is also readable as plain text.
fn report(timings: &[Timing], spec: &Spec, task: &Task, training: &Training) -> String {
    let mut text = format!(
        "# syva {} on {}, {}, batch {}\n",
        env!("CARGO_PKG_VERSION"),
        task.name,
        spec.widths(),
        training.batch_size
    );
    for timing in timings {
        section(&mut text, timing);
    }
    text += "\n## Devices\n\n| device | seconds per epoch | total time | final accuracy |\n|---|---|---|---|\n";
    for timing in timings {
        let seconds = timing.whole.map_or("–".into(), |(seconds, _)| format!("{seconds:.1} s"));
        let accuracy = timing.whole.map_or("–".into(), |(_, accuracy)| format!("{:.2} %", 100.0 * accuracy));
        let DeviceInfo { name, detail, .. } = &timing.device;
        let _ = writeln!(text, "| {name}, {detail} | {:.3} | {seconds} | {accuracy} |", median(&timing.epochs));
    }
    if is_chapters(spec, task, training) {
        for (device, epoch, whole, accuracy) in CHAPTER {
            let _ = writeln!(text, "| {device} (chapter) | {epoch:.1} | {whole:.0} s | {accuracy:.2} % |");
        }
        text += "\nThe (chapter) rows are PyTorch's times for 100 epochs, from the chapter \"Syvät neuroverkot\".\n";
    }
    text
}

/// The section on one device.
fn section(text: &mut String, timing: &Timing) {
    let mid = median(&timing.epochs);
    let (least, most) =
        (timing.epochs.iter().copied().fold(f64::MAX, f64::min), timing.epochs.iter().copied().fold(0.0, f64::max));
    let DeviceInfo { id, name, detail, .. } = &timing.device;
    let _ = write!(text, "\n## {id}: {name}, {detail}\n\n| | |\n|---|---|\n");
    let mut row = |what: &str, figure: String| {
        let _ = writeln!(text, "| {what} | {figure} |");
    };
    row("epoch", format!("{mid:.4} s ({least:.4}–{most:.4} s, {} epochs)", timing.epochs.len()));
    row("step", format!("{:.1} µs", 1e6 * mid / timing.steps as f64));
    row("samples per second", format!("{:.0}", timing.samples as f64 / mid));
    let share =
        |speed: f64| timing.peak.map_or(String::new(), |peak| format!(", {:.0} % of the peak", 100.0 * speed / peak));
    let (dense, done) = timing.speeds();
    row("speed, counting all products as dense", format!("{:.0} GFLOP/s{}", 1e-9 * dense, share(dense)));
    if let Some(done) = done {
        row("speed, counting the products computed", format!("{:.0} GFLOP/s{}", 1e-9 * done, share(done)));
    }
    row("measured peak", timing.peak.map_or("unknown".into(), |peak| format!("{:.0} GFLOP/s", 1e-9 * peak)));
    row("evaluation on the validation data", format!("{:.1} ms", 1e3 * timing.evaluation));
    row("prediction of one sample", format!("{:.1} µs", 1e6 * timing.prediction));
    let Breakdown { parts, threads, seconds } = &timing.breakdown;
    if parts.is_empty() {
        *text += "\nThis engine does not report how the time of a step is spent.\n";
        return;
    }
    let _ = write!(text, "\n| part of a step | µs | share | GFLOP/s | of the peak |\n|---|---|---|---|---|\n");
    let (threads, whole) = (*threads as f64, seconds * *threads as f64);
    let waiting = StepPart { name: "waiting".into(), seconds: timing.waiting(), multiply_adds: 0 };
    for StepPart { name, seconds, multiply_adds } in parts.iter().chain([&waiting]) {
        let each = 1e6 * seconds / threads / timing.steps as f64;
        // While all threads work on it.
        let speed = 2.0 * *multiply_adds as f64 / (seconds / threads);
        let (speed, peak) = match timing.peak {
            _ if *multiply_adds == 0 => (String::new(), String::new()),
            Some(peak) => (format!("{:.0}", 1e-9 * speed), format!("{:.0} %", 100.0 * speed / peak)),
            None => (format!("{:.0}", 1e-9 * speed), "unknown".into()),
        };
        let _ = writeln!(text, "| {name} | {each:.1} | {:.1} % | {speed} | {peak} |", 100.0 * seconds / whole);
    }
}

fn as_json(timings: &[Timing], spec: &Spec, task: &Task, training: &Training) -> Value {
    let device = |timing: &Timing| {
        let (dense, done) = timing.speeds();
        let Breakdown { parts, threads, seconds } = &timing.breakdown;
        let part = |StepPart { name, seconds, multiply_adds }: &StepPart| -> Value {
            json!({ "part": name, "seconds": seconds, "multiply_adds": multiply_adds })
        };
        let parts: Vec<Value> = parts.iter().map(part).collect();
        json!({
            "device": timing.device.id.to_string(), "name": timing.device.name, "detail": timing.device.detail,
            "epoch_seconds": timing.epochs, "median_epoch_seconds": median(&timing.epochs), "train_loss": timing.losses,
            "steps": timing.steps, "samples": timing.samples, "dense_multiply_adds": timing.dense,
            "dense_flops": dense, "flops": done, "peak_flops": timing.peak,
            "evaluation_seconds": timing.evaluation, "prediction_seconds": timing.prediction,
            "breakdown": {
                "parts": parts, "waiting_seconds": timing.waiting(), "threads": threads, "seconds": seconds,
                "multiply_adds": timing.breakdown.multiply_adds(),
            },
            "whole_training_seconds": timing.whole.map(|whole| whole.0),
            "final_accuracy": timing.whole.map(|whole| whole.1),
        })
    };
    json!({
        "syva": env!("CARGO_PKG_VERSION"), "data": task.name, "network": spec.widths(), "batch_size": training.batch_size,
        "seed": training.seed, "devices": timings.iter().map(device).collect::<Vec<_>>(),
    })
}
