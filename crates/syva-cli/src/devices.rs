//! `syva devices`: lists the devices of this machine, and with `--check` tests whether their bits are right.

use std::time::{Duration, Instant};

use syva::conformance::{CLOSE, Case, Deviation, cases, close_share, measure, operands, run, smooth};
use syva::{DeviceId, DeviceInfo, Engine, EngineOptions, Precision, Result};

use crate::Code;
use crate::args::DevicesArgs;
use crate::output;

/// The result of a check.
#[derive(Default)]
struct Found {
    /// The number of cases that were run.
    cases: usize,
    /// Whether all of them were equal to the bit.
    exact: bool,
    /// If they were not: the largest deviation, and the number of steps after which it was found.
    deviation: Deviation,
    /// The first case that is not even close.
    failed: Option<String>,
}

pub fn devices(args: &DevicesArgs) -> Result<Code> {
    let engines = syva::engines(options(args, false))?;
    if let Some(name) = &args.device {
        // If the device does not exist, the error names those that do.
        syva::engine(name, options(args, false))?;
    }
    output::print(&format!("{:<11} {:<36} {:<6} used as\n", "device", "name", "bits"));
    let (mut any, mut any_close) = (false, false);
    for engine in &engines {
        for info in engine.devices().into_iter().filter(|info| wanted(args, info)) {
            any = true;
            any_close |= !info.exact;
            let exact = if info.exact { "exact" } else { "close" };
            output::print(&format!("{:<11} {:<36} {exact:<6} {}\n", info.id, info.name, info.detail));
        }
        if let Some(reason) = engine.absence().filter(|_| args.device.is_none()) {
            output::print(&format!("{:<11} not available: {reason}\n", engine.name()));
        }
    }
    match args.precision {
        Precision::F32 if any_close => {
            output::print("close: rounds differently from the reference; --exact makes it exact, but slower\n");
        }
        Precision::F32 => {}
        precision if any => {
            output::print(&format!("close: factors are rounded to {precision}; use f32 for exact results\n"));
        }
        precision => output::print(&format!("no device here computes in {precision}; all of them compute in f32\n")),
    }
    if args.check { check(&engines, args) } else { Ok(0) }
}

/// Whether a device was asked for.
fn wanted(args: &DevicesArgs, info: &DeviceInfo) -> bool {
    let name = args.device.as_deref().map(|name| if name.eq_ignore_ascii_case("auto") { "cpu" } else { name });
    name.is_none_or(|name| name.parse().is_ok_and(|id: DeviceId| id == info.id))
}

fn options(args: &DevicesArgs, exact: bool) -> EngineOptions {
    EngineOptions { threads: args.threads, exact, precision: args.precision }
}

/// Runs the conformance kit on each device. Devices that are not exact are also checked as `--exact` makes them.
fn check(engines: &[Box<dyn Engine>], args: &DevicesArgs) -> Result<Code> {
    let cases = cases();
    let exact_engines = match args.precision {
        Precision::F32 => syva::engines(options(args, true))?,
        // These cannot be made exact.
        _ => Vec::new(),
    };
    let limit = Duration::from_secs(args.check_seconds);
    let mut code = 0;
    let mut one = |name: &str, engine: &dyn Engine, info: &DeviceInfo| {
        let start = Instant::now();
        let found = find(engine, info, &cases, limit, args.precision);
        if found.failed.is_some() {
            code = 1;
        }
        output::print(&line(name, &found, &cases, start.elapsed(), args.precision));
    };
    output::print(&format!("\n{:<13} {:<8} against the reference\n", "device", "bits"));
    for (i, engine) in engines.iter().enumerate() {
        // The reference is what the others are compared with.
        for info in engine.devices().into_iter().filter(|info| info.id.engine != "reference" && wanted(args, info)) {
            one(&info.id.to_string(), engine.as_ref(), &info);
            let Some(exact_engine) = exact_engines.get(i).filter(|_| !info.exact) else { continue };
            let made_exact = exact_engine.devices().into_iter().find(|other| other.id == info.id && other.exact);
            if let Some(made_exact) = made_exact {
                one(&format!("{} --exact", info.id), exact_engine.as_ref(), &made_exact);
            }
        }
    }
    Ok(code)
}

/// Runs cases until one fails or the time is up.
fn find(engine: &dyn Engine, info: &DeviceInfo, cases: &[Case], limit: Duration, precision: Precision) -> Found {
    let start = Instant::now();
    let mut found = Found { exact: info.exact, ..Found::default() };
    if info.exact
        && let Err(difference) = operands(engine, &info.id)
    {
        found.failed = Some(difference);
        return found;
    }
    for case in cases {
        if start.elapsed() > limit {
            break;
        }
        let outcome = if info.exact {
            run(engine, &info.id, case).map(|()| None)
        } else {
            measure(engine, &info.id, case, precision).map(Some)
        };
        match outcome {
            Err(difference) => {
                found.failed = Some(difference);
                return found;
            }
            Ok(deviation) => {
                if let Some(Deviation { ulp, share, steps }) = deviation.filter(|_| smooth(case)) {
                    let most = found.deviation;
                    found.deviation = Deviation { ulp: most.ulp.max(ulp), share: most.share.max(share), steps };
                }
                found.cases += 1;
            }
        }
    }
    found
}

fn line(name: &str, found: &Found, cases: &[Case], time: Duration, precision: Precision) -> String {
    let part = if found.cases < cases.len() { ": the time limit was reached (--check-seconds)" } else { "" };
    let ran = format!("{} of {} cases, {:.1} s{part}", found.cases, cases.len(), time.as_secs_f64());
    let (verdict, what) = match found {
        Found { failed: Some(difference), .. } => ("failed", difference.clone()),
        Found { exact: true, .. } => ("exact", format!("every bit equals the reference's; {ran}")),
        Found { deviation: Deviation { ulp, share, steps }, .. } => {
            let (off, failure) = if precision == Precision::F32 {
                (format!("{ulp} last places"), format!("{CLOSE}"))
            } else {
                let failure = format!("{:.2} %", 100.0 * close_share(precision));
                (format!("{:.2} % of what training changed", 100.0 * share), failure)
            };
            let what = format!("weights differ by at most {off} after {steps} steps");
            ("close", format!("{what} (allowed: {failure}); {ran}"))
        }
    };
    format!("{name:<13} {verdict:<8} {what}\n")
}
