//! `syva lr-find`: which learning rate to begin with.

use std::path::Path;

use syva::files::write_atomically;
use syva::text::number;
use syva::{Error, RateRange, RateTest, Result};
use syva_plot::{Chart, Line, Theme};

use crate::args::LrFindArgs;
use crate::data::Talk;
use crate::train::SetUp;
use crate::{hyperparameters, output};

/// The most lines of the table.
const LINES: usize = 12;

pub fn lr_find(args: &LrFindArgs) -> Result<()> {
    if let Some(plot) = &args.plot {
        output::check_out("plot", plot)?;
        output::check_ending("plot", plot, &["png", "svg"])?;
    }
    let talk = if args.json { Talk::Notices } else { Talk::All };
    let SetUp { config, task, engine, device, start, .. } =
        SetUp::new(&args.settings, args.config.as_deref(), args.like.as_deref(), talk)?;
    if start.is_some() {
        let problem = "the test begins with drawn weights";
        return Err(Error::setting("init-from", problem, "leave it out; rates for further training are usually lower"));
    }
    let range = RateRange { from: args.from, to: args.to, steps: args.steps };
    let test = RateTest::run(engine.as_ref(), &device, &config.network, &task, &config.training, range)?;
    if let Some(plot) = &args.plot {
        draw(&test, plot)?;
    }
    if args.json {
        let mut report = hyperparameters::json(&config);
        report.insert("rate".into(), test.rate().map(short).into());
        report.insert("steepest".into(), test.steepest().map(short).into());
        report.insert("tenth_of_lowest".into(), test.tenth().map(short).into());
        report.insert("exploded".into(), test.exploded.into());
        report.insert("rates".into(), test.rates.iter().map(|&rate| short(rate)).collect::<Vec<_>>().into());
        report.insert("losses".into(), test.losses.clone().into());
        output::json(serde_json::Value::Object(report));
        return Ok(());
    }
    output::print(&table(&test));
    if let Some(plot) = &args.plot {
        output::line(format_args!("wrote {}", plot.display()));
    }
    Ok(())
}

/// A rate with three digits, which are more than a test can tell.
fn short(rate: f32) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(0.0)
}

fn table(test: &RateTest) -> String {
    let mut text = format!("{:>13} {:>10}\n", "learning rate", "loss");
    let steps = test.rates.len();
    let every = steps.div_ceil(LINES).max(1);
    for step in (0..steps).step_by(every) {
        text += &format!("{:>13} {:>10}\n", short(test.rates[step]), number(test.smoothed[step]));
    }
    if let Some(&last) = test.rates.last().filter(|_| test.exploded) {
        text += &format!("{:>13} exploded\n", short(last));
    }
    match (test.rate(), test.steepest(), test.tenth()) {
        (Some(rate), Some(steepest), Some(tenth)) => {
            text += &format!(
                "the loss falls fastest at {}, a tenth of the rate with the lowest loss is {}\n",
                short(steepest),
                short(tenth)
            );
            text + &format!("try --lr {}\n", short(rate))
        }
        _ => {
            text + "the loss did not fall, so no rate can be named; try another range (--from, --to) or more --steps\n"
        }
    }
}

/// Draws the losses over the rates.
fn draw(test: &RateTest, path: &Path) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "only for a picture")]
    let at = |rate: f32| f64::from(rate).log10();
    let line =
        |name, losses: &[f64]| Line::new(name, test.rates.iter().map(|&rate| at(rate)).zip(losses.iter().copied()));
    let mut raw = line("", &test.losses).look(0, &[]);
    raw.pale = true;
    let label = test.rate().map(|rate| format!("{} (dotted)", short(rate)));
    let mark = test.rate().map(at).zip(label.as_deref());
    let lines = [raw, line("loss", &test.smoothed).look(0, &[])];
    let (title, x) = ("loss by learning rate", "power of ten of the learning rate");
    let picture = Chart { title, x, y: "loss", lines: &lines, mark }.draw(Theme::Light);
    let bytes = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
        picture.to_svg().into_bytes()
    } else {
        picture.to_png().map_err(|problem| Error::setting("plot", problem, "give a name that ends in .svg"))?
    };
    write_atomically(path, |file| file.write_all(&bytes))
}
