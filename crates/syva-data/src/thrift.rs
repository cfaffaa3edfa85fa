//! Structs in Thrift's compact protocol, as Parquet's metadata are.
//!
//! ```text
//! field   0xDT        D: number of the field minus that of the field before, T: type; if D is 0, the number follows
//! integer             groups of seven bits, the lowest first, the sign in the lowest bit
//! text                length, bytes
//! list    0xNT        N elements of type T; if N is 15, the number follows
//! stop    0x00
//! ```
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, Read, Take};

use parquet::errors::{ParquetError, Result};

/// Structs and lists in each other, at most. Parquet has six.
const DEPTH: usize = 12;

/// Reads a struct of at most so many bytes, and returns how many it has. `found` gets its integers and truth values, and
/// those of the structs in it: the numbers of the fields that lead to each, and its value. Elements of a list have the number
/// of the list.
pub(crate) fn read(bytes: impl Read, most: u64, found: &mut dyn FnMut(&[i64], i64)) -> Result<u64> {
    let mut reader = Reader { bytes: bytes.take(most), found, path: Vec::new() };
    reader.fields(0)?;
    Ok(most - reader.bytes.limit())
}

struct Reader<'a, R> {
    bytes: Take<R>,
    found: &'a mut dyn FnMut(&[i64], i64),
    path: Vec<i64>,
}

impl<R: Read> Reader<'_, R> {
    fn fields(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(bad("its metadata are nested too deep"));
        }
        let mut number = 0i64;
        loop {
            let begin = self.byte()?;
            if begin == 0 {
                return Ok(());
            }
            let step = i64::from(begin >> 4);
            number = if step == 0 { self.integer()? } else { number.saturating_add(step) };
            self.path.push(number);
            match begin & 15 {
                // The truth of a field is its type.
                kind @ (1 | 2) => (self.found)(&self.path, i64::from(kind == 1)),
                kind => self.value(kind, depth)?,
            }
            self.path.pop();
        }
    }

    /// Reads a value of this type.
    fn value(&mut self, kind: u8, depth: usize) -> Result<()> {
        match kind {
            // Truth values of lists, and bytes.
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.integer()?;
                (self.found)(&self.path, value);
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.unsigned()?;
                self.skip(length)
            }
            9 | 10 => self.list(depth + 1),
            12 => self.fields(depth + 1),
            _ => Err(bad("its metadata have a value of an unknown type")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(bad("its metadata are nested too deep"));
        }
        let begin = self.byte()?;
        let count = if begin >> 4 == 15 { self.unsigned()? } else { u64::from(begin >> 4) };
        // An element has a byte at least.
        if count > self.bytes.limit() {
            return Err(bad(&format!("its metadata promise a list of {count} elements, more than they have bytes")));
        }
        for _ in 0..count {
            self.value(begin & 15, depth)?;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte).map_err(|_| bad("its metadata are cut off"))?;
        Ok(byte[0])
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.bytes).take(count), &mut io::sink())?;
        if skipped < count { Err(bad("its metadata are cut off")) } else { Ok(()) }
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(bad("its metadata have a number of more than 64 bits"))
    }

    fn integer(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

fn bad(problem: &str) -> ParquetError {
    ParquetError::General(problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = Vec<(Vec<i64>, i64)>;

    fn numbers(bytes: &[u8]) -> Result<(Found, u64)> {
        let mut all = Vec::new();
        let length = read(bytes, bytes.len() as u64, &mut |path, value| all.push((path.to_vec(), value)))?;
        Ok((all, length))
    }

    #[test]
    fn integers_and_truth_values_are_found_where_they_are() {
        // 1: 3, 2: -2^31, 4: a text, 5: { 1: true, 20: 7 }, 6: [1, -1], 7: [{ 1: 9 }]; then something else.
        let bytes = b"\x15\x06\x15\xff\xff\xff\xff\x0f\x28\x02hi\x1c\x11\x05\x28\x0e\x00\x19\x25\x02\x01\x19\x1c\x15\x12\x00\x00after";
        let (found, length) = numbers(bytes).unwrap();
        let expected = [
            (vec![1], 3),
            (vec![2], -(1 << 31)),
            (vec![5, 1], 1),
            (vec![5, 20], 7),
            (vec![6], 1),
            (vec![6], -1),
            (vec![7, 1], 9),
        ];
        assert_eq!((found, length), (expected.to_vec(), bytes.len() as u64 - 5));
    }

    #[test]
    fn promises_beyond_the_bytes_are_refused() {
        for (bytes, problem) in [
            (&b"\x15\x06"[..], "cut off"),
            (b"\x18\x05hi\x00", "cut off"),
            (b"\x19\xfc\xff\xff\x03\x00", "a list of 65535 elements, more than they have bytes"),
            (b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "more than 64 bits"),
            (b"\x1d\x00", "unknown type"),
            (&[0x1c; 40], "nested too deep"),
            (&[&[0x19][..], &[0x19; 40]].concat(), "nested too deep"),
        ] {
            let said = numbers(bytes).unwrap_err().to_string();
            assert!(said.contains(problem), "{bytes:?}: {said}");
        }
    }
}
