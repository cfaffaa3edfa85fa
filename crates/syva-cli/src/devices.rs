//! `syva devices`: what this machine can train on, and with `--check` whether its bits are right.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use syva::conformance::{CLOSE, Case, cases, measure, run, smooth};
use syva::{DeviceId, DeviceInfo, Engine, EngineOptions, Result};

use crate::args::DevicesArgs;
use crate::output;

/// What a check found.
#[derive(Default)]
struct Found {
    /// Cases that were run.
    cases: usize,
    /// Whether all of them were equal to the bit.
    exact: bool,
    /// Where they were not: last places of the largest number of a matrix, at most, and after how many steps.
    ulp: f64,
    steps: usize,
    /// The first thing that is not even close.
    failed: Option<String>,
}

pub fn devices(args: &DevicesArgs) -> Result<ExitCode> {
    let engines = syva::engines(options(args, false))?;
    if let Some(name) = &args.device {
        // So that one that is not there is an error, which names those that are.
        syva::engine(name, options(args, false))?;
    }
    output::print(&format!("{:<11} {:<36} {:<6} used as\n", "device", "name", "bits"));
    let mut any_close = false;
    for engine in &engines {
        for info in engine.devices().into_iter().filter(|info| wanted(args, info)) {
            any_close |= !info.exact;
            let exact = if info.exact { "exact" } else { "close" };
            output::print(&format!("{:<11} {:<36} {exact:<6} {}\n", info.id, info.name, info.detail));
        }
        if let Some(reason) = engine.absence().filter(|_| args.device.is_none()) {
            output::print(&format!("{:<11} not here: {reason}\n", engine.name()));
        }
    }
    if any_close {
        output::print("close: other roundings than the reference's; --exact computes exactly there too, but slower\n");
    }
    if args.check { check(&engines, args) } else { Ok(ExitCode::SUCCESS) }
}

/// Whether a device is asked for.
fn wanted(args: &DevicesArgs, info: &DeviceInfo) -> bool {
    let name = args.device.as_deref().map(|name| if name == "auto" { "cpu" } else { name });
    name.is_none_or(|name| name.parse().is_ok_and(|id: DeviceId| id == info.id))
}

fn options(args: &DevicesArgs, exact: bool) -> EngineOptions {
    EngineOptions { threads: args.threads, exact }
}

/// Runs the conformance kit on each device, and on those that are not exact also as `--exact` makes them.
fn check(engines: &[Box<dyn Engine>], args: &DevicesArgs) -> Result<ExitCode> {
    let (cases, exact_engines) = (cases(), syva::engines(options(args, true))?);
    let limit = Duration::from_secs(args.check_seconds);
    let mut code = ExitCode::SUCCESS;
    let mut one = |name: &str, engine: &dyn Engine, info: &DeviceInfo| {
        let start = Instant::now();
        let found = find(engine, info, &cases, limit);
        if found.failed.is_some() {
            code = ExitCode::from(1);
        }
        output::print(&line(name, &found, &cases, start.elapsed()));
    };
    output::print(&format!("\n{:<13} {:<8} against the reference\n", "device", "bits"));
    for (engine, exact_engine) in engines.iter().zip(&exact_engines) {
        // The reference is what all are compared with.
        for info in engine.devices().into_iter().filter(|info| info.id.engine != "reference" && wanted(args, info)) {
            one(&info.id.to_string(), engine.as_ref(), &info);
            let made_exact = exact_engine.devices().into_iter().find(|other| other.id == info.id && other.exact);
            if let Some(made_exact) = made_exact.filter(|_| !info.exact) {
                one(&format!("{} --exact", info.id), exact_engine.as_ref(), &made_exact);
            }
        }
    }
    Ok(code)
}

/// Runs cases until the first that fails, or until the time is up.
fn find(engine: &dyn Engine, info: &DeviceInfo, cases: &[Case], limit: Duration) -> Found {
    let start = Instant::now();
    let mut found = Found { exact: info.exact, ..Found::default() };
    for case in cases {
        if start.elapsed() > limit {
            break;
        }
        let outcome = if info.exact {
            run(engine, &info.id, case).map(|()| None)
        } else {
            measure(engine, &info.id, case).map(Some)
        };
        match outcome {
            Err(difference) => {
                found.failed = Some(difference);
                return found;
            }
            Ok(deviation) => {
                if let Some(deviation) = deviation.filter(|_| smooth(case)) {
                    found.ulp = found.ulp.max(deviation.ulp);
                    found.steps = deviation.steps;
                }
                found.cases += 1;
            }
        }
    }
    found
}

fn line(name: &str, found: &Found, cases: &[Case], time: Duration) -> String {
    let part = if found.cases < cases.len() { ": time was up, --check-seconds gives more" } else { "" };
    let ran = format!("{} of {} cases, {:.1} s{part}", found.cases, cases.len(), time.as_secs_f64());
    let (verdict, what) = match found {
        Found { failed: Some(difference), .. } => ("failed", difference.clone()),
        Found { exact: true, .. } => ("exact", format!("every bit is the reference's; {ran}")),
        Found { ulp, steps, .. } => {
            let what = format!("weights are off by {ulp} last places at most after {steps} steps");
            ("close", format!("{what} ({CLOSE} would be a failure); {ran}"))
        }
    };
    format!("{name:<13} {verdict:<8} {what}\n")
}
