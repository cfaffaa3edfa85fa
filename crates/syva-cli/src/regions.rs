//! `syva regions`: the linear regions of a network, counted exactly and drawn.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};
use syva::data::{Dataset, Targets, Task};
use syva::regions::{AffineMap, Bounds, Certificate, Counts, Decision, Network, Slice, Subdivision};
use syva::run::{RunConfig, read_config};
use syva::schema::{Encoding, Scaler};
use syva::text::{grouped, number};
use syva::trainer::{Event, Flow};
use syva::{EngineOptions, Error, Head, Model, Result, Spec, State, Trainer};
use syva_plot::{Chart, Line, Picture, Plane, Polygon, Theme};

use crate::args::{List, RegionsArgs, SplitArg};
use crate::data::Talk;
use crate::{eval, output, plot};

/// The most pieces of a line that are listed.
const LISTED: usize = 24;

pub fn regions(args: &RegionsArgs) -> Result<()> {
    if let Some(widths) = &args.bounds {
        return bounds(widths, args.json);
    }
    let path = args.model.as_deref().unwrap_or_else(|| Path::new(""));
    if let Some(out) = &args.out {
        output::check_out("out", out)?;
        plot::check_picture(out)?;
        plot::ask_memory()?;
    }
    let model = eval::load(path)?.model;
    let named = |error| match error {
        Error::Mismatch { problem, remedy } => Error::file(path, "the model", problem, remedy),
        other => other,
    };
    let samples = args.line.as_ref().or(args.plane.as_ref());
    let is_run = path.join("config.toml").is_file();
    if samples.is_some() && !is_run && args.data.is_none() && model.spec.schema.is_some() {
        let problem = "a model file does not say where its table is";
        return Err(Error::file(path, "the model", problem, "give the folder of its run"));
    }
    let task = if samples.is_some() || is_run || args.data.is_some() {
        let talk = if args.json { Talk::Notices } else { Talk::All };
        match eval::task_for(path, args.data, args.data_dir.as_deref(), None, talk) {
            Ok(task) => Some(task),
            // Regions do not depend on data.
            Err(error) if samples.is_none() && args.every.is_none() && args.data.is_none() => {
                output::note(format_args!("syva: without the run's data: {error}"));
                None
            }
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    let view = View::new(args, &model.spec, task.as_ref()).map_err(named)?;
    if let Some(every) = args.every {
        let (Some(task), true) = (&task, is_run) else {
            let problem = format!("{} is no run's folder, so its training is not known", path.display());
            return Err(Error::setting("every", problem, "give the folder of a run"));
        };
        return over_training(args, path, task, &view, every);
    }
    let network = Network::new(&model, view.slice()?).map_err(named)?;
    let found = Found::new(&network, &model.spec, &view)?;
    if let Some(out) = &args.out {
        plot::write(&found.draw(&view, &output::name_of(path), plot::theme(args.theme)), out)?;
    }
    if args.json {
        output::json(found.json(&view));
    } else {
        output::line(found.text(&view, &model.spec));
        if let Some(out) = &args.out {
            output::line(out.display());
        }
    }
    Ok(())
}

/// `syva regions --bounds`.
fn bounds(List(widths): &List<usize>, json: bool) -> Result<()> {
    let (&inputs, hidden) = widths.split_first().unwrap_or((&0, &[]));
    if inputs == 0 || hidden.is_empty() || widths.iter().any(|&width| width > 100_000) || widths.len() > 1_000 {
        let problem = "these are not the widths of a network";
        let remedy = "give the inputs and then the width of each hidden layer, 100,000 at most, such as 2,50,50";
        return Err(Error::setting("bounds", problem, remedy));
    }
    let found = Bounds::relu(inputs, hidden);
    if json {
        output::json(json!({ "at_least": found.lower.to_string(), "at_most": found.upper.to_string() }));
        return Ok(());
    }
    output::line(possible(&found));
    Ok(())
}

/// What is known of the largest number of regions, in words.
fn possible(found: &Bounds) -> String {
    let (lower, upper) = (large(&found.lower.to_string()), large(&found.upper.to_string()));
    if lower == upper {
        return format!("{upper} at most, which some weights reach");
    }
    if found.lower == 1u32.into() {
        return format!("{upper} at most");
    }
    format!("{upper} at most; some weights reach {lower}")
}

/// A number of any size: in full up to 12 digits, then as a power of ten.
fn large(digits: &str) -> String {
    match digits.parse::<u64>() {
        Ok(value) if digits.len() <= 12 => grouped(value),
        _ => format!("{}.{} · 10^{}", &digits[..1], &digits[1..3], digits.len() - 1),
    }
}

/// Where a network is looked at.
struct View<'a> {
    bounds: Vec<[f64; 2]>,
    /// What the coordinates are.
    axes: Vec<String>,
    /// The samples through which a line or plane goes.
    through: Vec<Cow<'a, [f32]>>,
    /// Samples to draw: where they are, and the number of their class.
    points: Vec<((f64, f64), usize, String)>,
    /// The names of the classes.
    classes: Vec<String>,
}

impl<'a> View<'a> {
    fn new(args: &RegionsArgs, spec: &Spec, task: Option<&'a Task>) -> Result<Self> {
        let part = args.split.unwrap_or(SplitArg::Val);
        let classes = match (spec.named_classes(), spec.classes()) {
            (Some(names), _) => names.iter().map(|name| output::short(name)).collect(),
            (None, classes) => (0..classes).map(|class| class.to_string()).collect(),
        };
        let mut view = Self { bounds: Vec::new(), axes: Vec::new(), through: Vec::new(), points: Vec::new(), classes };
        let (flag, wanted) = if args.line.is_some() { ("line", 2) } else { ("plane", 3) };
        if let Some(List(samples)) = args.line.as_ref().or(args.plane.as_ref()) {
            let data = part.of(task.ok_or_else(|| Error::setting(flag, "there is no data", "name it with --data"))?);
            if samples.len() != wanted {
                let problem = format!("it names {}", output::count(samples.len() as u64, "sample"));
                return Err(Error::setting(
                    flag,
                    problem,
                    format!("give {wanted}, such as {}", &"0,1,2"[..2 * wanted - 1]),
                ));
            }
            if let Some(&beyond) = samples.iter().find(|&&sample| sample >= data.samples()) {
                let problem = format!("there is no sample {beyond}");
                return Err(Error::setting(flag, problem, format!("give numbers up to {}", data.samples() - 1)));
            }
            if let Some(twice) = (1..wanted).find(|&k| samples[..k].contains(&samples[k])) {
                let problem = format!("sample {} is named twice", samples[twice]);
                return Err(Error::setting(flag, problem, "name different ones"));
            }
            view.through =
                samples.iter().map(|&sample| data.inputs().rows(sample..sample + 1, data.features())).collect();
            let at = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)];
            let point = |(&sample, at): (&usize, (f64, f64))| {
                let class = class_of(data, sample);
                let name =
                    class.and_then(|class| view.classes.get(class)).map_or(String::new(), |name| format!(": {name}"));
                (at, class.unwrap_or(0), format!("sample {sample}{name}"))
            };
            view.points = samples.iter().zip(at).map(point).collect();
            let first = samples[0];
            view.axes =
                samples[1..].iter().map(|sample| format!("share of the way from sample {first} to {sample}")).collect();
            view.bounds = vec![if wanted == 2 { [0.0, 1.0] } else { [-0.5, 1.5] }; wanted - 1];
        } else {
            let features = spec.input.features;
            view.axes = match &spec.schema {
                Some(schema) => {
                    let is_raw = |encoding: &Encoding| match encoding {
                        Encoding::Number(number) => {
                            number.scaler == Scaler::Affine { centre: 0.0, factor: 1.0, clip: false }
                        }
                        _ => false,
                    };
                    let note =
                        if schema.features.iter().all(|feature| is_raw(&feature.encoding)) { "" } else { ", scaled" };
                    schema.input_names().iter().map(|name| output::short(name) + note).collect()
                }
                None => (1..=features).map(|input| format!("x{input}")).collect(),
            };
            view.bounds = vec![[-1.0, 1.0]; features];
            if let Some(task) = task.filter(|task| (1..=2).contains(&features) && task.train.features() == features) {
                view.bounds = (0..features).map(|feature| range_of(&task.train, feature)).collect();
                let data = part.of(task);
                let place = |sample: usize| {
                    let row = data.inputs().rows(sample..sample + 1, features);
                    (f64::from(row[0]), f64::from(row.get(1).copied().unwrap_or(0.0)))
                };
                let point = |sample| (place(sample), class_of(data, sample).unwrap_or(0), String::new());
                view.points = (0..data.samples()).map(point).collect();
            }
        }
        if let Some(List(numbers)) = &args.bounding_box {
            if numbers.len() != 2 * view.bounds.len() {
                let problem = format!("it has {}", output::count(numbers.len() as u64, "number"));
                let remedy = if view.bounds.len() == 1 { "give X0,X1" } else { "give X0,X1,Y0,Y1" };
                return Err(Error::setting("box", problem, remedy));
            }
            view.bounds = numbers.chunks(2).map(|range| [range[0], range[1]]).collect();
        }
        Ok(view)
    }

    fn slice(&self) -> Result<Slice<'_>> {
        match &self.through[..] {
            [] => Ok(Slice::Inputs),
            [a, b] => Ok(Slice::Line([a, b])),
            [a, b, c] => Ok(Slice::Plane([a, b, c])),
            _ => Err(Error::setting("plane", "there are too many samples", "give three")),
        }
    }
}

/// The class of a sample, if it has one.
fn class_of(data: &Dataset, sample: usize) -> Option<usize> {
    match data.targets() {
        Targets::Classes { labels, .. } => labels.get(sample).map(|&label| label as usize),
        Targets::Values { .. } => None,
    }
}

/// A feature's range in data, and a little around it.
fn range_of(data: &Dataset, feature: usize) -> [f64; 2] {
    let values = (0..data.samples()).map(|sample| f64::from(data.inputs().get(sample * data.features() + feature)));
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let around = if high > low { 0.05 * (high - low) } else { 1.0 };
    [low - around, high + around]
}

/// What was found of a network.
struct Found<'a> {
    regions: Subdivision<'a>,
    counts: Counts,
    linear: syva::regions::LinearRegions,
    bounds: Bounds,
    /// Where it decides for which class, if it does.
    decision: Option<Decision<'a>>,
    pieces: Vec<Piece>,
}

/// A piece of a line.
struct Piece {
    ends: [f64; 2],
    /// Where it begins, as an exact fraction.
    begins: (String, String),
    map: AffineMap,
}

impl<'a> Found<'a> {
    fn new(network: &'a Network, spec: &Spec, view: &View) -> Result<Self> {
        let mut regions = Subdivision::new(network, &view.bounds)?;
        let decides = matches!(spec.head, Head::Binary | Head::Logits | Head::LogSoftmax);
        let decision = if decides && network.outputs() <= Network::MAX_CLASSES {
            Some(regions.clone().into_decision()?)
        } else {
            None
        };
        let linear = regions.linear_regions();
        let mut pieces: Vec<Piece> = Vec::new();
        if network.dimensions() == 1 {
            for number in 0..regions.regions().len() {
                let region = regions.regions()[number].clone();
                let [from, to] = [region.corners[0], region.corners[1]];
                let end = regions.vertices()[to as usize][0];
                // A linear region is one piece, however many activation regions it has.
                if number > 0 && linear.of[number] == linear.of[number - 1] {
                    pieces.last_mut().expect("there is one before").ends[1] = end;
                    continue;
                }
                let (numerators, denominator) = regions.exact_vertex(from);
                pieces.push(Piece {
                    ends: [regions.vertices()[from as usize][0], end],
                    begins: (numerators[0].clone(), denominator),
                    map: regions.map(&region),
                });
            }
        }
        Ok(Self { counts: regions.counts(), linear, bounds: network.bounds(), decision, regions, pieces })
    }

    fn text(&self, view: &View, spec: &Spec) -> String {
        let Counts { regions, edges, vertices } = self.counts;
        let ranges: Vec<String> = view
            .axes
            .iter()
            .zip(&view.bounds)
            .map(|(axis, &[low, high])| format!("{axis}: {} to {}", number(low), number(high)))
            .collect();
        let count = |value: usize| grouped(value as u64);
        let mut lines = vec![
            format!("{}; {}", spec.widths(), ranges.join("; ")),
            format!(
                "activation regions  {} ({}, {} vertices)",
                count(regions),
                output::count(edges as u64, "edge"),
                count(vertices)
            ),
            format!("linear regions      {}", count(self.linear.count)),
            format!("networks like it    {}", possible(&self.bounds)),
        ];
        let hidden = &self.regions.by_layer()[..spec.layers.len().saturating_sub(1)];
        if hidden.len() > 1 {
            let layers: Vec<String> = hidden.iter().map(|counts| count(counts.regions)).collect();
            lines.push(format!("after each layer    {}", layers.join(", ")));
        }
        if let Some(decision) = &self.decision {
            let pieces = if view.bounds.len() == 1 {
                let changes = decision.classes().windows(2).filter(|pair| pair[0] != pair[1]).count();
                output::count(changes as u64, "point")
            } else {
                output::count(decision.boundary().len() as u64, "segment")
            };
            lines.push(format!("decision boundary   {pieces}"));
        }
        lines.push(format!("certainty           {}", certainty(&self.regions.certificate(), vertices)));
        if !self.pieces.is_empty() && self.pieces.len() <= LISTED && spec.outputs() == 1 {
            for Piece { ends, map, .. } in &self.pieces {
                let (slope, constant) = (map.gradient[0][0], map.constant[0]);
                let sign = if constant < 0.0 { '-' } else { '+' };
                let formula = format!("{:.6} x {sign} {:.6}", slope, constant.abs());
                lines.push(format!("  {:>12.6} to {:>12.6}: {formula}", ends[0], ends[1]));
            }
        }
        lines.join("\n")
    }

    fn json(&self, view: &View) -> Value {
        let Counts { regions, edges, vertices } = self.counts;
        let counts =
            |counts: &Counts| json!({ "regions": counts.regions, "edges": counts.edges, "vertices": counts.vertices });
        let certificate = self.regions.certificate();
        let mut found = json!({
            "box": view.bounds,
            "activation_regions": regions,
            "linear_regions": self.linear.count,
            "edges": edges,
            "vertices": vertices,
            "by_layer": self.regions.by_layer().iter().map(counts).collect::<Vec<_>>(),
            "at_least": self.bounds.lower.to_string(),
            "at_most": self.bounds.upper.to_string(),
            "margin": certificate.margin.is_finite().then_some(certificate.margin),
            "exact_vertices": certificate.exact,
        });
        if let Some(decision) = &self.decision {
            let places = decision.subdivision().vertices();
            let ends = |edge: &syva::regions::Edge| edge.ends.map(|end| places[end as usize]);
            if view.bounds.len() == 2 {
                found["boundary"] = json!(decision.boundary().iter().map(ends).collect::<Vec<_>>());
            }
        }
        if view.bounds.len() == 1 {
            let piece = |piece: &Piece| {
                json!({
                    "from": piece.ends[0],
                    "to": piece.ends[1],
                    "from_exactly": [piece.begins.0, piece.begins.1],
                    "gradient": piece.map.gradient.iter().map(|row| row[0]).collect::<Vec<_>>(),
                    "constant": piece.map.constant,
                })
            };
            found["pieces"] = self.pieces.iter().map(piece).collect();
        }
        found
    }

    fn draw(&self, view: &View, name: &str, theme: Theme) -> Picture {
        let count = |value: usize| grouped(value as u64);
        let title = format!(
            "{name}: {} linear regions, {} activation regions",
            count(self.linear.count),
            count(self.counts.regions)
        );
        if view.bounds.len() == 1 {
            return self.curve(view, &title, theme);
        }
        let (regions, classes) = match &self.decision {
            Some(decision) => (decision.subdivision(), Some(decision.classes())),
            None => (&self.regions, None),
        };
        let place = |vertex: u32| {
            let [x, y] = regions.vertices()[vertex as usize];
            (x, y)
        };
        // A decision cuts regions further, so they are found by their patterns.
        let linear: std::collections::HashMap<&[u8], u32> = self
            .regions
            .regions()
            .iter()
            .map(|region| &region.pattern[..])
            .zip(self.linear.of.iter().copied())
            .collect();
        // Only classes that are seen have a colour.
        let mut seen: Vec<usize> = view.points.iter().map(|point| point.1).collect();
        seen.extend(classes.unwrap_or_default().iter().map(|&class| class as usize));
        seen.sort_unstable();
        seen.dedup();
        let color = |class: usize| seen.binary_search(&class).unwrap_or(0);
        let points: Vec<_> = view.points.iter().map(|(at, class, name)| (*at, color(*class), name.clone())).collect();
        let names: Vec<String> = seen.iter().filter_map(|&class| view.classes.get(class).cloned()).collect();
        let polygon = |(number, region): (usize, &syva::regions::Region)| {
            let linear = linear.get(&region.pattern[..]).copied().unwrap_or_default();
            Polygon {
                corners: region.corners.iter().map(|&corner| place(corner)).collect(),
                group: classes.map_or(0, |classes| color(classes[number] as usize)),
                // The multiples of the golden ratio are spread over 0 … 1, and those that follow each other are far apart.
                shade: (f64::from(linear) * 0.618_033_988_749_895).fract(),
            }
        };
        let polygons: Vec<Polygon> = regions.regions().iter().enumerate().map(polygon).collect();
        let boundary = self.decision.as_ref().map_or(Vec::new(), Decision::boundary);
        let boundary: Vec<_> = boundary.iter().map(|edge| edge.ends.map(place)).collect();
        syva_plot::plane(
            &Plane {
                title: [&title, &format!("networks like it: {}", possible(&self.bounds))],
                axes: [&view.axes[0], &view.axes[1]],
                bounds: [view.bounds[0], view.bounds[1]],
                polygons: &polygons,
                boundary: &boundary,
                points: &points,
                groups: if classes.is_some() { &names } else { &[] },
            },
            theme,
        )
    }

    /// The outputs along a line. They are straight between the points.
    fn curve(&self, view: &View, title: &str, theme: Theme) -> Picture {
        let outputs = self.regions.network().outputs().min(12);
        let of_output = |output: usize| {
            let ends = self.pieces.first().map(|piece| piece.ends[0]).into_iter();
            let places = ends.chain(self.pieces.iter().map(|piece| piece.ends[1]));
            let pieces = self.pieces.iter().take(1).chain(&self.pieces);
            let points = places
                .zip(pieces)
                .map(|(x, Piece { map, .. })| (x, map.gradient[output][0] * x + map.constant[output]));
            let name = view.classes.get(output).filter(|_| outputs > 1).cloned().unwrap_or_else(|| "output".into());
            // A colour that comes back is dashed.
            let dash: &[f64] = if output < syva_plot::COLORS { &[] } else { &[6.0, 3.0] };
            Line::new(&name, points.collect::<Vec<_>>()).look(output % syva_plot::COLORS, dash)
        };
        let lines: Vec<Line> = (0..outputs).map(of_output).collect();
        Chart { title, x: &view.axes[0], y: "output", lines: &lines, mark: None }.draw(theme)
    }
}

/// How certain counts are.
fn certainty(certificate: &Certificate, vertices: usize) -> String {
    let integers = match certificate.exact {
        0 => "no vertex needed exact integers".into(),
        exact => {
            format!("exact integers decided at {} of {} vertices", grouped(exact as u64), grouped(vertices as u64))
        }
    };
    if certificate.margin.is_finite() {
        return format!("exact; the smallest margin was {:.1e}, {integers}", certificate.margin);
    }
    format!("exact; {integers}")
}

/// `syva regions --every`.
fn over_training(args: &RegionsArgs, path: &Path, task: &Task, view: &View, every: u64) -> Result<()> {
    let config = read_config(path)?;
    let RunConfig { network: spec, training, .. } = &config;
    // Refused before any training.
    let mut model = Model::new(spec.clone(), State::initial_on(spec, training, &task.train)?);
    Network::new(&model, view.slice()?)?;
    let (engine, device) = syva::engine("auto", EngineOptions::default())?;
    let mut trainer = match &config.init_from {
        Some(start) => Trainer::from_model(engine.as_ref(), &device, spec, task, training, &start.load()?)?,
        None => Trainer::new(engine.as_ref(), &device, spec, task, training)?,
    }
    .inspect_every(every);
    if !args.json {
        output::line(format_args!(
            "{:>7}  {:>19}  {:>15}  {:>9}",
            "epoch", "activation regions", "linear regions", "vertices"
        ));
    }
    let mut epochs: Vec<Value> = Vec::new();
    let mut curves = [Vec::new(), Vec::new()];
    let mut count = |epoch: u64, state: &State| -> Result<()> {
        model.state = state.clone().for_prediction();
        let network = Network::new(&model, view.slice()?)?;
        let regions = Subdivision::new(&network, &view.bounds)?;
        let (counts, linear) = (regions.counts(), regions.linear_regions().count);
        curves[0].push((epoch as f64, counts.regions as f64));
        curves[1].push((epoch as f64, linear as f64));
        if args.json {
            epochs.push(json!({
                "epoch": epoch,
                "activation_regions": counts.regions,
                "linear_regions": linear,
                "edges": counts.edges,
                "vertices": counts.vertices,
            }));
        } else {
            output::line(format_args!("{epoch:>7}  {:>19}  {linear:>15}  {:>9}", counts.regions, counts.vertices));
        }
        Ok(())
    };
    let mut is_first = true;
    trainer.run(&mut |event| {
        match event {
            Event::Checkpoint { state, .. } if std::mem::take(&mut is_first) => count(0, state)?,
            Event::Inspection { epoch, state, .. } => count(*epoch, state)?,
            _ => {}
        }
        Ok(Flow::Continue)
    })?;
    let digest = trainer.model()?.digest();
    if args.json {
        output::json(json!({ "box": view.bounds, "epochs": epochs, "sha256_of_weights": digest }));
    }
    if let Some(out) = &args.out {
        let [activation, linear] = curves;
        let lines = if activation == linear {
            vec![Line::new("activation and linear regions", activation)]
        } else {
            vec![Line::new("activation regions", activation), Line::new("linear regions", linear)]
        };
        let title = format!("{}: regions over the training", output::name_of(path));
        let chart = Chart { title: &title, x: "epoch", y: "regions", lines: &lines, mark: None };
        plot::write(&chart.draw(plot::theme(args.theme)), out)?;
        if !args.json {
            output::line(out.display());
        }
    }
    Ok(())
}
