//! What the program says, in Python's words: `--numeric 'Income'` is `numeric=["Income"]`, and `--force` is `force=True`.

use syva_cli::embedded::Settings;
use toml::Value;

/// Settings that are lists of names.
const LISTS: [&str; 6] = ["numeric", "categorical", "ignore", "missing", "classes", "target"];
/// Words that go on with the sentence after a flag.
const NO_VALUES: [&str; 5] = ["out", "or", "and", "too", "to"];

/// A sentence of the program, with keywords in place of flags. What is in backticks is a command, and stays.
pub fn in_python(text: &str) -> String {
    // The setting that an error begins with.
    let name = text.split(':').next().unwrap_or_default();
    let text = match keyword(name.trim_start_matches("--")) {
        Some(keyword) => format!("{keyword}{}", &text[name.len()..]),
        None => text.to_string(),
    };
    let parts = text.split('`').enumerate();
    parts.map(|(k, part)| if k % 2 == 0 { keywords(part) } else { part.to_string() }).collect::<Vec<_>>().join("`")
}

/// The keyword of a flag, if there is one.
fn keyword(flag: &str) -> Option<String> {
    let keyword = flag.replace('-', "_");
    (flag == "force" || flag == "learning-rate" || Settings::NAMES.contains(&keyword.as_str())).then_some(keyword)
}

fn keywords(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("--") {
        let length = after.find(|sign: char| !sign.is_ascii_lowercase() && sign != '-').unwrap_or(after.len());
        let (flag, behind) = after.split_at(length);
        said += before;
        let is_flag = before.is_empty() || before.ends_with([' ', '(']);
        let Some(keyword) = keyword(flag).filter(|_| is_flag) else {
            said += "--";
            rest = after;
            continue;
        };
        said += &keyword;
        rest = behind;
        if flag == "force" {
            said += "=True";
        } else if let Some((value, behind)) = value(&keyword, behind) {
            said += &format!("={value}");
            rest = behind;
        }
    }
    said + rest
}

/// The value behind a flag, as Python has it, and what follows.
fn value<'a>(keyword: &str, behind: &'a str) -> Option<(String, &'a str)> {
    let behind = behind.strip_prefix(' ')?;
    let (word, rest) = if let Some(quoted) = behind.strip_prefix('\'') {
        quoted.split_once('\'')?
    } else {
        let word = behind.split([' ', ';', ')']).next()?.trim_end_matches([',', '.', ':']);
        if NO_VALUES.contains(&word) {
            return None;
        }
        (word, &behind[word.len()..])
    };
    Settings::named([(keyword.to_string(), Value::String(word.into()))]).ok()?;
    let shown = if LISTS.contains(&keyword) {
        format!("[\"{word}\"]")
    } else if word.parse::<f64>().is_ok() {
        word.into()
    } else {
        format!("\"{word}\"")
    };
    Some((shown, rest))
}
