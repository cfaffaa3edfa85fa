//! Lists of the non-zeros of inputs that are mostly zero, by sample and by feature.
//!
//! The contract lets the first layer pass over zeros (rule 5). In MNIST these are four fifths of the pixels, in the
//! layer that does four fifths of the work. Each task lists the inputs that it multiplies from the raw data: by sample
//! for forward, by feature for the weight gradient, one piece of features and one block of samples at a time. This
//! costs a tenth of what the lists save. Lists that threads share would have to travel from cache to cache, and lists
//! of the whole data set would have to be fetched from memory, which costs no less.

use std::str::FromStr;

use syva_core::{Error, Result};

use crate::buffer::HALF;
use crate::memory::Source;
use crate::vector::Vector;

/// How the first layer reads its inputs. The results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKernel {
    /// Use lists of non-zeros if there are few enough of them.
    Auto,
    /// Read all inputs.
    Dense,
    /// Always use lists of non-zeros.
    Sparse,
}

impl InputKernel {
    /// The one that the environment variable `SYVA_KERNEL` names, or `Auto`.
    pub fn detect() -> Result<Self> {
        std::env::var("SYVA_KERNEL").map_or(Ok(Self::Auto), |name| name.parse())
    }
}

/// The largest share of non-zeros for which lists are used.
const WORTHWHILE: f64 = 0.4;

impl InputKernel {
    /// Whether to use lists for these samples. `Auto` uses them if there are so few non-zeros that lists are faster,
    /// judged by some hundred samples spread over the data.
    pub(crate) fn lists(self, inputs: Source<'_>, features: usize) -> bool {
        let samples = inputs.len() / features;
        let every = samples.div_ceil(500).max(1);
        let rows = (0..samples).step_by(every).map(|sample| sample * features..(sample + 1) * features);
        let non_zero = || -> usize {
            match inputs {
                Source::Bytes(x) => rows.clone().map(|row| x[row].iter().filter(|&&x| x != 0).count()).sum(),
                Source::Floats(x) => rows.clone().map(|row| non_zeros(&x[row])).sum(),
                Source::Mixed(x) => {
                    let of_row = |sample| non_zeros(x.numbers_of(sample)) + x.categories_of(sample).count();
                    (0..samples).step_by(every).map(of_row).sum()
                }
            }
        };
        match self {
            Self::Auto => non_zero() as f64 <= WORTHWHILE * (samples.div_ceil(every) * features) as f64,
            Self::Dense => false,
            Self::Sparse => true,
        }
    }
}

fn non_zeros(row: &[f32]) -> usize {
    row.iter().filter(|&&x| x != 0.0).count()
}

impl FromStr for InputKernel {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "dense" => Ok(Self::Dense),
            "sparse" => Ok(Self::Sparse),
            _ => Err(Error::setting("SYVA_KERNEL", format!("unknown name '{name}'"), "use auto, dense or sparse")),
        }
    }
}

/// The most columns of a matrix that is listed.
pub const COLUMNS: usize = 512;

/// The numbers of the columns: 0, 1, 2, …
const NUMBERS: [u32; COLUMNS + HALF] = {
    let mut numbers = [0; COLUMNS + HALF];
    let mut i = 0;
    while i < numbers.len() {
        numbers[i] = i as u32;
        i += 1;
    }
    numbers
};

/// The non-zeros of each pair of rows of a matrix: the columns where either row is not zero, in ascending order, and
/// the values of both rows in these columns.
///
/// A product reads its other factor once for both rows. That factor comes from the L2 cache, which delivers half a
/// vector per cycle, while a processor multiplies one or two. Similar rows, such as those of neighbouring pixels, share
/// most of their columns.
#[derive(Default)]
pub struct Lists {
    /// The values of the first and the second row of each pair.
    values: [Vec<f32>; 2],
    /// The numbers of the listed columns. Each is below `bound`, and kernels rely on that. Only a [`Writer`] writes
    /// here.
    columns: Vec<u32>,
    /// The number of columns of the matrix.
    bound: usize,
    rows: usize,
    /// The number of listed columns of each pair.
    lens: Vec<u32>,
    /// Places per pair: as many as the matrix has columns, and one register more.
    slot: usize,
}

impl Lists {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of listed columns of all pairs together.
    pub(crate) fn entries(&self) -> usize {
        self.lens.iter().map(|&len| len as usize).sum()
    }

    /// The number of columns of the matrix.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// The list of the rows 2·pair and 2·pair + 1: the values of both rows, and their columns.
    #[inline(always)]
    #[must_use]
    pub fn pair(&self, pair: usize) -> ([&[f32]; 2], &[u32]) {
        let at = pair * self.slot;
        let range = at..at + self.lens[pair] as usize;
        ([&self.values[0][range.clone()], &self.values[1][range.clone()]], &self.columns[range])
    }

    /// Empties the lists, and makes room for those of a matrix with this many rows and columns.
    pub(crate) fn clear(&mut self, rows: usize, columns: usize) {
        assert!(columns <= COLUMNS, "at most {COLUMNS} columns are listed");
        let pairs = rows.div_ceil(2);
        (self.rows, self.bound, self.slot) = (rows, columns, columns + HALF);
        self.lens.clear();
        self.lens.resize(pairs, 0);
        if self.columns.len() < pairs * self.slot {
            self.values.iter_mut().for_each(|values| values.resize(pairs * self.slot, 0.0));
            self.columns.resize(pairs * self.slot, 0);
        }
    }

    /// Appends to a row's list: the value in this column. Columns come in ascending order.
    pub(crate) fn push(&mut self, row: usize, column: usize, value: f32) {
        assert!(row < self.rows && column < self.bound, "the value is inside the matrix");
        let (pair, of_pair) = (row / 2, row % 2);
        let (at, len) = (pair * self.slot, self.lens[pair] as usize);
        // The other row of the pair may have listed this column.
        if len > 0 && self.columns[at + len - 1] == column as u32 {
            self.values[of_pair][at + len - 1] = value;
            return;
        }
        assert!(len < self.bound, "a column is listed once");
        self.columns[at + len] = column as u32;
        self.values[of_pair][at + len] = value;
        self.values[1 - of_pair][at + len] = 0.0;
        self.lens[pair] += 1;
    }

    /// A writer that appends to the lists. It is valid until they are used in any other way.
    pub(crate) fn writer(&mut self) -> Writer {
        let values = self.values.each_mut().map(Vec::as_mut_ptr);
        Writer { values, columns: self.columns.as_mut_ptr(), lens: self.lens.as_mut_ptr(), slot: self.slot }
    }
}

/// Appends to lists. It keeps pointers to them, so that nothing has to be looked up again after each write.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    values: [*mut f32; 2],
    columns: *mut u32,
    lens: *mut u32,
    slot: usize,
}

impl Writer {
    /// Appends to a pair's list the columns from `first` on in which either of the `values` is not zero. `len` is the
    /// length of the list before. Returns its length afterwards.
    ///
    /// # Safety
    /// As for all of V. Nobody else borrows the lists, and they have not changed since `writer`. The pair is one of
    /// their pairs of rows. Values at or beyond `bound` are zero, and no column is appended to the pair twice.
    #[inline(always)]
    pub(crate) unsafe fn append<V: Vector>(self, pair: usize, len: usize, values: [V; 2], first: usize) -> usize {
        // SAFETY: by the caller's promise, the pair holds fewer than `bound` values before this, so that one register
        // more is inside its slot. `first` is a column, so NUMBERS has a full register from there on. The numbers pass
        // through the registers as the bits of f32, and no operation here depends on these bits.
        unsafe {
            let lanes = values[0].non_zero() | values[1].non_zero();
            if lanes != 0 {
                let at = pair * self.slot + len;
                values[0].compress(lanes, self.values[0].add(at));
                values[1].compress(lanes, self.values[1].add(at));
                let numbers = V::load(NUMBERS.as_ptr().add(first).cast());
                numbers.compress(lanes, self.columns.add(at).cast());
            }
            len + lanes.count_ones() as usize
        }
    }

    /// Ends the list of a pair.
    ///
    /// # Safety
    /// As for `append`, and `len` is what the last one returned.
    #[inline(always)]
    pub(crate) unsafe fn end(self, pair: usize, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { *self.lens.add(pair) = len as u32 };
    }
}

/// What the rows of the lists are.
#[derive(Clone, Copy, Debug)]
pub enum ListBy {
    /// Rows are the block's samples, columns are its features.
    Sample,
    /// Rows are the block's features, columns are its samples.
    Feature,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::{Block, Kernels};
    use crate::memory::Samples;
    use crate::memory::Source;

    #[test]
    fn lists_hold_what_is_not_zero_in_order() {
        let value = |row: usize, column: usize| if (row * 7 + column * 5) % 9 < 6 { 0 } else { (row + column) as u8 };
        for isa in Isa::ALL.into_iter().filter_map(|isa| isa.available().ok()) {
            for (rows, columns) in [(1, 1), (5, 3), (16, 96), (33, 50), (128, 90), (127, 17)] {
                // A block inside a larger matrix, with two features before it and three behind, and the last sample
                // first.
                let (features, first) = (columns + 5, 2);
                let inputs: Vec<u8> = (0..rows * features).map(|i| value(i / features, i % features)).collect();
                let floats: Vec<f32> = inputs.iter().map(|&x| f32::from(x)).collect();
                let order: Vec<u32> = (0..rows as u32).rev().collect();
                let scale: Vec<f32> = (0..columns).map(|k| k as f32 + 0.5).collect();
                let samples = Samples::These(&order);
                let block = Block { features, first, scale: &scale, samples, next: Some(samples) };
                let wanted =
                    |row: usize, column: usize| f32::from(value(rows - 1 - row, first + column)) * scale[column];
                for source in [Source::Bytes(&inputs), Source::Floats(&floats)] {
                    let (kernels, mut lists) = (Kernels::new(isa).unwrap(), Lists::default());
                    kernels.list(source, &block, ListBy::Sample, &mut lists);
                    check(&lists, rows, columns, &wanted);
                    kernels.list(source, &block, ListBy::Feature, &mut lists);
                    check(&lists, columns, rows, &|column, row| wanted(row, column));
                }
            }
        }
    }

    fn check(lists: &Lists, rows: usize, columns: usize, value: &dyn Fn(usize, usize) -> f32) {
        assert_eq!((lists.rows(), lists.bound()), (rows, columns));
        for pair in 0..rows.div_ceil(2) {
            let both = |column| [0, 1].map(|i| if 2 * pair + i < rows { value(2 * pair + i, column) } else { 0.0 });
            let wanted: Vec<_> = (0..columns).map(|c| (both(c), c as u32)).filter(|(v, _)| *v != [0.0; 2]).collect();
            let ([first, second], numbers) = lists.pair(pair);
            let found: Vec<_> =
                numbers.iter().enumerate().map(|(i, &column)| ([first[i], second[i]], column)).collect();
            assert_eq!(found, wanted, "{rows} by {columns}, pair {pair}");
        }
    }
}
