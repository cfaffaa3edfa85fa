//! `syva bench --sweep`: the speed at twenty shapes, from tiny networks with one sample a step to wide ones with
//! thousands.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use syva::data::{Split, Task};
use syva::random::permutation;
use syva::{Breakdown, DeviceInfo, Engine, Error, Result, SWEEP, Session, Span, Spec, State, Training};

use super::median;
use crate::args::BenchArgs;
use crate::output;

/// Timed trainings of each shape, after one to warm up.
const ROUNDS: usize = 5;

/// Multiply-adds, counted as dense, that a training has: less than a tenth of a second.
const WORK: usize = 4_000_000_000;

/// What was measured of a shape.
struct Row {
    hidden: &'static [usize],
    batch: usize,
    steps: usize,
    /// The median seconds of a step.
    step: f64,
    /// Floating-point operations per second: those of a dense network, and those actually done.
    dense: f64,
    done: Option<f64>,
    /// Bytes per second of weights and inputs.
    bytes: f64,
}

/// What a device can do at most.
struct Limits {
    peak: Option<f64>,
    bandwidth: Option<f64>,
}

/// Measures all shapes on each device, and prints a table of each, or one JSON object.
pub(super) fn sweep(devices: &[(Box<dyn Engine>, DeviceInfo)], task: &Task, args: &BenchArgs) -> Result<()> {
    let mut report = format!("# syva {} on {}\n", env!("CARGO_PKG_VERSION"), task.name);
    let mut all = Vec::new();
    for (engine, info) in devices {
        let (before, bandwidth) = (engine.peak(&info.id), engine.bandwidth(&info.id));
        let rows: Vec<Row> = SWEEP
            .iter()
            .map(|&(hidden, batch)| {
                output::note(format_args!("{}: hidden {}, batch {batch}", info.id, name(hidden)));
                measure(engine.as_ref(), info, task, hidden, batch)
            })
            .collect::<Result<_>>()?;
        let peak = before.into_iter().chain(engine.peak(&info.id)).reduce(f64::max);
        let limits = Limits { peak, bandwidth };
        report += &table(info, &rows, &limits);
        all.push(as_json(info, &rows, &limits));
    }
    if args.json {
        output::json(json!({ "syva": env!("CARGO_PKG_VERSION"), "data": task.name, "devices": all }));
    } else {
        output::print(&report);
    }
    if let Some(path) = &args.markdown {
        syva::files::write_atomically(path, |file| file.write_all(report.as_bytes()))?;
    }
    Ok(())
}

fn measure(engine: &dyn Engine, info: &DeviceInfo, task: &Task, hidden: &'static [usize], batch: usize) -> Result<Row> {
    let spec = task.network(hidden, syva::Activation::Sigmoid);
    let weights = |l: usize| spec.fan_in(l) * spec.layers[l].units;
    let layers = 0..spec.layers.len();
    // The first layer has no input gradient.
    let dense: usize = layers.clone().map(|l| if l == 0 { 2 } else { 3 } * weights(l)).sum();
    let samples = task.train.samples();
    let steps = (WORK / (dense * batch)).clamp(4, 2000).min((samples / batch).max(1));
    let mut session = engine.open(&info.id, &spec, &Training::default())?;
    session.load(Split::Train, &task.train)?;
    session.set_state(&State::initial(&spec, &Training::default())?)?;
    let order = permutation(1, 0, samples);
    let order = &order[..(steps * batch).min(samples)];
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        take(session.as_mut(), order, batch, round as u64)?;
        times.push(start.elapsed().as_secs_f64() / steps as f64);
    }
    let step = median(&times[1..]);
    let breakdown = profile(session.as_mut(), order, batch)?;
    let speed = |multiply_adds: f64| 2.0 * multiply_adds / step;
    let done = breakdown.multiply_adds();
    // Weights are read forward, by the input gradient and by the update, which also writes them.
    let passes = |l: usize| if l == 0 { 3 } else { 4 };
    let bytes: usize = layers.map(|l| passes(l) * weights(l) * size_of::<f32>()).sum();
    Ok(Row {
        hidden,
        batch,
        steps,
        step,
        dense: speed((dense * batch) as f64),
        done: (done > 0).then(|| speed(done as f64 / steps as f64)),
        bytes: (bytes + batch * input_bytes(task, &spec)) as f64 / step,
    })
}

/// Bytes of a sample, which the first layer reads twice.
fn input_bytes(task: &Task, spec: &Spec) -> usize {
    let each = match task.train.inputs() {
        syva::data::Inputs::U8(_) => 1,
        syva::data::Inputs::F32(_) | syva::data::Inputs::Mixed(_) => size_of::<f32>(),
    };
    2 * spec.input.features * each
}

/// Takes the steps of a round.
fn take(session: &mut dyn Session, order: &[u32], batch_size: usize, round: u64) -> Result<()> {
    let steps = order.len().div_ceil(batch_size);
    let learning_rate = vec![0.01; steps];
    let report = session.train(&Span {
        first_step: round * steps as u64,
        order,
        batch_size,
        learning_rate: &learning_rate,
        ..Span::default()
    })?;
    match report.first_non_finite {
        Some(step) => Err(Error::mismatch(format!("the loss of step {step} is not finite"), "report this")),
        None => Ok(()),
    }
}

/// Takes the same steps once more, and measures their parts.
fn profile(session: &mut dyn Session, order: &[u32], batch_size: usize) -> Result<Breakdown> {
    let steps = order.len().div_ceil(batch_size);
    let first_step = (ROUNDS as u64 + 1) * steps as u64;
    let learning_rate = vec![0.01; steps];
    Ok(session.profile(&Span { first_step, order, batch_size, learning_rate: &learning_rate, ..Span::default() })?.1)
}

/// Widths as a flag has them; many equal ones in short.
fn name(hidden: &[usize]) -> String {
    match hidden {
        [first, .., last] if hidden.len() > 4 && hidden.iter().all(|width| width == last) => {
            format!("{first} x {}", hidden.len())
        }
        _ => hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn table(info: &DeviceInfo, rows: &[Row], limits: &Limits) -> String {
    let DeviceInfo { id, name: device, detail, .. } = info;
    let known = |value: Option<f64>, unit: &str| value.map_or("unknown".into(), |v| format!("{:.0} {unit}", 1e-9 * v));
    let mut text = format!(
        "\n## {id}: {device}, {detail}\n\nMeasured peak {}, memory bandwidth {}.\n\n\
         | hidden | batch | step | samples per second | GFLOP/s | as if dense, of the peak | computed, of the peak | \
         of the memory's bandwidth |\n|---|---|---|---|---|---|---|---|\n",
        known(limits.peak, "GFLOP/s"),
        known(limits.bandwidth, "GB/s")
    );
    let share = |value: Option<f64>, of: Option<f64>| match (value, of) {
        (Some(value), Some(of)) => format!("{:.0} %", 100.0 * value / of),
        _ => "–".into(),
    };
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} µs | {:.0} | {:.0} | {} | {} | {} |",
            name(row.hidden),
            row.batch,
            1e6 * row.step,
            row.batch as f64 / row.step,
            1e-9 * row.dense,
            share(Some(row.dense), limits.peak),
            share(row.done, limits.peak),
            share(Some(row.bytes), limits.bandwidth),
        );
    }
    text += "\nThe bandwidth's share counts weights and inputs as if none of them stayed in a cache, so it can be above \
             100 %.\n";
    text
}

fn as_json(info: &DeviceInfo, rows: &[Row], limits: &Limits) -> Value {
    let row = |row: &Row| {
        json!({
            "hidden": row.hidden, "batch_size": row.batch, "steps": row.steps, "step_seconds": row.step,
            "samples_per_second": row.batch as f64 / row.step, "dense_flops": row.dense, "flops": row.done,
            "bytes_per_second": row.bytes,
        })
    };
    json!({
        "device": info.id.to_string(), "name": info.name, "detail": info.detail, "peak_flops": limits.peak,
        "bandwidth": limits.bandwidth, "shapes": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
