//! Splits text into rows and cells (RFC 4180, and what programs write besides).
//!
//! A cell that begins with a quote ends with the next one that is not doubled. Its content is kept as it is, with
//! delimiters and line breaks. Blanks around other cells are trimmed, and a quote within them is a character like any
//! other. Empty lines are no rows.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memrchr};

const QUOTE: u8 = b'"';

/// What separates cells and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// An ASCII character.
    pub delimiter: u8,
    /// The last byte of a line: a line feed, or a carriage return if the file has no line feeds.
    pub line_end: u8,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The quote at this byte is not closed.
    Unclosed(usize),
    /// Something follows the closing quote at this byte.
    AfterQuote(usize),
}

impl Syntax {
    /// Blanks. A carriage return before a line feed is one.
    pub fn is_blank(self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t' | b'\r' | b'\n') && byte != self.delimiter && byte != self.line_end
    }

    fn skip_blanks(self, bytes: &[u8], mut at: usize) -> usize {
        while bytes.get(at).is_some_and(|&byte| self.is_blank(byte)) {
            at += 1;
        }
        at
    }

    /// The beginning of the next row that is not an empty line.
    pub fn skip_empty_lines(self, bytes: &[u8], mut at: usize) -> usize {
        loop {
            let end = self.skip_blanks(bytes, at);
            match bytes.get(end) {
                None => return bytes.len(),
                Some(&byte) if byte == self.line_end => at = end + 1,
                Some(_) => return at,
            }
        }
    }

    /// What the byte after a cell says: whether the row ends there, and where the next cell or row begins.
    fn after(self, bytes: &[u8], at: usize) -> Option<(bool, usize)> {
        match bytes.get(at) {
            None => Some((true, at)),
            Some(&byte) if byte == self.delimiter => Some((false, at + 1)),
            Some(&byte) if byte == self.line_end => Some((true, at + 1)),
            Some(_) => None,
        }
    }

    /// As [`Syntax::after`], behind blanks.
    pub fn after_blanks(self, bytes: &[u8], at: usize) -> Option<(bool, usize)> {
        self.after(bytes, at).or_else(|| self.after(bytes, self.skip_blanks(bytes, at)))
    }

    /// The cell that begins at a byte, whether it is the row's last, and where the next one begins.
    pub fn cell(self, text: &str, at: usize) -> Result<(Cow<'_, str>, bool, usize), Fault> {
        let bytes = text.as_bytes();
        let start = self.skip_blanks(bytes, at);
        if bytes.get(start) == Some(&QUOTE) {
            return self.quoted(text, start);
        }
        let mut end = self.find_end(bytes, start);
        let (last, next) = self.after(bytes, end).unwrap_or((true, end));
        while end > start && self.is_blank(bytes[end - 1]) {
            end -= 1;
        }
        Ok((Cow::Borrowed(&text[start..end]), last, next))
    }

    fn quoted(self, text: &str, quote: usize) -> Result<(Cow<'_, str>, bool, usize), Fault> {
        let bytes = text.as_bytes();
        let (mut content, mut start) = (Cow::Borrowed(""), quote + 1);
        loop {
            let end = start + memchr(QUOTE, &bytes[start..]).ok_or(Fault::Unclosed(quote))?;
            let doubled = bytes.get(end + 1) == Some(&QUOTE);
            let piece = &text[start..end + usize::from(doubled)];
            if content.is_empty() {
                content = Cow::Borrowed(piece);
            } else {
                content.to_mut().push_str(piece);
            }
            if !doubled {
                let (last, next) = self.after_blanks(bytes, end + 1).ok_or(Fault::AfterQuote(end))?;
                return Ok((content, last, next));
            }
            start = end + 2;
        }
    }

    /// The next delimiter or end of a line, eight bytes at a time.
    fn find_end(self, bytes: &[u8], mut at: usize) -> usize {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const TOPS: u64 = 0x8080_8080_8080_8080;
        // The lowest set bit belongs to the first byte that is zero.
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
        let (delimiters, line_ends) = (ONES * u64::from(self.delimiter), ONES * u64::from(self.line_end));
        while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()) {
            let word = u64::from_le_bytes(eight);
            let found = zeros(word ^ delimiters) | zeros(word ^ line_ends);
            if found != 0 {
                return at + found.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        while bytes.get(at).is_some_and(|&byte| byte != self.delimiter && byte != self.line_end) {
            at += 1;
        }
        at
    }

    /// The cells of the row that begins at a byte, and where the next row begins.
    pub fn row(self, text: &str, mut at: usize) -> Result<(Vec<Cow<'_, str>>, usize), Fault> {
        let mut cells = Vec::new();
        loop {
            let (cell, last, next) = self.cell(text, at)?;
            cells.push(cell);
            if last {
                return Ok((cells, next));
            }
            at = next;
        }
    }

    /// Cuts bytes where rows end, into pieces that are at least this large except for the last one. What follows the
    /// last end of a row is not part of them.
    pub fn split(self, bytes: &[u8], size: usize) -> Vec<Range<usize>> {
        let (mut pieces, mut start, mut last_end) = (Vec::new(), 0, 0);
        // A stretch outside of quotes, where each end of a line is the end of a row.
        let mut cut = |stretch: Range<usize>| {
            let mut from = stretch.start;
            loop {
                // The first end behind which the piece is large enough.
                let search = from.max(start + size.saturating_sub(1)).min(stretch.end);
                let Some(found) = memchr(self.line_end, &bytes[search..stretch.end]) else { break };
                from = search + found + 1;
                pieces.push(start..from);
                start = from;
            }
            if let Some(found) = memrchr(self.line_end, &bytes[stretch.clone()]) {
                last_end = stretch.start + found + 1;
            }
        };
        let (mut outside, mut at) = (0, 0);
        while let Some(found) = memchr(QUOTE, &bytes[at..]) {
            let quote = at + found;
            at = quote + 1;
            if self.opens(bytes, quote) {
                cut(outside..quote);
                outside = closing(bytes, quote).map_or(bytes.len(), |closing| closing + 1);
                at = outside;
            }
        }
        cut(outside..bytes.len());
        if last_end > start {
            pieces.push(start..last_end);
        }
        pieces
    }

    /// Whether a quote outside of quoted cells opens one: only blanks may lie between it and the cell's beginning.
    fn opens(self, bytes: &[u8], quote: usize) -> bool {
        let before = bytes[..quote].iter().rev().find(|&&byte| !self.is_blank(byte));
        before.is_none_or(|&byte| byte == self.delimiter || byte == self.line_end)
    }
}

/// The quote that closes the one at a byte.
fn closing(bytes: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        let end = at + memchr(QUOTE, bytes.get(at..)?)?;
        if bytes.get(end + 1) != Some(&QUOTE) {
            return Some(end);
        }
        at = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Syntax = Syntax { delimiter: b',', line_end: b'\n' };

    fn rows(syntax: Syntax, text: &str) -> Result<Vec<Vec<String>>, Fault> {
        let (mut rows, mut at) = (Vec::new(), syntax.skip_empty_lines(text.as_bytes(), 0));
        while at < text.len() {
            let (cells, next) = syntax.row(text, at)?;
            rows.push(cells.into_iter().map(Cow::into_owned).collect());
            at = syntax.skip_empty_lines(text.as_bytes(), next);
        }
        Ok(rows)
    }

    #[test]
    fn cells_are_split_trimmed_and_unquoted() {
        let text = "a, b ,\"c, d\"\r\n\r\n  \n\"x \"\"y\"\"\", \"two\nlines\" ,\n5\" disk,\"\",\"\"\"\"";
        let expected = [["a", "b", "c, d"], ["x \"y\"", "two\nlines", ""], ["5\" disk", "", "\""]];
        assert_eq!(rows(COMMA, text).unwrap(), expected);
        let returns = Syntax { delimiter: b';', line_end: b'\r' };
        assert_eq!(rows(returns, "a;b\r1; 2\r\r").unwrap(), [["a", "b"], ["1", "2"]]);
        let tabs = Syntax { delimiter: b'\t', line_end: b'\n' };
        assert_eq!(rows(tabs, "a\t b \t\n\t\t\n").unwrap(), [["a", "b", ""], ["", "", ""]]);
    }

    #[test]
    fn open_quotes_and_what_follows_closing_ones_are_faults() {
        assert_eq!(rows(COMMA, "a,b\n1,\"2\n3,4\n"), Err(Fault::Unclosed(6)));
        assert_eq!(rows(COMMA, "a,\"b\"c\n"), Err(Fault::AfterQuote(4)));
    }

    /// Pieces end where rows do: parsed one by one, they give the same rows as the whole.
    #[test]
    fn pieces_hold_whole_rows() {
        let seed = 3u64;
        let mut state = seed;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let tokens = ["a", ",", "\n", "\r\n", "\"x\"", "\"p\nq\"", "\"\"", " ", "5\"", "\"a \"\"\n,b\"", "ä"];
        for round in 0..3000 {
            let text: String = (0..random(30)).map(|_| tokens[random(tokens.len() as u64) as usize]).collect();
            let Ok(whole) = rows(COMMA, &text) else { continue };
            let size = 1 + random(12) as usize;
            let pieces = COMMA.split(text.as_bytes(), size);
            let end = pieces.last().map_or(0, |piece| piece.end);
            let mut parts = Vec::new();
            for (i, piece) in pieces.iter().enumerate() {
                assert!(piece.len() >= size || i + 1 == pieces.len(), "seed {seed}, round {round}: {text:?}");
                assert_eq!(piece.start, if i == 0 { 0 } else { pieces[i - 1].end });
                parts.extend(rows(COMMA, &text[piece.clone()]).unwrap());
            }
            parts.extend(rows(COMMA, &text[end..]).unwrap());
            assert_eq!(parts, whole, "seed {seed}, round {round}: {text:?} in {pieces:?}");
        }
    }
}
