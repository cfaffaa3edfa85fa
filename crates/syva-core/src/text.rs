//! Numbers as people read them.

/// A loss, or any other number, in about nine characters at most, whatever its size. It has four decimals, or a power
/// of ten if four decimals would show nothing or be too long.
///
/// ```
/// use syva_core::text::number;
/// assert_eq!(number(0.06931), "0.0693");
/// assert_eq!(number(1.2198e31), "1.22e31");
/// assert_eq!(number(3.2e-7), "3.20e-7");
/// assert_eq!(number(0.0), "0.0000");
/// ```
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (0.00005..99_999.5).contains(&size) || !size.is_finite() {
        // Fewer decimals for large numbers, to keep the text short.
        let decimals = if size < 1000.0 { 4 } else { 1 };
        return format!("{value:.decimals$}");
    }
    format!("{value:.2e}")
}

/// A learning rate to try, in at most two significant digits.
///
/// ```
/// use syva_core::text::rate;
/// assert_eq!([0.9 * 0.1, 30.0, 1e-9, 0.0123].map(rate), ["0.09", "30", "1e-9", "0.012"]);
/// ```
#[must_use]
pub fn rate(rate: f32) -> String {
    // Products such as 0.1 · 0.9 have rounding errors, which are left out.
    let text = format!("{:?}", format!("{rate:.1e}").parse().unwrap_or(rate));
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}

/// A count with a comma between groups of three digits.
///
/// ```
/// use syva_core::text::grouped;
/// assert_eq!([999, 60_000, 1_234_567].map(grouped), ["999", "60,000", "1,234,567"]);
/// ```
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let comma = |place: usize| if place > 0 && (digits.len() - place).is_multiple_of(3) { "," } else { "" };
    digits
        .char_indices()
        .fold(String::new(), |text, (place, digit)| text + comma(place) + digit.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_of_all_sizes_are_short_and_true() {
        for exponent in -320..=307 {
            for mantissa in [1.0, 1.2198, 4.99995, 5.0, 9.999_999] {
                for sign in [1.0, -1.0] {
                    let value: f64 = sign * format!("{mantissa}e{exponent}").parse::<f64>().unwrap();
                    let text = number(value);
                    assert!(text.chars().count() <= 10, "{value:e}: {text}");
                    let back: f64 = text.parse().unwrap();
                    // Half a unit of the last of three digits, or of the fourth decimal.
                    assert!(
                        (back - value).abs() <= value.abs() * 0.005 + 0.00005 * f64::from(value.abs() >= 5e-5),
                        "{value:e}: {text}"
                    );
                    assert!(back != 0.0 || value == 0.0, "{value:e}: {text}");
                }
            }
        }
        assert_eq!([number(f64::NAN), number(f64::INFINITY), number(f64::NEG_INFINITY)], ["NaN", "inf", "-inf"]);
    }
}
