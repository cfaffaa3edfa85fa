//! From tables to a [`Task`]: which rows train, the schema that is fitted to them, and the samples that it makes of all.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Dataset, Task, Validation, draw, share_of};
use crate::random::{Random, Stream};
use crate::schema::{FoundOut, Schema, TableOptions, classes_of};
use crate::state::hex;
use crate::table::{Column, ReadOptions, Table, Values};
use crate::text::grouped;
use crate::{Error, Result};

/// Which files a table is in, and what is wanted of it: all that it takes to make the same task again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TableConfig {
    /// The files of the table that is trained on, row after row.
    pub files: Vec<PathBuf>,
    /// Files of validation rows, if they are not a part of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_files: Vec<PathBuf>,
    /// Files of test rows, if they are not a part of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_files: Vec<PathBuf>,
    /// The part of the rows that is for testing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Validation>,
    /// The column of the rows' order in time: the last rows are for validation and testing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_by: Option<String>,
    /// How the files are read.
    pub read: ReadOptions,
    /// What their columns are.
    pub columns: TableOptions,
}

/// The tables of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// The rows that train, and those that are drawn from them.
    pub train: Table,
    /// Validation rows, if they come from files of their own.
    pub validation: Option<Table>,
    /// Test rows, if they come from files of their own.
    pub test: Option<Table>,
}

/// What validates of so many rows if nothing else is said: a tenth, and a fifth from 10,000 rows on. Small tables gain more by
/// further rows to train on, and large ones by a surer choice of the epoch. Fewer than 30 rows would choose by chance, so
/// there are 30, as long as these are no more than a fifth.
///
/// ```
/// use syva_core::data::tabular::default_validation;
/// let said = [100, 200, 2000, 20_000].map(|rows| default_validation(rows).to_string());
/// assert_eq!(said, ["0.2", "30", "0.1", "0.2"]);
/// ```
#[must_use]
pub fn default_validation(rows: usize) -> Validation {
    let size = match rows {
        150..300 => 30.0,
        300..10_000 => 0.1,
        _ => 0.2,
    };
    Validation::Part { size, seed: 1 }
}

/// Makes a task of tables: sets rows aside, fits the schema to the rest, and encodes all. Returns it with sentences about
/// what was found out.
///
/// Rows without a target are left out. The validation rows are those of [`Tables::validation`], or those that `validation`
/// says, or [`default_validation`].
///
/// ```
/// use syva_core::data::tabular::{TableConfig, Tables, task};
/// use syva_core::schema::TableOptions;
/// use syva_core::table::{Column, Table, Values};
/// let x = Values::Numbers((0..50).map(f64::from).map(|x| x * 0.5).collect());
/// let y = Values::texts((0..50).map(|i| Some(if i < 25 { "low" } else { "high" })));
/// let train = Table::new(vec![Column::new("x", x), Column::new("y", y)])?;
/// let columns = TableOptions { target: vec!["y".into()], ..TableOptions::default() };
/// let config = TableConfig { columns, ..TableConfig::default() };
/// let (task, _) = task("example", Tables { train, ..Tables::default() }, &config, None)?;
/// assert_eq!((task.train.samples(), task.validation.samples()), (40, 10));
/// assert_eq!(task.schema.unwrap().classes().unwrap(), ["high", "low"]);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn task(
    name: &str,
    tables: Tables,
    config: &TableConfig,
    validation: Option<Validation>,
) -> Result<(Task, Vec<String>)> {
    let mut notes = Vec::new();
    let mut complete = |table: Table, what: &str| {
        let (table, left) = with_targets(table, &config.columns)?;
        if left > 0 {
            let (left, rows) = (grouped(left as u64), grouped((table.rows() + left) as u64));
            notes.push(format!("{left} of {rows} {what} have no target: left out"));
        }
        Ok::<_, Error>(table)
    };
    let all = complete(tables.train, "rows")?;
    let own_validation = tables.validation.map(|table| complete(table, "validation rows")).transpose()?;
    let own_test = tables.test.map(|table| complete(table, "test rows")).transpose()?;
    if all.rows() < 2 {
        let problem = format!("{} cannot be trained on", if all.rows() == 1 { "1 row" } else { "0 rows" });
        return Err(Error::mismatch(problem, "give a table of more rows"));
    }
    let parts = Parts::of(&all, config, validation, own_validation.is_some(), own_test.is_some())?;
    // The networks of all folds read the same inputs, so that they can be one model.
    let fitted_to = match validation {
        Some(Validation::Fold { .. }) => Some(all.select(&[&parts.train[..], &parts.validation].concat())),
        _ => None,
    };
    let found = FoundOut::of(&all, &config.columns)?;
    // A large table is the most of the memory, and each part is freed when it is encoded.
    let [train, drawn_validation, drawn_test] = all.divide([&parts.train, &parts.validation, &parts.test]);
    let fitted = found.fit(fitted_to.as_ref().unwrap_or(&train), &config.columns)?;
    drop(fitted_to);
    notes.splice(0..0, fitted.notes);
    let (schema, normalization, embedding) = (Arc::new(fitted.schema), fitted.normalization, fitted.embedding);
    let dataset = |table: Table| dataset(&schema, &table, config.columns.weight.as_deref());
    let train = dataset(train)?;
    let drawn = |table: Table| (table.rows() > 0).then_some(table);
    let test = own_test.or_else(|| drawn(drawn_test)).map(dataset).transpose()?;
    let validation = own_validation.or_else(|| drawn(drawn_validation)).map(dataset).transpose()?;
    let (validation, test) = match (validation, test) {
        (Some(validation), test) => (validation, test),
        // The test rows judge.
        (None, Some(test)) => (test, None),
        (None, None) => return Err(Error::setting("validation", "there are no test rows", "give --test, or a share")),
    };
    let digests =
        [Some(&train), Some(&validation), test.as_ref()].map(|data| data.map(Dataset::digest).unwrap_or_default());
    let digest = hex(&Sha256::digest(digests.concat()));
    let known_digest = Some(digest);
    let task = Task {
        test,
        normalization,
        embedding,
        known_digest,
        schema: Some(schema),
        ..Task::new(name, train, validation)
    };
    Ok((task, notes))
}

/// The rows of a table as samples of a network that was trained with this schema, with what they weigh.
pub fn dataset(schema: &Schema, table: &Table, weight: Option<&str>) -> Result<Dataset> {
    if table.rows() == 0 {
        return Err(Error::mismatch("there are 0 rows", "give a table of at least one"));
    }
    let encoded = schema.encode(table)?;
    let data = Dataset::new(encoded.inputs, schema.inputs(), schema.targets(table)?)?;
    let Some(name) = weight else { return Ok(data) };
    let column = table.column(name)?;
    let Values::Numbers(weights) = &column.values else {
        return Err(Error::mismatch(format!("column '{name}' has texts, not weights"), "name a column of numbers"));
    };
    if let Some(row) = weights.iter().position(|&weight| weight.is_nan() || weight < 0.0) {
        let cell = column.cell(row).map_or("missing".into(), std::borrow::Cow::into_owned);
        let problem = format!("the weight of row {}, in column '{name}', is {cell}", table.row_number(row));
        return Err(Error::mismatch(problem, "give numbers from 0 on"));
    }
    data.with_weights(weights.iter().map(|&weight| weight as f32).collect::<Vec<_>>())
}

/// The rows that have all targets, and the number of the others.
fn with_targets(table: Table, options: &TableOptions) -> Result<(Table, usize)> {
    let targets = options.target.iter().map(|name| table.column(name)).collect::<Result<Vec<&Column>>>();
    let targets = targets.map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::setting("target", problem, remedy),
        other => other,
    })?;
    let missing: Vec<bool> =
        (0..table.rows()).map(|row| targets.iter().any(|column| column.values.is_missing(row))).collect();
    let left = missing.iter().filter(|&&missing| missing).count();
    if left == 0 {
        return Ok((table, 0));
    }
    if left == table.rows() {
        let names = options.target.join("', '");
        let problem = match &options.target[..] {
            [_] => format!("column '{names}' has no value in any row"),
            _ => format!("no row has values in all of '{names}'"),
        };
        return Err(Error::setting("target", problem, "name another column, or give rows whose target is known"));
    }
    let rows: Vec<usize> = (0..table.rows()).filter(|&row| !missing[row]).collect();
    let [complete] = table.divide([&rows]);
    Ok((complete, left))
}

/// The rows of each part, in order.
struct Parts {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
}

impl Parts {
    fn of(
        table: &Table,
        config: &TableConfig,
        validation: Option<Validation>,
        own_validation: bool,
        own_test: bool,
    ) -> Result<Self> {
        let mut train: Vec<usize> = (0..table.rows()).collect();
        let mut set_aside = |part: Validation, setting: &str| {
            let aside = part_of(table, &train, config, part, setting)?;
            let rows: Vec<usize> = train.iter().zip(&aside).filter_map(|(&row, aside)| aside.then_some(row)).collect();
            let mut kept = aside.iter().map(|aside| !aside);
            train.retain(|_| kept.next().unwrap_or(true));
            Ok::<_, Error>(rows)
        };
        let test = match config.test {
            Some(part) if !own_test => set_aside(part, "test")?,
            _ => Vec::new(),
        };
        let rows = table.rows() - test.len();
        let validation = match validation {
            _ if own_validation => Vec::new(),
            Some(Validation::Test) => Vec::new(),
            Some(part) => set_aside(part, "validation")?,
            None => set_aside(default_validation(rows), "validation")?,
        };
        Ok(Self { train, validation, test })
    }
}

/// Which of the `rows` are set aside: the last in time, whole groups, or rows drawn at random with each class in proportion.
fn part_of(table: &Table, rows: &[usize], config: &TableConfig, part: Validation, setting: &str) -> Result<Vec<bool>> {
    if let Validation::Fold { number, of, seed } = part {
        return fold_of(table, rows, config, (number, of, seed), setting);
    }
    let Validation::Part { size, seed } = part else {
        return Err(Error::setting(setting, "there are no test rows", "give a share, such as 0.2, or a file"));
    };
    let share = if size < 1.0 { size } else { size / rows.len() as f64 };
    let aside = if let Some(name) = &config.split_by {
        last(table.column(name)?, rows, share)?
    } else if let Some(name) = &config.columns.group {
        groups(table.column(name)?, rows, share, seed)
    } else {
        let classes = classes(table, rows, &config.columns)?;
        let classes = classes.as_ref().map(|(labels, classes)| (&labels[..], *classes));
        draw(rows.len(), classes, share.clamp(0.0, 1.0), seed)
    };
    let count = aside.iter().filter(|&&aside| aside).count();
    if count == 0 || count == rows.len() {
        let problem = format!("{size} of {} rows leaves a part empty", rows.len());
        return Err(Error::setting(setting, problem, "give more rows, another share such as 0.5, or another number"));
    }
    Ok(aside)
}

/// Which of the `rows` are in a fold. Groups stay together.
fn fold_of(
    table: &Table,
    rows: &[usize],
    config: &TableConfig,
    (number, of, seed): (usize, usize, u32),
    setting: &str,
) -> Result<Vec<bool>> {
    let folds = if config.split_by.is_some() {
        let problem = "rows that are divided by time have no folds";
        return Err(Error::setting(setting, problem, "leave --split-by out, or --folds"));
    } else if let Some(name) = &config.columns.group {
        group_folds(table.column(name)?, rows, of, seed)
    } else {
        let classes = classes(table, rows, &config.columns)?;
        let classes = classes.as_ref().map(|(labels, classes)| (&labels[..], *classes));
        super::folds(rows.len(), classes, of, seed)
    };
    let in_fold: Vec<bool> = folds.iter().map(|&fold| fold + 1 == number).collect();
    if (0..of).any(|fold| !folds.contains(&fold)) {
        let problem = format!("{of} folds of {} rows leave some empty", rows.len());
        return Err(Error::setting(setting, problem, "use fewer folds"));
    }
    Ok(in_fold)
}

/// Deals whole groups to folds: each, in a random order, to the fold that has the fewest rows so far.
fn group_folds(column: &Column, rows: &[usize], of: usize, seed: u32) -> Vec<usize> {
    let mut members = members(column, rows);
    let mut random = Random::new(seed, Stream::Split, 0);
    let (mut fold, mut sizes) = (vec![0; rows.len()], vec![0; of]);
    for place in 0..members.len() {
        let other = place + random.below((members.len() - place) as u64) as usize;
        members.swap(place, other);
        let least = (0..of).min_by_key(|&fold| sizes[fold]).unwrap_or(0);
        sizes[least] += members[place].len();
        members[place].iter().for_each(|&i| fold[i] = least);
    }
    fold
}

/// The labels of rows, and the number of classes, if the target is a class.
fn classes(table: &Table, rows: &[usize], options: &TableOptions) -> Result<Option<(Vec<u32>, usize)>> {
    // The schema is fitted later, to the part of the rows that is still to be drawn; but the classes are those of all.
    let Some((column, classes)) = classes_of(table, options)? else { return Ok(None) };
    let column = table.column(&column)?;
    let place: std::collections::HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0u32..).collect();
    let label = |&row: &usize| column.cell(row).and_then(|text| place.get(text.as_ref()).copied()).unwrap_or(0);
    Ok(Some((rows.iter().map(label).collect(), classes.len())))
}

/// The rows with the largest values of a column. Rows of the same value stay together.
fn last(column: &Column, rows: &[usize], share: f64) -> Result<Vec<bool>> {
    let refuse = |problem: String| Err(Error::setting("split-by", problem, "name a column of numbers or dates"));
    let mut values = Vec::with_capacity(rows.len());
    match &column.values {
        Values::Numbers(numbers) => values.extend(rows.iter().map(|&row| numbers[row])),
        Values::Texts(_) => {
            use crate::schema::{DateFormat, DatePart};
            let reads = |format: &DateFormat| {
                rows.iter().all(|&row| column.cell(row).is_none_or(|text| format.read(&text).is_some()))
            };
            let Some(format) = DateFormat::ALL.into_iter().find(reads) else {
                return refuse(format!("column '{}' has texts that are no dates", column.name));
            };
            let moment = |&row: &usize| column.cell(row).and_then(|text| format.read(&text));
            values.extend(rows.iter().map(|row| moment(row).map_or(f64::NAN, |moment| DatePart::Elapsed.of(moment))));
        }
    }
    if values.iter().any(|value| value.is_nan()) {
        return refuse(format!("column '{}' has missing values", column.name));
    }
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let kept = rows.len() - share_of(share, rows.len()).min(rows.len());
    let Some(&first) = sorted.get(kept) else { return Ok(vec![false; rows.len()]) };
    // If the boundary is inside rows of one value, they all train, unless nothing would be left.
    let from = if kept > 0 && sorted[kept - 1] == first {
        sorted[kept..].iter().copied().find(|&value| value > first).unwrap_or(first)
    } else {
        first
    };
    Ok(values.iter().map(|&value| value >= from).collect())
}

/// The places of the rows of each group. A row without a group is one of its own.
fn members(column: &Column, rows: &[usize]) -> Vec<Vec<usize>> {
    let mut places = std::collections::HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (i, &row) in rows.iter().enumerate() {
        match column.cell(row) {
            Some(text) => {
                let place = *places.entry(text.into_owned()).or_insert_with(|| {
                    members.push(Vec::new());
                    members.len() - 1
                });
                members[place].push(i);
            }
            None => members.push(vec![i]),
        }
    }
    members
}

/// Rows of whole groups, drawn at random until there are as many as wanted. A row without a group is one of its own.
fn groups(column: &Column, rows: &[usize], share: f64, seed: u32) -> Vec<bool> {
    let mut members = members(column, rows);
    let wanted = share_of(share, rows.len());
    let mut random = Random::new(seed, Stream::Split, 0);
    let mut aside = vec![false; rows.len()];
    let mut drawn = 0;
    for place in 0..members.len() {
        let other = place + random.below((members.len() - place) as u64) as usize;
        members.swap(place, other);
        let group = &members[place];
        // A group that would take more than it leaves out stays.
        if drawn < wanted && (drawn + group.len() <= wanted || 2 * (wanted - drawn) >= group.len()) {
            for &i in group {
                aside[i] = true;
            }
            drawn += group.len();
        }
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: Vec<(&str, Values)>) -> Table {
        Table::new(columns.into_iter().map(|(name, values)| Column::new(name, values)).collect()).unwrap()
    }

    fn config(target: &str) -> TableConfig {
        let columns = TableOptions { target: vec![target.into()], ..TableOptions::default() };
        TableConfig { columns, ..TableConfig::default() }
    }

    fn numbers(count: usize, value: impl Fn(usize) -> f64) -> Values {
        Values::Numbers((0..count).map(value).collect())
    }

    fn rows(data: &Dataset) -> Vec<f32> {
        (0..data.samples()).map(|i| data.inputs().get(i * data.features())).collect()
    }

    #[test]
    fn rows_without_a_target_are_left_out_and_parts_do_not_overlap() {
        let train = table(vec![
            ("x", numbers(100, |i| i as f64 * 0.5)),
            ("y", numbers(100, |i| if i % 10 == 0 { f64::NAN } else { (i * i) as f64 + 0.25 })),
        ]);
        let config = TableConfig {
            test: Some(Validation::Part { size: 30.0, seed: 3 }),
            columns: TableOptions { scaling: crate::schema::Scaling::None, ..config("y").columns },
            ..TableConfig::default()
        };
        let (task, notes) = task("t", Tables { train, ..Tables::default() }, &config, None).unwrap();
        let test = task.test.as_ref().unwrap();
        assert_eq!([task.train.samples(), task.validation.samples(), test.samples()], [48, 12, 30]);
        assert_eq!(notes, ["10 of 100 rows have no target: left out"]);
        let mut all = [rows(&task.train), rows(&task.validation), rows(test)].concat();
        all.sort_unstable_by(f32::total_cmp);
        all.dedup();
        assert_eq!(all.len(), 90);
    }

    #[test]
    fn groups_stay_together_and_time_goes_on() {
        let columns = || {
            table(vec![
                ("x", numbers(200, |i| i as f64 * 0.5)),
                ("g", numbers(200, |i| (i * 7 % 23) as f64)),
                ("t", numbers(200, |i| (i * 37 % 200) as f64)),
                ("y", numbers(200, |i| (i % 13) as f64 + 0.5)),
            ])
        };
        let made = |config: &TableConfig| {
            let tables = Tables { train: columns(), ..Tables::default() };
            let (task, _) = task("t", tables, config, Some(Validation::Part { size: 0.25, seed: 2 })).unwrap();
            let number = |x: f32| (x * 2.0).round() as usize;
            [rows(&task.train), rows(&task.validation)].map(|rows| rows.into_iter().map(number).collect::<Vec<_>>())
        };
        let plain = TableOptions { scaling: crate::schema::Scaling::None, ..config("y").columns };
        let grouped = TableConfig { columns: TableOptions { group: Some("g".into()), ..plain.clone() }, ..config("y") };
        let [train, validation] = made(&grouped);
        let group = |i: &usize| i * 7 % 23;
        let there: std::collections::BTreeSet<usize> = train.iter().map(group).collect();
        assert!(validation.iter().all(|i| !there.contains(&group(i))));
        assert!((44..=56).contains(&validation.len()), "{}", validation.len());
        let by_time = TableConfig { columns: plain, split_by: Some("t".into()), ..config("y") };
        let [train, validation] = made(&by_time);
        let time = |i: &usize| i * 37 % 200;
        assert_eq!(validation.len(), 50);
        assert!(train.iter().map(time).max() < validation.iter().map(time).min());
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let made = |rows: usize, config: &TableConfig, validation: Option<Validation>| {
            let x = ("x", numbers(rows, |i| (i * i) as f64 + 0.5));
            let train = table(vec![x, ("y", numbers(rows, |i| i as f64 + 0.5))]);
            task("t", Tables { train, ..Tables::default() }, config, validation).unwrap_err().to_string()
        };
        assert!(made(1, &config("y"), None).contains("1 row cannot be trained on"));
        assert!(made(0, &config("y"), None).contains("0 rows cannot be trained on"));
        assert!(made(2, &config("y"), None).contains("validation: 0.2 of 2 rows leaves a part empty"));
        // A message counts the rows of the file, whichever are left out or set aside.
        let y = numbers(50, |i| if i < 10 { f64::NAN } else { (i * i) as f64 - 900.0 });
        let train = table(vec![("x", numbers(50, |i| (i * i) as f64 + 0.5)), ("y", y)]);
        let mut log = config("y");
        log.columns.target_transform = crate::schema::TargetTransform::Log;
        let error = task("t", Tables { train, ..Tables::default() }, &log, None).unwrap_err().to_string();
        let row: f64 = error.split(' ').skip_while(|word| *word != "row").nth(1).unwrap().parse().unwrap();
        assert!(row > 10.0 && error.contains(&format!("'y' is {},", (row - 1.0).powi(2) - 900.0)), "{error}");
        assert!(made(9, &config("z"), None).contains("target: there is no column 'z'"));
        let test = made(9, &config("y"), Some(Validation::Test));
        assert!(test.contains("there are no test rows"), "{test}");
        let by = TableConfig { split_by: Some("w".into()), ..config("y") };
        assert!(made(9, &by, None).contains("no column 'w'"));
    }
}
