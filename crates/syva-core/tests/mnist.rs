//! The real MNIST, where `SYVA_MNIST_DIR` names it. Elsewhere each test is counted as ignored, not as passed.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use syva_core::data::mnist::{CLASSES, DIR_VARIABLE, Mnist, SIDE, find, load};

type Test = fn(&Mnist) -> Result<(), Failed>;

fn main() -> ExitCode {
    let given = std::env::var_os(DIR_VARIABLE).is_some_and(|dir| !dir.is_empty());
    let tests: [(&str, Test); 3] =
        [("sizes", sizes), ("class_counts", class_counts), ("mean_and_deviation", mean_and_deviation)];
    let trials = tests.into_iter().map(|(name, test)| {
        let name = if given { name.into() } else { format!("{name} (needs {DIR_VARIABLE})") };
        let run = move || {
            demand(given, format!("set {DIR_VARIABLE} to the folder with MNIST's four files"))?;
            test(&load(&find(None)?)?)
        };
        Trial::test(name, run).with_ignored_flag(!given)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn sizes(mnist: &Mnist) -> Result<(), Failed> {
    for (part, samples) in [(&mnist.train, 60_000), (&mnist.test, 10_000)] {
        demand(part.labels.len() == samples, format!("{} labels", part.labels.len()))?;
        demand(part.pixels.len() == samples * SIDE * SIDE, format!("{} pixels", part.pixels.len()))?;
    }
    Ok(())
}

/// The numbers are those that many descriptions of the data set give.
fn class_counts(mnist: &Mnist) -> Result<(), Failed> {
    let mut counts = [0; CLASSES];
    for &label in &mnist.train.labels {
        counts[usize::from(label)] += 1;
    }
    demand(counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], format!("{counts:?}"))
}

/// 0.1307 and 0.3081 are what everybody normalises with.
fn mean_and_deviation(mnist: &Mnist) -> Result<(), Failed> {
    let pixels = &mnist.train.pixels;
    let sum: u64 = pixels.iter().map(|&p| u64::from(p)).sum();
    let squares: u64 = pixels.iter().map(|&p| u64::from(p) * u64::from(p)).sum();
    let mean = sum as f64 / pixels.len() as f64 / 255.0;
    let deviation = (squares as f64 / pixels.len() as f64 / 255.0 / 255.0 - mean * mean).sqrt();
    demand((mean - 0.13066).abs() < 5e-6, format!("mean {mean}"))?;
    demand((deviation - 0.30811).abs() < 5e-6, format!("standard deviation {deviation}"))
}

fn demand(holds: bool, otherwise: String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
