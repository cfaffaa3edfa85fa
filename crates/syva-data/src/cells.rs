//! What the text of a cell means: a number, a missing value, or a text.

use std::collections::HashSet;

/// The texts that mean that a value is missing unless [`ReadOptions::missing`](syva_core::table::ReadOptions::missing)
/// names others. An empty cell is always missing.
pub(crate) const MISSING: &[&str] =
    &["?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "-NaN", "-nan"];

/// The powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Which texts mean that a value is missing.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    texts: HashSet<String>,
    /// Whether one of them is a number, such as `-999`. Then each number has to be looked up, too.
    pub numbers: bool,
}

impl Missing {
    pub fn new<S: AsRef<str>>(texts: &[S], decimal: u8) -> Self {
        let texts: HashSet<String> = texts.iter().map(|text| text.as_ref().trim().to_string()).collect();
        let numbers = texts.iter().any(|text| number(text, decimal).is_some());
        Self { texts, numbers }
    }

    pub fn contains(&self, text: &str) -> bool {
        let text = text.trim_matches([' ', '\t']);
        text.is_empty() || self.texts.contains(text)
    }
}

/// A decimal number: `-1`, `.5`, `2.`, `1e3`, with blanks around it. Neither hexadecimal digits nor separators of
/// thousands are. `inf`, `infinity` and what exceeds an `f64` are infinite.
pub(crate) fn number(text: &str, decimal: u8) -> Option<f64> {
    let text = text.trim_matches([' ', '\t']);
    if let Some((value, end)) = plain_number(text, 0, decimal)
        && end == text.len()
    {
        return Some(value);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    // What is left are letters that `parse` knows (`nan`), and points where commas belong.
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'e' | b'E' | b'-' | b'+') || byte == decimal;
    if !text.bytes().all(allowed) {
        return None;
    }
    if decimal == b'.' { text.parse().ok() } else { text.replace(char::from(decimal), ".").parse().ok() }
}

/// The number without exponent that begins at a byte, and where it ends.
pub(crate) fn plain_number(text: &str, start: usize, decimal: u8) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    let mut at = start;
    let negative = bytes.get(at) == Some(&b'-');
    if negative || bytes.get(at) == Some(&b'+') {
        at += 1;
    }
    let mut mantissa = 0u64;
    let whole = at;
    digits(bytes, &mut at, &mut mantissa);
    let mut count = at - whole;
    let mut decimals = 0;
    if bytes.get(at) == Some(&decimal) {
        at += 1;
        let fraction = at;
        digits(bytes, &mut at, &mut mantissa);
        decimals = at - fraction;
        count += decimals;
    }
    // 19 digits fit into 64 bits.
    if count == 0 || count > 19 {
        return None;
    }
    // One division of exact numbers rounds once (Clinger, "How to read floating point numbers accurately", 1990).
    if mantissa <= 1 << 53 && decimals < POWERS.len() {
        let value = mantissa as f64 / POWERS[decimals];
        return Some((if negative { -value } else { value }, at));
    }
    let digits = &text[start..at];
    let value = if decimal == b'.' { digits.parse() } else { digits.replace(char::from(decimal), ".").parse() };
    value.ok().map(|value| (value, at))
}

/// Adds the digits from a byte on to a number.
fn digits(bytes: &[u8], at: &mut usize, mantissa: &mut u64) {
    while let Some(eight) = bytes.get(*at..*at + 8) {
        let Some(value) = eight_digits(eight) else { break };
        *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(value);
        *at += 8;
    }
    while let Some(digit) = bytes.get(*at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        *at += 1;
    }
}

/// The number that eight digits make: neighbours are joined to pairs, pairs to fours, and these to eight.
fn eight_digits(bytes: &[u8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes.try_into().ok()?);
    let high = word & 0xf0f0_f0f0_f0f0_f0f0;
    let above_nine = word.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if high != 0x3030_3030_3030_3030 || above_nine != 0x3030_3030_3030_3030 {
        return None;
    }
    let pairs = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 * 256 + 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 * 65_536 + 1) >> 16;
    Some((fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_c_and_python_take_for_decimal_numbers() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", 0.0),
            ("12", 12.0),
            ("+12", 12.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1.25", -1.25),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("-.5e+2", -50.0),
            ("00012", 12.0),
            ("12345678", 12_345_678.0),
            ("123456789.125", 123_456_789.125),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("0.30000000000000004", 0.1 + 0.2),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
            (" 7 ", 7.0),
        ] {
            assert_eq!(number(text, b'.'), Some(value), "{text}");
            assert_eq!(number(&text.replace('.', ","), b','), Some(value), "{text} with a comma");
        }
        for text in [
            "", " ", "-", "+", ".", "e3", "1e", "1e+", "0x1F", "1_000", "1,000", "1.2.3", "--1", "1-", "nan", "NaN",
            "1 2", "12a", "½", "١٢", "1e3.5", "+-1", "1f", "1d", "true", "infinit", "1:2", "1/2",
        ] {
            assert_eq!(number(text, b'.'), None, "{text}");
        }
        assert_eq!(number("1.5", b','), None);
        for text in ["inf", "-INF", "Infinity", "+infinity", "1e999", "-1e999"] {
            assert!(number(text, b'.').is_some_and(f64::is_infinite), "{text}");
        }
    }

    /// The fast path gives the same bits as the standard library.
    #[test]
    fn numbers_are_rounded_as_the_standard_library_does() {
        let seed = 7u64;
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for _ in 0..200_000 {
            let digits = 1 + random() % 20;
            let mut text: String = (0..digits).map(|_| char::from(b'0' + (random() % 10) as u8)).collect();
            text.insert((random() % (digits + 1)) as usize, '.');
            if random() % 2 == 0 {
                text.insert(0, '-');
            }
            if random() % 4 == 0 {
                text += &format!("e{}", random() as i64 % 320 - 160);
            }
            let expected: f64 = text.parse().unwrap();
            assert_eq!(number(&text, b'.').unwrap().to_bits(), expected.to_bits(), "seed {seed}: {text}");
        }
    }

    #[test]
    fn missing_texts_are_the_usual_ones_or_those_given() {
        let usual = Missing::new(MISSING, b'.');
        assert!(["", " ", "?", "NA", " NaN ", "None", "<NA>"].iter().all(|text| usual.contains(text)));
        assert!(!["na", "none", "0", "-", "N A"].iter().any(|text| usual.contains(text)));
        assert!(!usual.numbers);
        let given = Missing::new(&["-999", "unknown"], b'.');
        assert!(given.numbers && given.contains("-999") && given.contains("") && !given.contains("NA"));
    }
}
