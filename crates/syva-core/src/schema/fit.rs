//! Fits a [`Schema`] to a table.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dates::{DateFormat, DatePart};
use super::kinds::{Kind, LeftOut, Profile, doubt, occurring, profile};
use super::quantiles::{Quantiles, sorted_quantile};
use super::{
    Encoding, Feature, MOST_CATEGORIES, NumberEncoding, Scaler, Scaling, Schema, Target, TargetTransform, TaskKind,
    Transform, ValueTarget, number_of, smooth_clip, truth,
};
use crate::embedding::{Block, Embedding, NumberEmbedding};
use crate::spec::Normalization;
use crate::table::{Column, MISSING, Table, Values, number_text};
use crate::text::grouped;
use crate::{Error, Result};

/// What is wanted of a table: what it says of its columns, and what is found out where it says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TableOptions {
    /// The columns that are predicted.
    pub target: Vec<String>,
    /// What kind of target it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskKind>,
    /// The classes of the target, in the order of the outputs. If there are none here, they are those that occur, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Columns that are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numeric: Vec<String>,
    /// Columns that are categories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Columns that are not used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// The column of what the rows weigh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The column whose equal values stay in one part of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How numbers are scaled.
    pub scaling: Scaling,
    /// What a target of numbers goes through.
    pub target_transform: TargetTransform,
    /// Whether targets of numbers are then standardised. Counts are not.
    pub standardise: bool,
    /// Whether predicted numbers are held to the range of the training data.
    pub clamp: bool,
    /// How numbers are embedded.
    pub embedding: NumberEmbedding,
    /// The most categories that are inputs of their own. A column of more is embedded. None is if this is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embed_above: Option<usize>,
    /// The length of the vectors of embedded categories.
    pub embedding_size: usize,
    /// Whether inputs have factors that are learned.
    pub input_factors: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            target: Vec::new(),
            task: None,
            classes: Vec::new(),
            numeric: Vec::new(),
            categorical: Vec::new(),
            ignore: Vec::new(),
            weight: None,
            group: None,
            scaling: Scaling::Standard,
            target_transform: TargetTransform::None,
            standardise: true,
            clamp: false,
            embedding: NumberEmbedding::None,
            embed_above: None,
            embedding_size: 8,
            input_factors: false,
        }
    }
}

/// A schema, and what its user should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The schema.
    pub schema: Schema,
    /// What the first layer does to the inputs that the schema makes: the scales of categories.
    pub normalization: Normalization,
    /// What the network is to learn of its inputs before the first layer.
    pub embedding: Option<Embedding>,
    /// Sentences about columns that are left out, and what was found out of the target.
    pub notes: Vec<String>,
}

/// The most different whole numbers that are taken for classes.
const MOST_NUMBERED: usize = 20;

impl Schema {
    /// Finds out what the columns of a table are, and fits the encodings to its training part.
    ///
    /// # Errors
    /// If the options name a column that there is not, no column is left to learn from, or the target cannot be learned:
    /// it is the same in all rows, or has another kind than was asked for.
    pub fn fit(all: &Table, train: &Table, options: &TableOptions) -> Result<Fitted> {
        FoundOut::of(all, options)?.fit(train, options)
    }
}

/// What is found out of all rows of a table, before its encodings are fitted to some of them.
pub(crate) struct FoundOut {
    profiles: Vec<Profile>,
    target: Wanted,
}

/// What is known of the target from all rows.
enum Wanted {
    /// Everything.
    Known(Target, Option<String>),
    /// That these columns are numbers, which are still to be fitted.
    Values(Vec<String>),
}

impl FoundOut {
    /// Finds out what the columns of a table are.
    pub(crate) fn of(all: &Table, options: &TableOptions) -> Result<Self> {
        Ok(Self { profiles: profile(all, options)?, target: wanted(all, options)? })
    }

    /// Fits the encodings to the training part of the table.
    pub(crate) fn fit(self, train: &Table, options: &TableOptions) -> Result<Fitted> {
        let Self { profiles, target } = self;
        let mut notes = left_out(&profiles);
        // Whoever says that the target has classes knows what its texts are.
        let is_known = |found: &Profile| found.kind == Kind::Target && options.task.is_some();
        notes.extend(profiles.iter().filter(|found| !is_known(found)).filter_map(|found| found.doubt.clone()));
        let (mut numbers, mut pairs, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut levels = Vec::new();
        for (Profile { column: name, kind, .. }, column) in profiles.iter().zip(train.columns()) {
            let add = |to: &mut Vec<Feature>, encoding| to.push(Feature { column: name.clone(), encoding });
            match kind {
                Kind::Number => {
                    let values = numbers_of(train, column)?;
                    add(&mut numbers, Encoding::Number(number(&values, options.scaling)));
                }
                Kind::Date(format) => add(&mut numbers, date(column, *format, options.scaling)),
                Kind::Category => {
                    let (encoding, of_each, note) = category(column, options.scaling);
                    let is_pair = matches!(encoding, Encoding::Binary { .. });
                    let is_embedded = !is_pair && options.embeds(encoding.inputs());
                    add(if is_pair { &mut pairs } else { &mut others }, encoding);
                    // Vectors are not scaled.
                    levels.extend(of_each.into_iter().map(|level| if is_embedded { [0.0, 1.0] } else { level }));
                    notes.extend(note);
                }
                Kind::Target | Kind::Weight | Kind::Group | Kind::LeftOut(_) => {}
            }
        }
        // Categories come last, so that their codes are all that has to be stored.
        numbers.append(&mut pairs);
        numbers.append(&mut others);
        // A column that happens to be missing in the whole training part has nothing to say.
        numbers.retain(|feature| feature.encoding.inputs() > 0);
        if numbers.is_empty() {
            let why = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
            let problem = format!("no column is left to learn from{why}");
            return Err(Error::mismatch(problem, "name some with --numeric or --categorical, or ignore fewer"));
        }
        let target = match target {
            Wanted::Known(target, note) => {
                notes.extend(note);
                target
            }
            Wanted::Values(names) => {
                let columns =
                    names.iter().map(|name| value_target(train, name, options)).collect::<Result<Vec<_>>>()?;
                Target::Values { columns }
            }
        };
        let schema = Schema { features: numbers, target };
        let normalization = scales(schema.inputs() - levels.len(), &levels, options.scaling);
        let embedding = embedding(&schema, options);
        Ok(Fitted { schema, normalization, embedding, notes })
    }
}

/// The classes of a target, if that is what [`Schema::fit`] finds out of these rows: the column, and their names.
pub(crate) fn classes_of(table: &Table, options: &TableOptions) -> Result<Option<(String, Vec<String>)>> {
    Ok(match wanted(table, options)? {
        Wanted::Known(Target::Classes { column, classes }, _) => Some((column, classes)),
        Wanted::Known(..) | Wanted::Values(_) => None,
    })
}

/// Sentences about the columns that are not used.
fn left_out(profiles: &[Profile]) -> Vec<String> {
    let mut notes = Vec::new();
    for reason in [LeftOut::Empty, LeftOut::Constant, LeftOut::Id, LeftOut::Text] {
        let names: Vec<String> = profiles
            .iter()
            .filter(|found| found.kind == Kind::LeftOut(reason))
            .map(|found| format!("'{}'", found.column))
            .collect();
        let said = match &names[..] {
            [] => continue,
            [one] => format!("column {one} {}", reason.reason()),
            [.., last] if names.len() <= 6 => {
                format!("each of the columns {} and {last} {}", names[..names.len() - 1].join(", "), reason.reason())
            }
            [first, rest @ ..] => format!("each of column {first} and {} others {}", rest.len(), reason.reason()),
        };
        notes.push(format!("{said}: left out"));
    }
    notes
}

/// The numbers of a column that is to have numbers.
fn numbers_of(table: &Table, column: &Column) -> Result<Vec<f64>> {
    let values: Vec<f64> = (0..table.rows()).map(|row| number_of(column, row)).collect();
    if let Some(row) = (0..values.len()).find(|&row| !values[row].is_finite() && !column.values.is_missing(row)) {
        let text = column.cell(row).unwrap_or_default();
        let (name, row) = (&column.name, table.row_number(row));
        let problem = format!("row {row} of column '{name}' is '{text}', which is not a number");
        return Err(Error::mismatch(problem, format!("correct the cell, or use --categorical '{name}'")));
    }
    Ok(values)
}

fn number(values: &[f64], scaling: Scaling) -> NumberEncoding {
    let mut present: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    let missing = values.len() - present.len();
    let scaler = scaler(&mut present, scaling);
    let median = match &scaler {
        _ if present.is_empty() => 0.0,
        Scaler::Affine { centre, .. } if scaling == Scaling::Robust => *centre,
        _ => quantile(&mut present, 0.5),
    };
    let indicator = (missing > 0).then(|| levels(&[(0.0, values.len() - missing), (1.0, missing)], scaling));
    NumberEncoding { median, scaler, indicator: indicator.map(|levels| [levels[0], levels[1]]) }
}

/// The quantile of numbers, which it reorders.
fn quantile(values: &mut [f64], probability: f64) -> f64 {
    let place = probability * (values.len() - 1) as f64;
    let below = place.floor() as usize;
    let (_, &mut a, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let b = above.iter().copied().min_by(f64::total_cmp).unwrap_or(a);
    a + (b - a) * (place - below as f64)
}

/// The quartiles of numbers, which it reorders. What the median divides, the others need only a half of.
fn quartiles(values: &mut [f64]) -> [f64; 3] {
    let count = values.len();
    let median = quantile(values, 0.5);
    let middle = (0.5 * (count - 1) as f64).floor() as usize;
    let mut at = |probability: f64| {
        let place = probability * (count - 1) as f64;
        let below = place.floor() as usize;
        let half = match below.cmp(&middle) {
            Ordering::Less => 0..middle + 1,
            Ordering::Equal => 0..count,
            Ordering::Greater => middle + 1..count,
        };
        let first = half.start;
        let (_, &mut a, above) = values[half].select_nth_unstable_by(below - first, f64::total_cmp);
        let b = above.iter().copied().min_by(f64::total_cmp).unwrap_or(a);
        a + (b - a) * (place - below as f64)
    };
    [at(0.25), median, at(0.75)]
}

/// How present numbers are scaled. They may be reordered.
fn scaler(present: &mut [f64], scaling: Scaling) -> Scaler {
    let affine = |centre: f64, factor: f64, clip| {
        // The inverse of a tiny spread may be infinite.
        let factor = if factor.is_finite() { factor } else { 0.0 };
        Scaler::Affine { centre, factor, clip }
    };
    if present.is_empty() {
        return affine(0.0, 0.0, false);
    }
    match scaling {
        Scaling::None => affine(0.0, 1.0, false),
        Scaling::Standard => {
            let (mean, std) = mean_std(present);
            affine(mean, if std > 0.0 { 1.0 / std } else { 0.0 }, false)
        }
        Scaling::Robust => {
            let [low, median, high] = quartiles(present);
            let least = present.iter().copied().fold(f64::INFINITY, f64::min);
            let most = present.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            affine(median, robust_factor(high - low, most - least), true)
        }
        Scaling::Quantile => Scaler::Quantiles(Quantiles::of(present)),
    }
}

/// The factor for numbers whose quartiles, and whose ends, are so far apart.
fn robust_factor(quartiles: f64, range: f64) -> f64 {
    if quartiles != 0.0 {
        1.0 / quartiles
    } else if range != 0.0 {
        2.0 / range
    } else {
        0.0
    }
}

/// Mean and population standard deviation. That of equal numbers is 0, whatever rounding makes of their mean.
fn mean_std(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    // Scaled, so that sums of huge numbers do not overflow.
    let mean = values.iter().map(|x| x / n).sum::<f64>();
    let mean = if values.iter().all(|x| x.abs() < 1e150) { values.iter().sum::<f64>() / n } else { mean };
    if values.iter().all(|&x| x == values[0]) {
        return (values[0], 0.0);
    }
    let largest = values.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
    if largest > 1e150 {
        let variance = values.iter().map(|x| ((x - mean) / largest).powi(2)).sum::<f64>() / n;
        return (mean, largest * variance.sqrt());
    }
    (mean, (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt())
}

/// The scaled values of an input that has a few values, which occur so often in the training data.
fn levels(counts: &[(f64, usize)], scaling: Scaling) -> Vec<f64> {
    if scaling != Scaling::Robust {
        return counts.iter().map(|&(value, _)| value).collect();
    }
    let mut sorted: Vec<(f64, usize)> = counts.iter().copied().filter(|&(_, count)| count > 0).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: usize = sorted.iter().map(|(_, count)| count).sum();
    let at = |place: usize| {
        let mut before = 0;
        for &(value, count) in &sorted {
            before += count;
            if place < before {
                return value;
            }
        }
        sorted.last().map_or(0.0, |&(value, _)| value)
    };
    let quantile = |probability: f64| {
        let place = probability * total.saturating_sub(1) as f64;
        let below = place.floor() as usize;
        sorted_quantile(&[at(below), at(below + 1)], place - below as f64)
    };
    let centre = quantile(0.5);
    let range = sorted.last().map_or(0.0, |last| last.0) - sorted.first().map_or(0.0, |first| first.0);
    let factor = robust_factor(quantile(0.75) - quantile(0.25), range);
    counts.iter().map(|&(value, _)| smooth_clip((value - centre) * factor)).collect()
}

fn date(column: &Column, format: DateFormat, scaling: Scaling) -> Encoding {
    let moments: Vec<_> =
        (0..column.values.len()).map(|row| column.cell(row).and_then(|text| format.read(&text))).collect();
    let parts = DatePart::ALL.into_iter().filter_map(|part| {
        let values: Vec<f64> = moments.iter().map(|moment| moment.map_or(f64::NAN, |moment| part.of(moment))).collect();
        let mut present = values.iter().filter(|x| !x.is_nan());
        let first = present.next()?;
        // A part that is the same in all rows says nothing. That it is missing, one part says for all.
        let varies = present.any(|x| x != first);
        let mut encoding = number(&values, scaling);
        if part != DatePart::Elapsed {
            encoding.indicator = None;
        }
        (varies || part == DatePart::Elapsed).then_some((part, encoding))
    });
    Encoding::Date { format, parts: parts.collect() }
}

/// The texts of a column's cells with their counts, sorted: by their numbers if all are numbers, otherwise by their bytes.
fn counted(column: &Column) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = match &column.values {
        Values::Texts(texts) => {
            let mut counts = vec![0; texts.vocabulary().len()];
            texts.codes().iter().filter(|&&code| code != MISSING).for_each(|&code| counts[code as usize] += 1);
            occurring(texts).into_iter().map(|place| (texts.vocabulary()[place].clone(), counts[place])).collect()
        }
        Values::Numbers(values) => {
            let mut counts = HashMap::new();
            let present = values.iter().filter(|x| !x.is_nan());
            present.for_each(|x| *counts.entry((x + 0.0).to_bits()).or_insert(0) += 1);
            counts.into_iter().map(|(bits, count)| (number_text(f64::from_bits(bits)), count)).collect()
        }
    };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    if counts.iter().all(|(text, _)| number(text).is_some()) {
        let key = |text: &str| number(text).unwrap_or_default();
        counts.sort_by(|(a, _), (b, _)| key(a).total_cmp(&key(b)).then_with(|| a.cmp(b)));
    } else {
        counts.sort_unstable();
    }
    counts
}

impl TableOptions {
    /// Whether a column of so many categories is embedded.
    fn embeds(&self, categories: usize) -> bool {
        self.embed_above.is_some_and(|most| categories > most)
    }
}

/// The embedding of the inputs that a schema makes.
fn embedding(schema: &Schema, options: &TableOptions) -> Option<Embedding> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut add = |block: Block| match (blocks.last_mut(), block) {
        (Some(Block::Plain { features }), Block::Plain { features: more })
        | (Some(Block::Periodic { features, .. }), Block::Periodic { features: more, .. })
        | (Some(Block::Piecewise { features, .. }), Block::Piecewise { features: more, .. }) => *features += more,
        _ => blocks.push(block),
    };
    let number = |add: &mut dyn FnMut(Block), encoding: &NumberEncoding| {
        add(match options.embedding {
            NumberEmbedding::None => Block::Plain { features: 1 },
            NumberEmbedding::Periodic { frequencies, outputs } => Block::Periodic { features: 1, frequencies, outputs },
            NumberEmbedding::Piecewise { bins, outputs } => Block::Piecewise { features: 1, bins, outputs },
        });
        if encoding.indicator.is_some() {
            add(Block::Plain { features: 1 });
        }
    };
    for Feature { encoding, .. } in &schema.features {
        match encoding {
            Encoding::Number(encoding) => number(&mut add, encoding),
            Encoding::Date { parts, .. } => parts.iter().for_each(|(_, encoding)| number(&mut add, encoding)),
            Encoding::Binary { .. } => add(Block::Plain { features: 1 }),
            Encoding::Category { .. } if options.embeds(encoding.inputs()) => {
                add(Block::Category { features: encoding.inputs(), size: options.embedding_size });
            }
            Encoding::Category { .. } => add(Block::Plain { features: encoding.inputs() }),
        }
    }
    let learns = options.input_factors || blocks.iter().any(|block| !matches!(block, Block::Plain { .. }));
    learns.then_some(Embedding { blocks, scaled: options.input_factors })
}

/// The scales of the inputs: those of so many numbers, which the schema scales itself, and of inputs that are 0 and 1, which
/// are to be these levels instead.
fn scales(numbers: usize, levels: &[[f64; 2]], scaling: Scaling) -> Normalization {
    if levels.is_empty() || scaling != Scaling::Robust {
        return Normalization::None;
    }
    let (mut scale, mut shift) = (vec![1.0; numbers], vec![0.0; numbers]);
    scale.extend(levels.iter().map(|[off, on]| (on - off) as f32));
    shift.extend(levels.iter().map(|&[off, _]| off as f32));
    Normalization::PerFeature { scale, shift }
}

/// How the categories of a column become inputs, the levels of each input that is 0 and 1, and a sentence.
fn category(column: &Column, scaling: Scaling) -> (Encoding, Vec<[f64; 2]>, Option<String>) {
    let missing = column.values.missing();
    let total = column.values.len();
    let mut counts = counted(column);
    let mut note = None;
    if counts.len() > MOST_CATEGORIES {
        let mut by_count: Vec<usize> = (0..counts.len()).collect();
        by_count.sort_by_key(|&i| std::cmp::Reverse(counts[i].1));
        let mut keep = vec![false; counts.len()];
        by_count[..MOST_CATEGORIES].iter().for_each(|&i| keep[i] = true);
        let all = grouped(counts.len() as u64);
        note = Some(format!(
            "column '{}' has {all} different texts: the {MOST_CATEGORIES} most frequent ones are used",
            column.name
        ));
        counts = counts.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(count, _)| count).collect();
    }
    if counts.len() == 2 && note.is_none() {
        let ([first, second], neither) = ([counts[0].1, counts[1].1], missing);
        let levels = levels(&[(-1.0, first), (1.0, second), (0.0, neither)], scaling);
        let mut texts = counts.into_iter().map(|(text, _)| text);
        let values = [texts.next().unwrap_or_default(), texts.next().unwrap_or_default()];
        return (Encoding::Binary { values, levels: [levels[0], levels[1], levels[2]] }, Vec::new(), None);
    }
    let (values, mut each): (Vec<String>, Vec<usize>) = counts.into_iter().unzip();
    if missing > 0 {
        each.push(missing);
    }
    let pair = |on: usize| {
        let levels = levels(&[(0.0, total - on), (1.0, on)], scaling);
        [levels[0], levels[1]]
    };
    let levels = each.into_iter().map(pair).collect();
    (Encoding::Category { values, missing: missing > 0, levels: Vec::new() }, levels, note)
}

fn wanted(all: &Table, options: &TableOptions) -> Result<Wanted> {
    let refuse = |problem: String, remedy: &str| Err(Error::setting("target", problem, remedy));
    let names = &options.target;
    let [first, ..] = &names[..] else {
        return refuse("no column is named".into(), "name the one to predict, as in --target COLUMN");
    };
    let columns = names.iter().map(|name| all.column(name)).collect::<Result<Vec<_>>>()?;
    let is_numbers = |column: &Column| matches!(column.values, Values::Numbers(_));
    let kind = match options.task {
        Some(kind) => kind,
        None if !options.classes.is_empty() => TaskKind::Classification,
        None if columns.len() == 1 && is_numbered(columns[0]) => TaskKind::Classification,
        None if columns.len() > 1 && columns.iter().all(|column| is_labels(column)) => TaskKind::MultiLabel,
        None if columns.iter().all(|column| is_numbers(column)) => TaskKind::Regression,
        None if columns.len() == 1 => TaskKind::Classification,
        None => {
            let problem = format!("the columns {} are neither all numbers nor all labels of 0 and 1", names.join(", "));
            return refuse(problem, "name one column, or columns of one kind");
        }
    };
    match kind {
        TaskKind::Classification if names.len() > 1 => {
            refuse(format!("{} columns cannot be one class", names.len()), "name one column, or use --task multi-label")
        }
        TaskKind::Classification => {
            let classes: Vec<String> = counted(columns[0]).into_iter().map(|(text, _)| text).collect();
            if !options.classes.is_empty() {
                return named_classes(first, &classes, &options.classes);
            }
            let count = classes.len();
            if count < 2 {
                let only = classes.first().map_or(String::new(), |class| format!(", '{class}'"));
                return refuse(
                    format!("'{first}' has only one class{only}"),
                    "name a column that differs between rows",
                );
            }
            if count > 50 && 2 * count > all.rows() {
                let (count, rows) = (grouped(count as u64), grouped(all.rows() as u64));
                let problem = format!("'{first}' has {count} different values in {rows} rows, too many for classes");
                let doubt = doubt(columns[0]);
                let remedy = if is_numbers(columns[0]) { "use --task regression" } else { "name another column" };
                return refuse(problem, doubt.as_deref().unwrap_or(remedy));
            }
            let note = is_numbers(columns[0]).then(|| {
                format!("'{first}' has {count} different whole numbers, so they are classes (--task regression predicts numbers)")
            });
            let note = note.filter(|_| options.task.is_none() && count > 2);
            Ok(Wanted::Known(Target::Classes { column: first.clone(), classes }, note))
        }
        TaskKind::MultiLabel | TaskKind::Regression if !options.classes.is_empty() => {
            let problem = "the classes are named, and numbers or labels are to be predicted";
            Err(Error::setting("classes", problem, "leave them out, or use --task classification"))
        }
        TaskKind::MultiLabel => {
            if let Some(column) = columns.iter().find(|column| !is_labels(column)) {
                let problem = format!("column '{}' has values beside 0 and 1", column.name);
                return refuse(problem, "name columns of 0 and 1 for --task multi-label");
            }
            Ok(Wanted::Known(Target::Labels { columns: names.clone() }, None))
        }
        TaskKind::Regression => Ok(Wanted::Values(names.clone())),
    }
}

/// A target of classes that are named, of which these occur.
fn named_classes(column: &str, occurring: &[String], named: &[String]) -> Result<Wanted> {
    let refuse = |problem: String, remedy: &str| Err(Error::setting("classes", problem, remedy));
    if let Some(other) = occurring.iter().find(|class| !named.contains(class)) {
        return refuse(format!("'{column}' has '{other}', which is not one of them"), "name all classes");
    }
    if let Some(k) = (1..named.len()).find(|&k| named[..k].contains(&named[k])) {
        return refuse(format!("'{}' is named twice", named[k]), "name each class once");
    }
    if named.len() < 2 {
        return refuse(format!("'{column}' has only one class"), "name at least two");
    }
    let absent: Vec<&str> = named.iter().filter(|class| !occurring.contains(class)).map(String::as_str).collect();
    let note = (!absent.is_empty()).then(|| format!("no row is {}", absent.join(" or ")));
    Ok(Wanted::Known(Target::Classes { column: column.into(), classes: named.to_vec() }, note))
}

/// Whether numbers are those of classes: whole, few, each often, and counted from 0 or 1, or only two.
fn is_numbered(column: &Column) -> bool {
    let Values::Numbers(values) = &column.values else { return false };
    let mut different = std::collections::BTreeSet::new();
    for x in values.iter().filter(|x| !x.is_nan()) {
        if x.fract() != 0.0 || x.abs() > 1e15 {
            return false;
        }
        different.insert(*x as i64);
        if different.len() > MOST_NUMBERED {
            return false;
        }
    }
    let count = different.len();
    let (Some(&least), Some(&most)) = (different.first(), different.last()) else { return false };
    let counted = matches!(least, 0 | 1) && most - least + 1 == count as i64;
    count == 2 || counted && values.len() >= 5 * count
}

/// Whether all cells say whether a label is on.
fn is_labels(column: &Column) -> bool {
    match &column.values {
        Values::Numbers(values) => values.iter().all(|&x| x == 0.0 || x == 1.0 || x.is_nan()),
        Values::Texts(texts) => occurring(texts).iter().all(|&place| truth(&texts.vocabulary()[place]).is_some()),
    }
}

fn value_target(train: &Table, name: &str, options: &TableOptions) -> Result<ValueTarget> {
    let column = train.column(name)?;
    let mut values: Vec<f64> = numbers_of(train, column)
        .map_err(|error| match error {
            Error::Mismatch { problem, .. } => {
                Error::mismatch(problem, "correct the cell, or use --task classification")
            }
            other => other,
        })?
        .into_iter()
        .filter(|y| !y.is_nan())
        .collect();
    if values.is_empty() {
        return Err(Error::setting("target", format!("'{name}' has no values"), "name another column"));
    }
    let transform = match options.target_transform {
        TargetTransform::None => Transform::None,
        TargetTransform::Log => {
            if let Some(row) = (0..train.rows()).find(|&row| number_of(column, row) <= 0.0) {
                let (y, row) = (number_of(column, row), train.row_number(row));
                let problem = format!("row {row} of '{name}' is {y}, which has no logarithm");
                return Err(Error::setting("target-transform", problem, "use quantile or none"));
            }
            Transform::Log
        }
        TargetTransform::Quantile => Transform::Quantiles(Quantiles::of(&mut values.clone())),
    };
    let range = [f64::min, f64::max].map(|end| values.iter().copied().reduce(end));
    for y in &mut values {
        *y = transform.apply(*y);
    }
    let (mean, std) = mean_std(&values);
    // Whoever says that these are numbers may have drawn rows of one value. Then that is what is predicted.
    let (std, clamp) = match options.task {
        Some(TaskKind::Regression) if std == 0.0 => (1.0, true),
        _ => (std, options.clamp),
    };
    // The encoded values are f32.
    if std == 0.0 || !(1.0 / std).is_finite() || !std.is_finite() {
        let problem = format!("'{name}' is the same in all rows of the training data");
        let remedy = "name a column that differs between rows, or say --task regression";
        return Err(Error::setting("target", problem, remedy));
    }
    let (mean, std) = if options.standardise { (mean, std) } else { (0.0, 1.0) };
    let range = clamp.then(|| range.map(Option::unwrap_or_default));
    Ok(ValueTarget { column: name.into(), transform, mean, std, range })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Inputs;
    use crate::schema::Encoded;

    fn numbers(name: &str, values: &[f64]) -> Column {
        Column::new(name, Values::Numbers(values.to_vec()))
    }

    fn texts(name: &str, cells: &[&str]) -> Column {
        Column::new(name, Values::texts(cells.iter().map(|&cell| (!cell.is_empty()).then_some(cell))))
    }

    fn inputs(encoded: &Encoded) -> std::borrow::Cow<'_, [f32]> {
        let features = if let Inputs::Mixed(mixed) = &encoded.inputs { mixed.features() } else { 1 };
        encoded.inputs.rows(0..encoded.inputs.len() / features, features)
    }

    fn options(target: &str) -> TableOptions {
        TableOptions { target: vec![target.into()], ..TableOptions::default() }
    }

    fn fit(columns: Vec<Column>, options: &TableOptions) -> Result<Fitted> {
        let table = Table::new(columns).unwrap();
        Schema::fit(&table, &table, options)
    }

    #[test]
    fn quartiles_are_those_of_sorted_numbers() {
        let mut random = crate::random::Random::new(7, crate::random::Stream::Init, 3);
        for count in (1..40).chain([1000, 4097]) {
            for levels in [2, 5, 1_000_000] {
                let mut values: Vec<f64> = (0..count).map(|_| random.below(levels) as f64 - 2.5).collect();
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                let wanted = [0.25, 0.5, 0.75].map(|p| sorted_quantile(&sorted, p));
                assert_eq!(quartiles(&mut values), wanted, "{count} numbers of {levels}");
            }
        }
    }

    #[test]
    fn classes_can_be_named() {
        let cells = ["b", "a", "b", "c", "a", "b"].map(Some);
        let numbers = Values::Numbers((0..6).map(|k| f64::from(k) * 0.5).collect());
        let table = Table::new(vec![Column::new("x", numbers), Column::new("y", Values::texts(cells))]).unwrap();
        let fit = |classes: &[&str]| {
            let classes = classes.iter().map(ToString::to_string).collect();
            let options = TableOptions { classes, ..options("y") };
            Schema::fit(&table, &table, &options).map(|fitted| (fitted.schema, fitted.notes))
        };
        let (schema, notes) = fit(&["c", "d", "a", "b"]).unwrap();
        assert_eq!(schema.classes().unwrap(), ["c", "d", "a", "b"]);
        assert!(notes.iter().any(|note| note == "no row is d"), "{notes:?}");
        let says = |classes: &[&str]| fit(classes).unwrap_err().to_string();
        assert!(
            says(&["a", "b"]).starts_with("classes: 'y' has 'c', which is not one of them"),
            "{}",
            says(&["a", "b"])
        );
        assert!(says(&["a", "b", "c", "a"]).contains("'a' is named twice"));
        let numbers = TableOptions { classes: vec!["1".into()], task: Some(TaskKind::Regression), ..options("x") };
        let error = Schema::fit(&table, &table, &numbers).unwrap_err().to_string();
        assert!(error.starts_with("classes: the classes are named, and numbers"), "{error}");
    }

    #[test]
    fn missing_values_are_filled_in_and_said() {
        let a = [1.0, f64::NAN, 3.0, 8.0];
        let columns = vec![numbers("a", &a), texts("c", &["x", "", "y", "z"]), texts("t", &["p", "q", "p", "q"])];
        let table = Table::new(columns).unwrap();
        let schema = Schema::fit(&table, &table, &options("t")).unwrap().schema;
        assert_eq!(schema.input_names(), ["a", "a missing", "c=x", "c=y", "c=z", "c missing"]);
        let encoded = schema.encode(&table).unwrap();
        let std = (26.0_f64 / 3.0).sqrt();
        assert_eq!(inputs(&encoded)[6..12], [((3.0 - 4.0) / std) as f32, 1.0, 0.0, 0.0, 0.0, 1.0]);
        // At serving time nothing is missing, or all is, or a text is new; the columns come in another order.
        let other = Table::new(vec![texts("c", &["w", "w", ""]), numbers("a", &[f64::NAN, 4.0, 1.0])]).unwrap();
        let encoded = schema.encode(&other).unwrap();
        assert_eq!(inputs(&encoded)[2..6], [0.0; 4]);
        assert_eq!(encoded.unseen, [("c".to_string(), 2, "w".to_string())]);
        assert_eq!(inputs(&encoded)[6..8], [0.0, 0.0]);
    }

    #[test]
    fn robust_scaling_is_that_of_realmlp() {
        // RealMLP's preprocessing of [1, 2, 3, 4, 100]: median 3, quartiles 2 and 4, then x/√(1+(x/3)²).
        let columns = vec![
            numbers("a", &[1.0, 2.0, 3.0, 4.0, 100.0]),
            numbers("b", &[0.0, 0.0, 0.0, 0.0, 5.0]),
            texts("c", &["x", "y", "z", "x", "x"]),
            texts("d", &["x", "y", "x", "x", "x"]),
            numbers("t", &[1.0, 2.0, 3.5, 4.0, 5.0]),
        ];
        let table = Table::new(columns).unwrap();
        let options = TableOptions { scaling: Scaling::Robust, ..options("t") };
        let Fitted { schema, normalization, .. } = Schema::fit(&table, &table, &options).unwrap();
        assert_eq!(schema.input_names(), ["a", "b", "d=y", "c=x", "c=y", "c=z"]);
        let encoded = schema.encode(&table).unwrap();
        let inputs: Vec<f32> =
            inputs(&encoded).iter().enumerate().map(|(i, &x)| normalization.apply(i % 6, x)).collect();
        let clip = |x: f64| (x / (1.0 + (x / 3.0).powi(2)).sqrt()) as f32;
        assert_eq!([inputs[0], inputs[24]], [clip(-1.0), clip(48.5)]);
        // Quartiles 0 apart: 2 / (max − min).
        assert_eq!([inputs[1], inputs[25]], [0.0, clip(2.0)]);
        // c=x is 1, 0, 0, 1, 1: median 1, quartiles 0 and 1. c=y is 0 but once.
        assert_eq!([inputs[3], inputs[9]], [0.0, clip(-1.0)]);
        assert_eq!([inputs[4], inputs[10]], [0.0, clip(2.0)]);
        // d is −1 but once 1.
        assert_eq!([inputs[2], inputs[8]], [0.0, clip(2.0)]);
    }

    #[test]
    fn targets_are_found_out() {
        let a = numbers("a", &[1.0, 2.5, 2.0, 4.0, 5.0, 6.0, 7.0, 9.0, 8.0, 10.5]);
        let with = |column: Column, options: &TableOptions| fit(vec![a.clone(), column], options);
        let kind = |column: Column| match with(column, &options("t")).unwrap().schema.target {
            Target::Classes { classes, .. } => classes.join(" "),
            Target::Values { .. } => "values".into(),
            Target::Labels { .. } => "labels".into(),
        };
        assert_eq!(kind(texts("t", &["b", "a", "b", "c", "a", "a", "a", "a", "a", "a"])), "a b c");
        assert_eq!(kind(numbers("t", &[0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])), "0 1");
        assert_eq!(kind(numbers("t", &[2.0, 10.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])), "2 10");
        assert_eq!(kind(numbers("t", &[1.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])), "values");
        assert_eq!(kind(numbers("t", &[3.0, 4.0, 5.0, 4.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0])), "values");
        let labels = vec![
            a.clone(),
            numbers("t", &[0.0; 10]),
            texts("u", &["yes", "no", "no", "no", "no", "no", "no", "no", "no", "no"]),
        ];
        let both = TableOptions { target: vec!["t".into(), "u".into()], ..TableOptions::default() };
        assert!(matches!(fit(labels, &both).unwrap().schema.target, Target::Labels { .. }));
        // Numbers may happen to be 0 and 1 beside others.
        let (zeros, reals) = ([0.0, 1.0, 1.0, 0.0, 1.0], [1.5, 2.0, 0.5, 3.0, 4.0]);
        let columns = vec![numbers("a", &reals), numbers("t", &zeros), numbers("u", &reals)];
        assert!(matches!(fit(columns, &both).unwrap().schema.target, Target::Values { .. }));
        let says = |column: Column, options: &TableOptions| with(column, options).unwrap_err().to_string();
        assert!(says(texts("t", &["x"; 10]), &options("t")).contains("'t' has only one class, 'x'"));
        let same = numbers("t", &[2.3; 10]);
        assert!(says(same.clone(), &options("t")).contains("'t' is the same in all rows"));
        let options_of_values = TableOptions { task: Some(TaskKind::Regression), ..options("t") };
        let target = value_target(&Table::new(vec![same]).unwrap(), "t", &options_of_values).unwrap();
        assert_eq!(target.predict(0.7), 2.3);
        assert!(says(numbers("t", &[2.5; 10]), &options("u")).contains("target: there is no column 'u'"));
        let regression = TableOptions { task: Some(TaskKind::Regression), ..options("t") };
        let said = says(texts("t", &["1", "x", "2", "1", "1", "1", "1", "1", "1", "1"]), &regression);
        assert!(said.contains("row 2 of column 't' is 'x', which is not a number"), "{said}");
        let log = TableOptions { target_transform: TargetTransform::Log, ..options("t") };
        let said = says(numbers("t", &[1.5, 2.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), &log);
        assert!(said.contains("row 4 of 't' is 0, which has no logarithm"), "{said}");
    }

    #[test]
    fn values_come_back_from_what_the_network_learns() {
        let y = [1.5, 2.0, 4.0, 8.0, 100.0];
        for (transform, tolerance) in
            [(TargetTransform::None, 1e-12), (TargetTransform::Log, 1e-12), (TargetTransform::Quantile, 1e-6)]
        {
            let options = TableOptions { target_transform: transform, ..options("y") };
            let schema =
                fit(vec![numbers("a", &[1.0, 3.0, 2.0, 5.0, 4.5]), numbers("y", &y)], &options).unwrap().schema;
            let Target::Values { columns } = &schema.target else { panic!("values") };
            let encoded: Vec<f64> = y.iter().map(|&y| columns[0].encode(y)).collect();
            assert!(encoded.iter().sum::<f64>().abs() < 1e-9, "{transform}");
            for (&y, z) in y.iter().zip(encoded) {
                assert!((columns[0].decode(z) - y).abs() <= tolerance * y, "{transform}: {y} {}", columns[0].decode(z));
            }
        }
    }

    #[test]
    fn what_is_rare_beyond_many_turns_nothing_on() {
        let cells: Vec<String> =
            (0..4000).map(|i| format!("c{}", i % 1000)).chain((0..600).map(|i| format!("c{}", i % 200))).collect();
        let column = Column::new("c", Values::texts(cells.iter().map(|cell| Some(cell.as_str()))));
        let (encoding, _, note) = category(&column, Scaling::Standard);
        assert_eq!(encoding.inputs(), MOST_CATEGORIES);
        let note = note.unwrap();
        assert!(note.contains("has 1,000 different texts: the 256 most frequent"), "{note}");
        // The first 200 are more frequent than the others, of which the first in the order of texts are kept.
        let Encoding::Category { values, missing: false, .. } = encoding else { panic!("a category") };
        assert!((0..200).all(|i| values.contains(&format!("c{i}"))));
    }
}
