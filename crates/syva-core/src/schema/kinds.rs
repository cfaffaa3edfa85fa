//! What the columns of a table are, as far as their cells and names tell.

use std::collections::HashSet;

use serde::Serialize;

use super::dates::DateFormat;
use super::fit::TableOptions;
use crate::table::{Column, MISSING, Table, Texts, Values};
use crate::text::grouped;
use crate::{Error, Result};

/// What a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Numbers.
    Number,
    /// Names of categories.
    Category,
    /// Dates, or moments.
    Date(DateFormat),
    /// It is predicted.
    Target,
    /// What the rows weigh.
    Weight,
    /// Rows of the same group stay together.
    Group,
    /// It is not used.
    LeftOut(LeftOut),
}

/// Why a column is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// All its cells are missing.
    Empty,
    /// All its cells are the same.
    Constant,
    /// It numbers or names the rows.
    Id,
    /// Its texts are nearly all different.
    Text,
    /// It was asked for.
    Ignored,
}

impl LeftOut {
    /// The reason in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "has no values",
            Self::Constant => "is the same in all rows",
            Self::Id => "numbers the rows",
            Self::Text => "is different in nearly every row",
            Self::Ignored => "is to be ignored",
        }
    }
}

/// A column as it was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Its name.
    pub column: String,
    /// What it is.
    pub kind: Kind,
    /// Missing cells.
    pub missing: usize,
    /// Different values, counted up to [`Profile::MOST`].
    pub distinct: usize,
    /// The smallest and the largest number.
    pub range: Option<(f64, f64)>,
    /// Whether all its numbers are whole.
    pub whole: bool,
    /// A value.
    pub example: Option<String>,
    /// Why it may be meant to have numbers, although it has texts, and what to do about it.
    pub doubt: Option<String>,
}

impl Profile {
    /// The most values that are counted.
    pub const MOST: usize = 1000;

    /// Whether it could as well be a category: whole numbers, of which there are few.
    #[must_use]
    pub fn may_be_category(&self) -> bool {
        self.kind == Kind::Number && self.whole && (3..=20).contains(&self.distinct)
    }
}

/// Finds out what the columns of a table are. The options can say it of some of them.
///
/// # Errors
/// If the options name a column that the table does not have, or one for two purposes.
pub fn profile(table: &Table, options: &TableOptions) -> Result<Vec<Profile>> {
    let said = said(table, options)?;
    Ok(table.columns().iter().zip(said).map(|(column, said)| profile_of(column, said)).collect())
}

/// What the options say of each column.
fn said(table: &Table, options: &TableOptions) -> Result<Vec<Option<Kind>>> {
    // Which date it is, if it is one, is found out.
    let lists: [(&str, Vec<&String>, Kind); 6] = [
        ("target", options.target.iter().collect(), Kind::Target),
        ("weight", options.weight.iter().collect(), Kind::Weight),
        ("group", options.group.iter().collect(), Kind::Group),
        ("numeric", options.numeric.iter().collect(), Kind::Number),
        ("categorical", options.categorical.iter().collect(), Kind::Category),
        ("ignore", options.ignore.iter().collect(), Kind::LeftOut(LeftOut::Ignored)),
    ];
    let mut said: Vec<Option<(&str, Kind)>> = vec![None; table.columns().len()];
    for (list, names, kind) in lists {
        for name in names {
            let place = table.find(name).map_err(|error| match error {
                Error::Mismatch { problem, remedy } => Error::setting(list, problem, remedy),
                other => other,
            })?;
            if let Some((before, _)) = said[place].replace((list, kind)) {
                let problem = format!("column '{name}' is in {before}, too");
                return Err(Error::setting(list, problem, "name it once"));
            }
        }
    }
    Ok(said.into_iter().map(|said| said.map(|(_, kind)| kind)).collect())
}

fn profile_of(column: &Column, said: Option<Kind>) -> Profile {
    let missing = column.values.missing();
    let there = column.values.len() - missing;
    let (distinct, range, whole) = match &column.values {
        Values::Numbers(values) => {
            let present = || values.iter().copied().filter(|x| !x.is_nan());
            let mut different = HashSet::new();
            let mut before = f64::NAN;
            for x in present() {
                // Equal neighbours, of which sparse columns have many, need not be looked up.
                if x != before {
                    before = x;
                    different.insert((x + 0.0).to_bits());
                    if different.len() > Profile::MOST {
                        break;
                    }
                }
            }
            let least = present().fold(f64::INFINITY, f64::min);
            let most = present().fold(f64::NEG_INFINITY, f64::max);
            (different.len(), (there > 0).then_some((least, most)), present().all(|x| x.fract() == 0.0))
        }
        Values::Texts(texts) => (occurring(texts).len(), None, false),
    };
    let found = match &column.values {
        _ if there == 0 => Kind::LeftOut(LeftOut::Empty),
        // A column that is filled in only for some rows says that.
        _ if distinct == 1 && missing == 0 => Kind::LeftOut(LeftOut::Constant),
        Values::Numbers(values) if is_id(&column.name, values, range, whole) => Kind::LeftOut(LeftOut::Id),
        Values::Numbers(_) => Kind::Number,
        Values::Texts(texts) => match date_format(texts) {
            Some(format) => Kind::Date(format),
            None if distinct == there && there >= 20 && names_rows(&column.name) => Kind::LeftOut(LeftOut::Id),
            None if 2 * distinct > there && distinct > 20 => Kind::LeftOut(LeftOut::Text),
            None => Kind::Category,
        },
    };
    // Nobody can learn from what is not there, whoever asks for it.
    let kind = match (said, found) {
        (Some(Kind::Number | Kind::Category), Kind::LeftOut(LeftOut::Empty)) => found,
        (Some(said), _) => said,
        (None, found) => found,
    };
    let example = (0..column.values.len()).find_map(|row| column.cell(row)).map(std::borrow::Cow::into_owned);
    let doubt = if matches!(said, Some(Kind::Category | Kind::LeftOut(_))) { None } else { doubt(column) };
    Profile { column: column.name.clone(), kind, missing, distinct, range, whole, example, doubt }
}

/// Of a column of texts that mostly look like numbers: what it looks like, and what to do.
pub(crate) fn doubt(column: &Column) -> Option<String> {
    let Values::Texts(texts) = &column.values else { return None };
    let look: Vec<bool> = texts.vocabulary().iter().map(|text| looks_like_number(text)).collect();
    let (mut numbers, mut others, mut example, mut other) = (0, 0, None, None);
    for &code in texts.codes() {
        match look.get(code as usize) {
            Some(true) => {
                numbers += 1;
                example.get_or_insert(code);
            }
            Some(false) => {
                others += 1;
                other.get_or_insert(code);
            }
            None => {}
        }
    }
    // Few are codes, such as 01 and 02.
    if numbers <= others || numbers < 20 {
        return None;
    }
    let text = |code: u32| texts.vocabulary()[code as usize].chars().take(40).collect::<String>();
    let (name, all) = (&column.name, grouped((numbers + others) as u64));
    let example = example.map(text).unwrap_or_default();
    Some(match other.map(text) {
        Some(other) => format!(
            "column '{name}' is read as texts, but {} of its {all} cells look like numbers, and '{other}' does not: \
             give --numeric '{name}', and --missing '{other}' if it means that nothing is known",
            grouped(numbers as u64)
        ),
        // Of a format that tells texts from numbers.
        None if example.parse::<f64>().is_ok() => {
            format!("column '{name}' has texts that are numbers, such as '{example}': --numeric '{name}' reads them so")
        }
        None => format!(
            "column '{name}' is read as texts that look like numbers, such as '{example}': write them without \
             separators of thousands, or name the decimal sign with --decimal"
        ),
    })
}

/// `1.234,5`, `1,234.5`, `12'000`, `-3.5`: digits in groups of three, and perhaps decimals.
fn looks_like_number(text: &str) -> bool {
    let unsigned = text.trim().trim_start_matches(['-', '+']);
    let groups: Vec<&str> = unsigned.split(['.', ',', '\'', ' ', '\u{a0}', '\u{202f}']).collect();
    let whole = &groups[..groups.len() - 1];
    groups.iter().all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()))
        && (whole.len() < 2 || whole[0].len() <= 3 && whole[1..].iter().all(|group| group.len() == 3))
}

/// The texts that occur, which may be fewer than the vocabulary, by their places in it.
pub(super) fn occurring(texts: &Texts) -> Vec<usize> {
    let mut occurs = vec![false; texts.vocabulary().len()];
    texts.codes().iter().filter(|&&code| code != MISSING).for_each(|&code| occurs[code as usize] = true);
    (0..occurs.len()).filter(|&place| occurs[place]).collect()
}

/// The format of dates, if all texts are dates in it.
fn date_format(texts: &Texts) -> Option<DateFormat> {
    let occurring = occurring(texts);
    let reads = |format: &DateFormat| occurring.iter().all(|&place| format.read(&texts.vocabulary()[place]).is_some());
    DateFormat::ALL.into_iter().find(reads).filter(|_| !occurring.is_empty())
}

/// Whether a name is one that people give to a column that numbers the rows.
fn names_rows(name: &str) -> bool {
    let plain = name.trim().to_ascii_lowercase();
    let ends = name.ends_with("Id") || name.ends_with("ID") || plain.ends_with("_id") || plain.ends_with(" id");
    ends || matches!(plain.as_str(), "" | "id" | "index" | "rowid" | "row" | "rownames" | "rowname" | "uuid")
        || plain.starts_with("unnamed")
}

/// Whether numbers number the rows: whole, all different, and either without gaps, or named so.
fn is_id(name: &str, values: &[f64], range: Option<(f64, f64)>, whole: bool) -> bool {
    let present: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    let Some((least, most)) = range.filter(|_| whole && present.len() >= 10) else { return false };
    if present.is_sorted_by(|a, b| b - a == 1.0) {
        return true;
    }
    // Without gaps in another order, a column may be a rank.
    if !names_rows(name) || most - least + 1.0 < present.len() as f64 {
        return false;
    }
    let mut bits: Vec<u64> = present.iter().map(|x| x.to_bits()).collect();
    bits.sort_unstable();
    bits.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, values: Values) -> Kind {
        let table = Table::new(vec![Column::new(name, values)]).unwrap();
        profile(&table, &TableOptions::default()).unwrap()[0].kind
    }

    fn texts(cells: impl Iterator<Item = String>) -> Values {
        let cells: Vec<String> = cells.collect();
        Values::texts(cells.iter().map(|cell| Some(cell.as_str())))
    }

    #[test]
    fn kinds_are_found_out() {
        let numbers = |numbers: Vec<f64>| Values::Numbers(numbers);
        let rows = || (0..30).map(f64::from);
        assert_eq!(kind("size", numbers(rows().map(|x| x * 0.5).collect())), Kind::Number);
        assert_eq!(kind("any", numbers(rows().map(|x| x + 7.0).collect())), Kind::LeftOut(LeftOut::Id));
        let reversed: Vec<f64> = rows().map(|x| 100.0 - x).collect();
        assert_eq!(kind("rank", numbers(reversed.clone())), Kind::Number);
        assert_eq!(kind("customer_id", numbers(reversed)), Kind::LeftOut(LeftOut::Id));
        assert_eq!(kind("customer_id", numbers(vec![4.0; 29].into_iter().chain([5.0]).collect())), Kind::Number);
        assert_eq!(kind("c", numbers(vec![4.0; 3])), Kind::LeftOut(LeftOut::Constant));
        assert_eq!(kind("c", numbers(vec![4.0, f64::NAN])), Kind::Number);
        assert_eq!(kind("c", numbers(vec![f64::NAN; 2])), Kind::LeftOut(LeftOut::Empty));
        assert_eq!(kind("c", texts((0..40).map(|i| format!("n{}", i % 2)))), Kind::Category);
        assert_eq!(kind("c", texts((0..40).map(|i| format!("n{i}")))), Kind::LeftOut(LeftOut::Text));
        assert_eq!(kind("c", texts((10..30).map(|i| format!("2024-01-{i}")))), Kind::Date(DateFormat::YearFirst));
        assert_eq!(kind("c", texts((10..30).map(|i| format!("1/{i}/2024")))), Kind::Date(DateFormat::MonthFirst));
        assert_eq!(kind("c", Values::texts([None, None])), Kind::LeftOut(LeftOut::Empty));
    }

    #[test]
    fn texts_that_look_like_numbers_are_doubted() {
        for (text, looks) in [
            ("1.989,07", true),
            ("1,234,567", true),
            ("-12'000.5", true),
            ("3,5", true),
            ("1 000", true),
            ("1.2.3", false),
            ("31.05.2024", false),
            ("120/80", false),
            ("12a", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(looks_like_number(text), looks, "{text}");
        }
        let doubt = |other: usize| {
            let cells: Vec<String> =
                (0..40).map(|i| if i < other { "k.A.".into() } else { format!("1.{i:03},5") }).collect();
            let column = Column::new("pay", Values::texts(cells.iter().map(|cell| Some(cell.as_str()))));
            doubt(&column).unwrap_or_default()
        };
        assert!(
            doubt(0).contains("column 'pay' is read as texts that look like numbers, such as '1.000,5'"),
            "{}",
            doubt(0)
        );
        assert!(doubt(0).contains("without separators of thousands"));
        let said =
            "38 of its 40 cells look like numbers, and 'k.A.' does not: give --numeric 'pay', and --missing 'k.A.'";
        assert!(doubt(2).contains(said), "{}", doubt(2));
        assert_eq!(doubt(20), "");
        let cells: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let column = Column::new("pay", Values::texts(cells.iter().map(|cell| Some(cell.as_str()))));
        let said = "column 'pay' has texts that are numbers, such as '0': --numeric 'pay' reads them so";
        assert_eq!(super::doubt(&column).as_deref(), Some(said));
    }

    #[test]
    fn what_is_said_wins_and_must_make_sense() {
        let columns = ["a", "b", "c"].map(|name| Column::new(name, Values::Numbers(vec![1.0, 2.0, 2.5])));
        let table = Table::new(columns.into()).unwrap();
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let options = TableOptions { target: list(&["c"]), categorical: list(&["b"]), ..TableOptions::default() };
        let kinds: Vec<Kind> = profile(&table, &options).unwrap().into_iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [Kind::Number, Kind::Category, Kind::Target]);
        let says = |options: &TableOptions| profile(&table, options).unwrap_err().to_string();
        let unknown = TableOptions { ignore: list(&["d"]), ..options.clone() };
        assert!(says(&unknown).starts_with("ignore: there is no column 'd'"), "{}", says(&unknown));
        let twice = TableOptions { numeric: list(&["b"]), ..options };
        assert_eq!(says(&twice), "categorical: column 'b' is in numeric, too; name it once");
    }
}
