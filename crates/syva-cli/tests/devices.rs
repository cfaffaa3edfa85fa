//! `syva devices`, and training on what it lists.
//!
//! Has its own main, so that the tests of a graphics adapter are marked as ignored where there is none, visibly and
//! counted.

mod common;

use common::Place;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let missing = !listed(&Place::new().run("devices").succeeds().stdout);
    let note = if missing { " (needs a graphics adapter: Vulkan, Metal or DX12)" } else { "" };
    let on_gpu = |name: &str, test: fn() -> Result<(), Failed>| {
        Trial::test(format!("{name}{note}"), test).with_ignored_flag(missing)
    };
    let trials = vec![
        Trial::test("the processor is checked and found exact", processor_is_exact),
        Trial::test("a device that is not there is refused, with those that are", unknown_device),
        on_gpu("a GPU made exact trains to the processor's bits", trains_to_the_same_bits),
        on_gpu("a run begun on a GPU goes on, on the processor, to the same bits", goes_on_elsewhere),
        on_gpu("a GPU as it is trains to the processor's accuracy", trains_as_well),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Whether `syva devices` lists the device `gpu`.
fn listed(devices: &str) -> bool {
    devices.lines().any(|line| line.starts_with("gpu ") && !line.contains("not here"))
}

/// The line with the digest of the weights.
fn digest(out: &str) -> Result<&str, Failed> {
    let line = out.lines().find(|line| line.starts_with("sha256 of the weights"));
    line.ok_or_else(|| format!("no digest in: {out}").into())
}

fn processor_is_exact() -> Result<(), Failed> {
    let ran = Place::new().run("devices --check --check-seconds 15").succeeds();
    let checked = ran.stdout.split_once("against the reference").ok_or("nothing was checked")?.1;
    let line = checked.lines().find(|line| line.starts_with("cpu")).ok_or("the processor was not checked")?;
    assert!(line.contains("exact    every bit of"), "{line}");
    assert!(!line.contains("time was up"), "{line}");
    let gpu = checked.lines().any(|line| line.starts_with("gpu"));
    assert_eq!(gpu, listed(&ran.stdout), "{}", ran.stdout);
    Ok(())
}

fn unknown_device() -> Result<(), Failed> {
    Place::new().train("--device gpu:99").fails(2, &["gpu:99", "use auto, cpu"]);
    Place::new().train("--device abacus").fails(2, &["abacus", "use auto, cpu"]);
    Ok(())
}

fn trains_to_the_same_bits() -> Result<(), Failed> {
    let place = Place::new();
    let cpu = place.train("--epochs 2 --out cpu").succeeds();
    let gpu = place.train("--epochs 2 --device gpu --exact --out gpu").succeeds();
    assert_eq!(digest(&cpu.stdout)?, digest(&gpu.stdout)?);
    let judged = place.run("eval gpu --device gpu --exact --json").succeeds();
    assert_eq!(judged.stdout, place.run("eval gpu --json").succeeds().stdout);
    Ok(())
}

fn goes_on_elsewhere() -> Result<(), Failed> {
    let place = Place::new();
    place.train("--epochs 1 --device gpu --exact --out run").succeeds();
    let resumed = place.run("resume run --epochs 2 --device cpu").succeeds();
    let whole = place.train("--epochs 2 --out whole").succeeds();
    assert_eq!(digest(&resumed.stdout)?, digest(&whole.stdout)?);
    Ok(())
}

fn trains_as_well() -> Result<(), Failed> {
    let place = Place::new();
    let accuracy = |device: &str| -> Result<f64, Failed> {
        let ran = place.train(&format!("--epochs 2 --lr 0.5 --device {device} --out {device}")).succeeds();
        let (_, rest) = ran.stdout.rsplit_once("val accuracy ").ok_or("no accuracy")?;
        Ok(rest.split_whitespace().next().ok_or("no accuracy")?.parse()?)
    };
    let (cpu, gpu) = (accuracy("cpu")?, accuracy("gpu")?);
    assert!((cpu - gpu).abs() <= 0.1, "{cpu} % on the processor, {gpu} % on the GPU");
    assert!(cpu > 60.0, "{cpu} %");
    Ok(())
}
