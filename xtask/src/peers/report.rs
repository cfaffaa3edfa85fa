//! Tables of the measurements.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syva::data::mnist;

use super::catalogue::root;
use super::{Limits, Running, Shape};

/// The least, the median and the greatest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// `None` if there are no numbers.
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            1 => figures[middle],
            _ => f64::midpoint(*figures.get(middle.checked_sub(1)?)?, figures[middle]),
        };
        Some(Self { min: figures[0], median, max: figures[figures.len() - 1] })
    }

    fn show(spread: Option<Self>, decimals: usize) -> String {
        spread.map_or("–".into(), |Self { min, median, max }| {
            format!("**{median:.decimals$}** ({min:.decimals$}–{max:.decimals$})")
        })
    }
}

/// A peer's epochs.
pub struct Row {
    pub name: String,
    pub what: String,
    pub versions: String,
    /// The seconds per epoch.
    pub seconds: Option<Spread>,
    /// Syvä's seconds divided by this peer's, round by round.
    pub ratio: Option<Spread>,
    pub losses: Vec<f64>,
    pub problem: Option<String>,
}

/// The peers' epochs as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| | how | seconds an epoch | syva / this | losses | |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let losses: Vec<String> = row.losses.iter().map(|loss| format!("{loss:.3}")).collect();
        let note = row.problem.as_ref().unwrap_or(&row.versions);
        let ratio = if row.problem.is_none() { Spread::show(row.ratio, 3) } else { "–".into() };
        let seconds = Spread::show(row.seconds, 3);
        let _ = writeln!(text, "| {} | {} | {seconds} | {ratio} | {} | {note} |", row.name, row.what, losses.join(" "));
    }
    text
}

/// The samples per second of each peer for one shape, Syvä's first.
pub struct SweepRow {
    hidden: String,
    batch: usize,
    steps: usize,
    /// Name and median.
    rates: Vec<(&'static str, Option<f64>)>,
    /// Syvä's share of the processor's peak, all products counted as dense, and of the memory's bandwidth.
    shares: Option<(f64, f64)>,
    pub problem: Option<String>,
}

impl SweepRow {
    pub fn of(shape: &Shape, steps: usize, all: &[Running], limits: &Limits) -> Self {
        let samples = (steps * shape.batch).min(60_000) as f64;
        let rate = |running: &Running| {
            let seconds = running.answers.iter().skip(1).map(|answer| answer.seconds);
            (running.peer.name, Spread::of(seconds).map(|seconds| samples / seconds.median))
        };
        let problem = all.iter().find_map(|running| running.process.as_ref().err().map(|error| format!("{error:#}")));
        let rates: Vec<_> = all.iter().map(rate).collect();
        let steps_per_second = rates.first().and_then(|rate| rate.1).map(|rate| rate / shape.batch as f64);
        let shares = steps_per_second.map(|rate| {
            (2.0 * shape.work() as f64 * rate / limits.peak, shape.bytes() as f64 * rate / limits.bandwidth)
        });
        Self { hidden: shape.hidden(), batch: shape.batch, steps, rates, shares, problem }
    }

    /// Syvä's time divided by that of the fastest other peer.
    fn ratio(&self) -> Option<f64> {
        let ours = self.rates.first()?.1?;
        let best = self.rates[1..].iter().filter_map(|(_, rate)| *rate).max_by(f64::total_cmp)?;
        Some(best / ours)
    }
}

/// The sweep as Markdown.
pub fn sweep_table(rows: &[SweepRow]) -> String {
    let names: Vec<&str> = rows.first().map_or(Vec::new(), |row| row.rates.iter().map(|(name, _)| *name).collect());
    let mut text = format!(
        "| hidden | batch | steps | {} | syva / best other | of the peak | of the bandwidth | |\n",
        names.join(" | ")
    );
    text += &format!("|{}\n", "---|".repeat(names.len() + 7));
    for row in rows {
        let rates = row.rates.iter().map(|(_, rate)| rate.map_or("–".into(), |rate| format!("{rate:.0}")));
        let ratio = row.ratio().map_or("–".into(), |ratio| format!("**{ratio:.2}**"));
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let (peak, memory) = row.shares.map_or(("–".into(), "–".into()), |(a, b)| (percent(a), percent(b)));
        let (rates, note) = (rates.collect::<Vec<_>>().join(" | "), row.problem.as_deref().unwrap_or(""));
        let SweepRow { hidden, batch, steps, .. } = row;
        let _ = writeln!(text, "| {hidden} | {batch} | {steps} | {rates} | {ratio} | {peak} | {memory} | {note} |");
    }
    text
}

/// The folder with MNIST's files.
pub fn mnist(dir: Option<&Path>) -> Result<PathBuf> {
    mnist::find(dir).context("the peers train on the real MNIST: name its folder in SYVA_MNIST_DIR")
}

/// Writes all tables.
pub fn write(out: Option<PathBuf>, (avx2, adam): (bool, bool), rows: &[Row], sweep: &[SweepRow]) -> Result<PathBuf> {
    let cpu = machine() + if avx2 { ", AVX2 only" } else { "" } + if adam { ", Adam" } else { "" };
    let name: String =
        cpu.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let path = match out {
        Some(path) => path,
        None => root()?.join("bench/results").join(format!("{name}.md")),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!("# {cpu}, {cores} cores\n\n");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let _ = writeln!(
        text,
        "Made by `cargo xtask {}`; what the tables mean is in [bench/README.md](../README.md).",
        arguments.join(" ")
    );
    if !rows.is_empty() {
        let _ = writeln!(text, "\n## An epoch of 784-256-128-10 on MNIST, batch 128\n\n{}", table(rows));
    }
    if !sweep.is_empty() {
        let _ = writeln!(text, "\n## Other shapes: samples a second\n\n{}", sweep_table(sweep));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, text.trim_end().to_string() + "\n").with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The names of the processor and the cards, as the engines report them.
fn machine() -> String {
    let engines = syva::engines(syva::EngineOptions::default()).unwrap_or_default();
    let devices = engines.iter().filter(|engine| engine.name() != "reference").flat_map(|engine| engine.devices());
    let names: Vec<String> = devices.map(|info| info.name).collect();
    if names.is_empty() { "unknown processor".into() } else { names.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_odd_and_even_numbers_of_figures() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }

    #[test]
    fn a_sweep_row_compares_with_the_fastest() {
        let rates = vec![("syva", Some(200.0)), ("jax", Some(50.0)), ("pytorch", Some(100.0))];
        let shares = Some((0.805, 1.5));
        let row = SweepRow { hidden: "32".into(), batch: 1, steps: 1, rates, shares, problem: None };
        assert_eq!(row.ratio(), Some(0.5));
        assert!(sweep_table(&[row]).contains("| 32 | 1 | 1 | 200 | 50 | 100 | **0.50** | 80 % | 150 % |"));
    }
}
