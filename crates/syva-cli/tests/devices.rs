//! `syva devices`, and training on the devices that it lists.
//!
//! This has its own main, so that tests that need a graphics adapter are visibly marked and counted as ignored on
//! machines without one.

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
        Trial::test("a device that is not there is refused, with those that are", || {
            for name in ["gpu:99", "abacus"] {
                Place::new().train(&format!("--device {name}")).fails(2, &[name, "use auto, cpu"]);
                Place::new().run(&format!("devices --device {name}")).fails(2, &[name, "use auto, cpu"]);
            }
            Ok(())
        }),
        Trial::test("no device is listed, timed or used in a precision that it has not", || {
            let place = Place::new();
            let listed = place.run("devices --precision tf32").succeeds().stdout;
            assert!(!listed.contains("cpu") && !listed.contains("\ngpu") && !listed.contains("exact "), "{listed}");
            let says = "precision: device cpu does not compute in tf32";
            place.run("devices --precision tf32 --device cpu").fails(2, &[says]);
            place.run("bench --data digits --precision tf32 --device cpu").fails(2, &[says]);
            Ok(())
        }),
        on_gpu("a GPU made exact trains to the processor's bits", trains_to_the_same_bits),
        on_gpu("a run begun on a GPU goes on, on the processor, to the same bits", goes_on_elsewhere),
        on_gpu("a GPU as it is trains to the processor's accuracy", trains_as_well),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Whether `syva devices` lists the device `gpu`.
fn listed(devices: &str) -> bool {
    devices.lines().any(|line| line.starts_with("gpu ") && !line.contains("not available"))
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
    assert!(line.contains("exact    every bit equals"), "{line}");
    assert!(!line.contains("time limit was reached"), "{line}");
    let gpu = checked.lines().any(|line| line.starts_with("gpu"));
    assert_eq!(gpu, listed(&ran.stdout), "{}", ran.stdout);
    Ok(())
}

fn trains_to_the_same_bits() -> Result<(), Failed> {
    let place = Place::new();
    let cpu = place.train("--epochs 1 --out cpu").succeeds();
    let gpu = place.train("--epochs 1 --device gpu --exact --out gpu").succeeds();
    assert_eq!(digest(&cpu.stdout)?, digest(&gpu.stdout)?);
    let judged = place.run("eval gpu --device gpu --exact --json").succeeds();
    assert_eq!(judged.stdout, place.run("eval gpu --json").succeeds().stdout);
    Ok(())
}

fn goes_on_elsewhere() -> Result<(), Failed> {
    let place = Place::new();
    place.train("--epochs 1 --device gpu --exact --out run").succeeds();
    // Without flags, it goes on with the device and the exactness that it began with.
    let here = place.run("resume run --epochs 2").succeeds();
    assert!(here.stderr.contains("on gpu ("), "{}", here.stderr);
    let there = place.run("resume run --epochs 3 --device cpu").succeeds();
    assert!(there.stderr.contains("on cpu ("), "{}", there.stderr);
    let whole = place.train("--epochs 3 --out whole").succeeds();
    assert_eq!(digest(&there.stdout)?, digest(&whole.stdout)?);
    let config = place.read("run/config.toml");
    assert!(config.contains("device = \"cpu\"\nexact = true"), "{config}");
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
