//! Dates and times as texts, and the numbers that are in them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How dates are written. A time of day may follow, after a blank or a `T`, as `12:30`, `12:30:15` or `12:30:15.5`, with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateFormat {
    /// `2024-05-31` or `2024/05/31`.
    YearFirst,
    /// `31.05.2024`, `31/05/2024` or `31-05-2024`.
    DayFirst,
    /// `05/31/2024`, `05.31.2024` or `05-31-2024`.
    MonthFirst,
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::YearFirst => "2024-05-31",
            Self::DayFirst => "31.05.2024",
            Self::MonthFirst => "05/31/2024",
        })
    }
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    year: i32,
    month: u32,
    day: u32,
    /// Seconds since midnight.
    seconds: f64,
}

/// A number that is in a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatePart {
    /// Days since 1970-01-01, with the share of the day.
    Elapsed,
    /// The year.
    Year,
    /// The month, 1 to 12.
    Month,
    /// The day of the month, 1 to 31.
    Day,
    /// The day of the week: 0 is Monday.
    Weekday,
    /// The hour, with its share.
    Hour,
}

impl fmt::Display for DatePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Elapsed => "elapsed",
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Weekday => "weekday",
            Self::Hour => "hour",
        })
    }
}

impl DatePart {
    /// All parts.
    pub const ALL: [Self; 6] = [Self::Elapsed, Self::Year, Self::Month, Self::Day, Self::Weekday, Self::Hour];

    /// The number in a moment.
    #[must_use]
    pub fn of(self, moment: Moment) -> f64 {
        let days = moment.days();
        match self {
            Self::Elapsed => days as f64 + moment.seconds / 86_400.0,
            Self::Year => f64::from(moment.year),
            Self::Month => f64::from(moment.month),
            Self::Day => f64::from(moment.day),
            // 1970-01-01 was a Thursday.
            Self::Weekday => (days + 3).rem_euclid(7) as f64,
            Self::Hour => moment.seconds / 3600.0,
        }
    }
}

impl Moment {
    /// Days since 1970-01-01 in the Gregorian calendar. A year is counted from March, so that leap days end it.
    fn days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((i64::from(self.month) + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }
}

impl DateFormat {
    /// All formats, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::YearFirst, Self::DayFirst, Self::MonthFirst];

    /// Reads a date. `None` if the text is none.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Moment> {
        let text = text.trim();
        let (date, time) = match text.find(['T', ' ']) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let separator = date.chars().find(|c| !c.is_ascii_digit()).filter(|c| matches!(c, '-' | '/' | '.'))?;
        let mut parts = date.split(separator);
        let mut part = || parts.next().filter(|part| matches!(part.len(), 1..=4)).and_then(digits);
        let (first, second, third) = (part()?, part()?, part()?);
        let (year, month, day, of_year) = match self {
            Self::YearFirst => (first, second, third, date.find(separator)?),
            Self::DayFirst => (third, second, first, date.len() - date.rfind(separator)? - 1),
            Self::MonthFirst => (third, first, second, date.len() - date.rfind(separator)? - 1),
        };
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(leap),
            _ => 31,
        };
        if parts.next().is_some() || of_year != 4 || !(1..=12).contains(&month) || !(1..=last).contains(&day) {
            return None;
        }
        let seconds = time.map_or(Some(0.0), seconds)?;
        Some(Moment { year: year as i32, month, day, seconds })
    }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The seconds of a time of day.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches('Z');
    let mut parts = text.split(':');
    let mut part = || parts.next().filter(|part| part.len() == 2).and_then(digits);
    let (hours, minutes) = (part()?, part()?);
    let seconds = match parts.next() {
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => 0.0,
    };
    let fits = parts.next().is_none() && hours < 24 && minutes < 60 && (0.0..61.0).contains(&seconds);
    fits.then(|| f64::from(hours * 3600 + minutes * 60) + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_counted() {
        let read =
            |format: DateFormat, text: &str| format.read(text).map(|moment| DatePart::ALL.map(|part| part.of(moment)));
        let year = DateFormat::YearFirst;
        assert_eq!(read(year, "1970-01-01"), Some([0.0, 1970.0, 1.0, 1.0, 3.0, 0.0]));
        assert_eq!(read(year, "2024-02-29"), Some([19_782.0, 2024.0, 2.0, 29.0, 3.0, 0.0]));
        assert_eq!(read(year, "2000/3/1 12:00"), Some([11_017.5, 2000.0, 3.0, 1.0, 2.0, 12.0]));
        assert_eq!(read(year, "1969-12-31T18:00:00Z"), Some([-0.25, 1969.0, 12.0, 31.0, 2.0, 18.0]));
        let (day, month) = (DateFormat::DayFirst, DateFormat::MonthFirst);
        assert_eq!(read(day, "31.12.1999"), read(year, "1999-12-31"));
        assert_eq!(read(month, "12/31/1999"), read(year, "1999-12-31"));
        for text in ["2023-02-29", "2024-13-01", "2024-00-01", "24-01-01", "2024-01", "2024-01-01-01", "", "2024", "x"]
        {
            assert_eq!(read(year, text), None, "{text}");
        }
        for text in ["2024-01-01 25:00", "2024-01-01 1:00", "2024-01-01 10:60", "2024-01-01 10:00:", "2024-01-01 x"] {
            assert_eq!(read(year, text), None, "{text}");
        }
        assert_eq!(read(day, "13/31/1999"), None);
        assert_eq!(read(day, "1/2/99"), None);
    }
}
