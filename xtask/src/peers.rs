//! `cargo xtask peers`: compares Syvä's speed with that of other frameworks. They train in turn, so that a disturbance
//! of the machine affects all of them.
//!
//! A peer is a program that trains on demand ([`process`]). [`catalogue`] lists the peers and how they are built. All
//! peers are started, then asked for one epoch each, one after the other: first a warm-up round, then the rounds that
//! count. A peer counts if its losses follow the others'. The sweep does the same with some steps of other shapes.

mod catalogue;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use syva::Engine;

use catalogue::{ADAM_PEERS, GPU_PEERS, PEERS, Peer, Workshop};
use process::{Answer, Process};
use report::{Row, Spread, SweepRow};

/// The share by which losses may differ from the median of all peers'. Peers draw weights and orders from different
/// generators. That alone has been seen to cause a difference of 7.5 % between peers, in the sixth epoch, where the
/// curve is steepest.
const TOLERANCE: f64 = 0.06;

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command")]
pub struct Args {
    /// Only JAX and PyTorch with its data in memory, and no sweep.
    #[arg(long)]
    quick: bool,
    /// On NVIDIA's card instead of the processor; no sweep.
    #[arg(long)]
    gpu: bool,
    /// Train with Adam: only syva, JAX with optax, and PyTorch's fused form; no sweep.
    #[arg(long, conflicts_with = "gpu")]
    adam: bool,
    /// Only these peers, besides syva.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Counted epochs of each peer.
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: usize,
    /// Leave out the sweep over batch sizes and widths.
    #[arg(long)]
    no_sweep: bool,
    /// Let syva, PyTorch and JAX use AVX2 only, on a processor that has AVX-512 too.
    #[arg(long)]
    avx2: bool,
    /// Only the sweep.
    #[arg(long, conflicts_with_all = ["quick", "no_sweep", "adam"])]
    sweep_only: bool,
    /// Folder with the MNIST files [default: $SYVA_MNIST_DIR, then the cache folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A Python that has the peers' packages, instead of a virtual environment of our own.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Do not build the programs: for a machine without cargo, to which they were copied.
    #[arg(long, requires = "python")]
    no_build: bool,
    /// Where the results go [default: bench/results/CPU.md].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The network and the batch size of a training.
#[derive(Clone, Debug)]
struct Shape {
    hidden: Vec<usize>,
    batch: usize,
}

impl Shape {
    fn hidden(&self) -> String {
        self.hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Multiply-adds per step, if all products are dense.
    fn work(&self) -> usize {
        let widths: Vec<usize> = [784].iter().chain(&self.hidden).chain(&[10]).copied().collect();
        let products = |l: usize| if l == 0 { 2 } else { 3 };
        widths.windows(2).enumerate().map(|(l, pair)| products(l) * pair[0] * pair[1]).sum::<usize>() * self.batch
    }

    /// The bytes of weights and inputs that a step reads and writes, if none of them stays in a cache: each weight is read
    /// forward, by the input gradient and by the update, which also writes it; inputs are bytes, read twice.
    fn bytes(&self) -> usize {
        let widths: Vec<usize> = [784].iter().chain(&self.hidden).chain(&[10]).copied().collect();
        let passes = |l: usize| if l == 0 { 3 } else { 4 };
        let weights = |(l, pair): (usize, &[usize])| 4 * passes(l) * pair[0] * pair[1];
        widths.windows(2).enumerate().map(weights).sum::<usize>() + 2 * 784 * self.batch
    }

    /// The number of steps that take some tenths of a second. It is bounded by the overhead of small steps, and by the
    /// steps of an epoch.
    fn steps(&self) -> usize {
        (20_000_000_000 / self.work()).clamp(8, 4000).min(60_000 / self.batch)
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let chosen = choose(args)?;
    let data = report::mnist(args.data_dir.as_deref())?;
    let workshop = Workshop::new(args.python.clone(), args.avx2)?;
    if !args.no_build {
        workshop.prepare(&chosen)?;
    }
    let shape = Shape { hidden: vec![256, 128], batch: 128 };
    let rows = if args.sweep_only { Vec::new() } else { epochs(&workshop, &chosen, &data, &shape, args.epochs)? };
    if !rows.is_empty() {
        println!("\n{}", report::table(&rows));
    }
    let sweep = if args.quick || args.no_sweep || args.gpu || args.adam {
        Vec::new()
    } else {
        sweep(&workshop, &data, args.avx2)?
    };
    if !sweep.is_empty() {
        println!("\n{}", report::sweep_table(&sweep));
    }
    let failed = rows.iter().any(|row| row.problem.is_some()) || sweep.iter().any(|row| row.problem.is_some());
    let path = report::write(args.out.clone(), (args.avx2, args.adam), &rows, &sweep)?;
    println!("\nwritten to {}", path.display());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The peers to run: Syvä's first, in the order of the catalogue.
fn choose(args: &Args) -> Result<Vec<&'static Peer>> {
    let all: &'static [Peer] = match args {
        Args { gpu: true, .. } => &GPU_PEERS,
        Args { adam: true, .. } => &ADAM_PEERS,
        _ => &PEERS,
    };
    let known = || all.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = args.peers.iter().find(|name| all.iter().all(|peer| peer.name != **name)) {
        bail!("there is no peer '{unknown}'; known are {}", known());
    }
    let wanted = |peer: &&Peer| {
        peer.ours
            || if args.quick {
                peer.quick
            } else {
                args.peers.is_empty() || args.peers.iter().any(|name| name == peer.name)
            }
    };
    Ok(all.iter().filter(wanted).collect())
}

/// A running peer, until it fails.
struct Running {
    peer: &'static Peer,
    process: Result<Process>,
    answers: Vec<Answer>,
}

impl Running {
    /// Starts all peers, each when the one before is ready.
    fn start(workshop: &Workshop, peers: &[&'static Peer], data: &std::path::Path, shape: &Shape) -> Vec<Self> {
        let start = |peer: &&'static Peer| {
            eprintln!("starting {}", peer.name);
            let process = Process::start(workshop.command(peer, data, shape)).context(peer.name);
            Self { peer, process, answers: Vec::new() }
        };
        peers.iter().map(start).collect()
    }

    /// Asks the peer for one more training.
    fn ask(&mut self, request: &str, limit: Duration) {
        let Ok(process) = &mut self.process else { return };
        match process.ask(request, limit) {
            Ok(answer) => {
                eprintln!("  {:<18} {:>9.4} s  loss {:.4}", self.peer.name, answer.seconds, answer.loss);
                self.answers.push(answer);
            }
            Err(error) => {
                eprintln!("  {:<18} {error:#}", self.peer.name);
                self.process = Err(error);
            }
        }
    }
}

fn epochs(
    workshop: &Workshop,
    peers: &[&'static Peer],
    data: &std::path::Path,
    shape: &Shape,
    count: usize,
) -> Result<Vec<Row>> {
    let mut all = Running::start(workshop, peers, data, shape);
    for round in 0..=count {
        eprintln!("{}", if round == 0 { "warm-up".into() } else { format!("epoch {round} of {count}") });
        for running in &mut all {
            running.ask("epoch", Duration::from_mins(5));
        }
    }
    let ours = &all[0];
    if let Err(error) = &ours.process {
        bail!("syva itself failed: {error:#}");
    }
    let ours = ours.answers.clone();
    let curve: Vec<f64> = (0..=count)
        .filter_map(|round| Spread::of(all.iter().filter_map(|running| Some(running.answers.get(round)?.loss))))
        .map(|losses| losses.median)
        .collect();
    Ok(all.iter().map(|running| row(running, &ours, &curve)).collect())
}

/// The row of a peer, from its answers, Syvä's answers, and the curve that all of them follow.
fn row(running: &Running, ours: &[Answer], curve: &[f64]) -> Row {
    let (peer, answers) = (running.peer, &running.answers);
    let mut problem = running.process.as_ref().err().map(|error| format!("{error:#}"));
    if problem.is_none() && !agrees(answers, curve) {
        problem = Some("does not count: its losses are not the others'".into());
    }
    let versions = running.process.as_ref().map_or(String::new(), |process| process.versions.clone());
    let counted = answers.get(1..).unwrap_or_default();
    let ratios = ours[1..].iter().zip(counted).map(|(ours, theirs)| ours.seconds / theirs.seconds);
    Row {
        name: peer.name.into(),
        what: peer.what.into(),
        versions,
        seconds: Spread::of(counted.iter().map(|answer| answer.seconds)),
        ratio: Spread::of(ratios),
        losses: answers.iter().map(|answer| answer.loss).collect(),
        problem,
    }
}

/// Whether a peer's losses follow the curve.
fn agrees(answers: &[Answer], curve: &[f64]) -> bool {
    let close = |(answer, loss): (&Answer, &f64)| (answer.loss - loss).abs() <= TOLERANCE * loss;
    answers.len() == curve.len() && answers.iter().zip(curve).all(close)
}

/// Compares Syvä, PyTorch and JAX at other shapes, and with what the processor can do at most.
fn sweep(workshop: &Workshop, data: &std::path::Path, avx2: bool) -> Result<Vec<SweepRow>> {
    let peers: Vec<&'static Peer> = PEERS.iter().filter(|peer| peer.name == "syva" || peer.quick).collect();
    let limits = Limits::measure(avx2)?;
    let mut rows = Vec::new();
    for (hidden, batch) in syva::SWEEP {
        let shape = Shape { hidden: hidden.to_vec(), batch };
        let steps = shape.steps();
        eprintln!("hidden {}, batch {batch}, {steps} steps", shape.hidden());
        let mut all = Running::start(workshop, &peers, data, &shape);
        let request = format!("steps {steps}");
        for _ in 0..6 {
            for running in &mut all {
                running.ask(&request, Duration::from_mins(2));
            }
        }
        if let Some(Err(error)) = all.first().map(|ours| &ours.process) {
            bail!("syva itself failed: {error:#}");
        }
        rows.push(SweepRow::of(&shape, steps, &all, &limits));
    }
    Ok(rows)
}

/// What the processor can do at most: operations per second, and bytes per second from memory.
#[derive(Clone, Copy, Debug)]
struct Limits {
    peak: f64,
    bandwidth: f64,
}

impl Limits {
    fn measure(avx2: bool) -> Result<Self> {
        let engine = syva::CpuEngine::new()?;
        let engine = if avx2 { engine.with_isa(syva::Isa::Avx2)? } else { engine };
        let device = "cpu".parse()?;
        let (peak, bandwidth) = (engine.peak(&device), engine.bandwidth(&device));
        Ok(Self {
            peak: peak.context("the peak was not measured")?,
            bandwidth: bandwidth.context("nor the bandwidth")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(losses: &[f64]) -> Vec<Answer> {
        losses.iter().map(|&loss| Answer { seconds: 1.0, loss }).collect()
    }

    #[test]
    fn curves_agree_within_the_tolerance_and_at_full_length_only() {
        let curve = [2.3, 2.2];
        assert!(agrees(&answers(&[2.31, 2.19]), &curve));
        assert!(!agrees(&answers(&[2.3, 2.0]), &curve));
        assert!(!agrees(&answers(&[2.3]), &curve));
        assert!(!agrees(&answers(&[2.3, f64::NAN]), &curve));
    }

    #[test]
    fn a_sweep_takes_no_more_than_an_epoch() {
        let steps = |hidden: &[usize], batch| Shape { hidden: hidden.to_vec(), batch }.steps();
        assert_eq!(steps(&[32, 32], 4096), 14);
        assert_eq!(steps(&[32, 32], 1), 4000);
        assert_eq!(steps(&[2048, 2048], 4096), 8);
    }
}
