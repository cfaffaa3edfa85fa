//! Numbers as people write them on a command line or in a settings file, and the errors for text that is not a number.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use syva::Error;

/// A type of number that a setting can have.
pub trait Number: FromStr + Display + Copy {
    /// Whether its numbers can have a fraction.
    const FRACTIONS: bool;
    /// The largest number, for whole numbers.
    const MOST: &'static str;
}

macro_rules! whole {
    ($($type:ident = $most:literal),+) => {$(
        impl Number for $type {
            const FRACTIONS: bool = false;
            const MOST: &'static str = $most;
        }
    )+};
}

whole!(u16 = "65535", u32 = "4294967295", u64 = "18446744073709551615");
#[cfg(target_pointer_width = "64")]
whole!(usize = "18446744073709551615");
#[cfg(not(target_pointer_width = "64"))]
whole!(usize = "4294967295");

impl Number for f32 {
    const FRACTIONS: bool = true;
    const MOST: &'static str = "";
}

impl Number for f64 {
    const FRACTIONS: bool = true;
    const MOST: &'static str = "";
}

/// Parses a number. The error says what is wrong with the text and what to write, in words that follow a colon.
pub fn number<T: Number>(text: &str) -> Result<T, String> {
    let trimmed = text.trim();
    trimmed.parse().map_err(|_| if T::FRACTIONS { no_number(trimmed) } else { no_whole_number(trimmed, T::MOST) })
}

/// Parses a value that has a name or a form of its own. The error follows clap's `invalid value 'X' for '--FLAG': `, so
/// it repeats neither.
pub fn flag<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| match error {
        Error::Setting { problem, remedy, .. } => {
            let problem = problem.replace(&format!(" '{text}'"), "").replace(&format!("'{text}'"), "it");
            format!("{problem}; {remedy}")
        }
        other => other.to_string(),
    })
}

/// Parses yes or no.
pub fn yes_no(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("it is neither yes nor no; write one of them".into()),
    }
}

/// Reads yes or no in a settings file.
pub fn yes_no_from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::Boolean(value) => Ok(Some(value)),
        toml::Value::String(text) => yes_no(&text).map(Some).map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom("it is neither yes nor no; write true or false")),
    }
}

/// Parses a whole number that is not 0.
pub fn at_least_one<T: Number + Default + PartialEq>(text: &str) -> Result<T, String> {
    number(text).and_then(|value| if value == T::default() { Err("it is 0; give 1 or more".into()) } else { Ok(value) })
}

/// Parses a time with its unit: `90s`, `10m`, `1.5h`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let remedy = "write a number with its unit, such as 90s, 10m or 1.5h";
    let text = text.trim();
    let unit = match text.chars().last() {
        Some('s') => 1.0,
        Some('m') => 60.0,
        Some('h') => 3600.0,
        _ if plain(text).is_some() => return Err(format!("it has no unit; {remedy}")),
        _ => return Err(format!("it is not a time; {remedy}")),
    };
    let count = plain(text[..text.len() - 1].trim()).ok_or_else(|| format!("it is not a time; {remedy}"))?;
    let time = Duration::try_from_secs_f64(count * unit).map_err(|_| format!("it is out of range; {remedy}"))?;
    if time.is_zero() { Err(format!("it leaves no time to train; {remedy}")) } else { Ok(time) }
}

fn no_number(text: &str) -> String {
    let point = text.replace(',', ".");
    let share = text.split_once('/').and_then(|(a, b)| Some(a.parse::<f64>().ok()? / b.parse::<f64>().ok()?));
    match (plain(&point), share) {
        (Some(_), _) if text.matches(',').count() == 1 => format!("it is not a number; write {point}"),
        (None, Some(share)) if share.is_finite() => format!("it is not a number; write {share}"),
        _ if text.contains(',') => "it is a list; give a single number".into(),
        _ => percent(text).unwrap_or_else(|| "it is not a number; write one such as 0.01 or 1e-2".into()),
    }
}

/// The number that a percentage such as `5%` stands for.
fn percent(text: &str) -> Option<String> {
    let share: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    Some(format!("it is not a number; write {}", share / 100.0))
}

fn no_whole_number(text: &str, most: &str) -> String {
    let digits: String = text.chars().filter(|c| !matches!(c, '_' | '\'' | ' ' | '\u{a0}' | '\u{202f}')).collect();
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(size) = digits.strip_prefix('-').filter(|size| all_digits(size)) {
        return format!("it is below 0; did you mean {size}?");
    }
    if all_digits(&digits) {
        return if digits == text {
            format!("it is too large; the largest is {most}")
        } else {
            format!("it has separators between its digits; write {digits}")
        };
    }
    if text.contains(',') {
        let groups: Vec<&str> = text.split(',').collect();
        let thousands = groups.len() > 1 && groups[1..].iter().all(|group| group.len() == 3 && all_digits(group));
        return if thousands && all_digits(groups[0]) && groups[0].len() < 4 {
            format!("it is not a whole number; write {} if you mean that", groups.concat())
        } else {
            "it is a list; give a single whole number".into()
        };
    }
    match plain(text) {
        // Up to here, every whole number is exact in f64.
        Some(value) if value >= 0.0 && value.fract() == 0.0 && value <= 9e15 => {
            format!("it is not written in plain digits; write {value:.0}")
        }
        Some(value) if value > 0.0 && value <= 9e15 => {
            format!("it is not a whole number; write {:.0} or {:.0}", value.floor(), value.ceil())
        }
        _ => "it is not a whole number; write digits only, such as 100".into(),
    }
}

/// Parses a finite number.
fn plain(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A setting in a file, parsed like the flag of its name. It may be a text or a TOML number.
pub fn from_file<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T::Err: Display,
{
    text(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A number in a file, parsed like the number of a flag.
pub fn number_from_file<'de, D: Deserializer<'de>, T: Number>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = text(deserializer).map_err(|error: D::Error| {
        // TOML's integers have 64 bits. For a larger one serde names types that no one wrote.
        let said = error.to_string();
        if !["as i128", "as u128", "too large", "integer number overflowed"].iter().any(|words| said.contains(words)) {
            return error;
        }
        serde::de::Error::custom(if T::FRACTIONS {
            "it is out of range for an integer; write it with a decimal point".to_string()
        } else if T::MOST.parse::<i64>().is_err() {
            format!("it is out of range for an integer; give one from 0 to {}, or put it in quotes", i64::MAX)
        } else {
            format!("it is out of range; give a whole number from 0 to {}", T::MOST)
        })
    })?;
    number(&text).map(Some).map_err(|problem| serde::de::Error::custom(format!("'{text}': {problem}")))
}

/// The text that a flag would have had.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        // A number such as 1e1 becomes 10.0 here.
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{number, seconds};

    #[test]
    fn numbers_are_read_as_they_are() {
        assert_eq!(number::<f32>("0.01"), Ok(0.01));
        assert_eq!(number::<f32>("1e-2"), Ok(0.01));
        assert_eq!(number::<u64>(" 100 "), Ok(100));
        assert_eq!(number::<usize>("18446744073709551615"), Ok(usize::MAX));
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(seconds(" 1.5 h"), Ok(Duration::from_mins(90)));
        assert_eq!(seconds("10m"), Ok(Duration::from_mins(10)));
        for (text, says) in [
            ("10", "no unit"),
            ("ten", "not a time"),
            ("m", "not a time"),
            ("-1s", "out of range"),
            ("0s", "no time"),
            ("", "not"),
        ] {
            assert!(seconds(text).unwrap_err().contains(says), "{text}: {:?}", seconds(text));
        }
    }

    #[test]
    fn what_is_no_number_is_answered_with_what_to_write() {
        let rate = |text: &str| number::<f32>(text).unwrap_err();
        let count = |text: &str| number::<u32>(text).unwrap_err();
        for (said, wanted) in [
            (rate("0,01"), "it is not a number; write 0.01"),
            (rate("1/4"), "write 0.25"),
            (rate("5%"), "write 0.05"),
            (rate("0.1,0.2"), "a list"),
            (rate("fast"), "write one such as 0.01"),
            (rate(""), "write one such as 0.01"),
            (count("1e3"), "not written in plain digits; write 1000"),
            (count("1.5"), "not a whole number; write 1 or 2"),
            (count("1,2,3"), "a list"),
            (count("60,000"), "write 60000"),
            (count("1_000"), "1000"),
            (count("1 000"), "1000"),
            (count("-3"), "below 0; did you mean 3?"),
            (count("4294967296"), "too large; the largest is 4294967295"),
            (count("many"), "write digits only"),
            (count("nan"), "write digits only"),
            (count("1e300"), "write digits only"),
        ] {
            assert!(said.contains(wanted), "'{wanted}' is missing in: {said}");
            for word in ["literal", "invalid digit", "f32", "u32", "float"] {
                assert!(!said.contains(word), "{said}");
            }
        }
    }
}
