//! Inputs that are mostly zero: lists of what is not, by sample and by feature.
//!
//! The contract lets the first layer pass over zeros (rule 5): four fifths of MNIST's pixels, in the layer that is four
//! fifths of the work. `SparseRows` lists a data set's non-zeros once, sample by sample, already scaled; forward
//! walks a sample's list. `SparseColumns` lists a batch's by feature, samples ascending; the weight gradient of a
//! feature walks its list. It is made anew each step, in pieces that threads share.

use std::str::FromStr;

use syva_core::data::{Dataset, Inputs};
use syva_core::{Error, Result};

use crate::buffer::Shared;
use crate::team::Team;

/// How the first layer reads its inputs; the results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKernel {
    /// By lists of non-zeros where few enough inputs are not zero.
    Auto,
    /// All of them.
    Dense,
    /// By lists of non-zeros, however many they are.
    Sparse,
}

impl InputKernel {
    /// The one that the environment variable `SYVA_KERNEL` names, or `Auto`.
    pub fn detect() -> Result<Self> {
        std::env::var("SYVA_KERNEL").map_or(Ok(Self::Auto), |name| name.parse())
    }
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

/// A value that is not zero, and where: the feature in `SparseRows`, the sample of the batch in `SparseColumns`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Entry {
    /// Feature or sample.
    pub index: u32,
    /// `s = scale · x`.
    pub value: f32,
}

/// Ranges of features whose non-zeros are listed, and whose weights are updated, apart.
pub(crate) const PIECES: usize = 8;

/// First feature and number of features of a piece.
pub(crate) fn piece(piece: usize, features: usize) -> (usize, usize) {
    let bound = |piece: usize| piece * features / PIECES;
    (bound(piece), bound(piece + 1) - bound(piece))
}

/// The non-zeros of a data set, sample by sample, features ascending; in blocks, so that threads can list them together.
pub(crate) struct SparseRows {
    blocks: Vec<Block>,
}

/// Samples of a block.
const BLOCK: usize = 1024;

/// The non-zeros of [`BLOCK`] consecutive samples.
#[derive(Default)]
struct Block {
    entries: Vec<Entry>,
    /// Where the entries of each piece of each sample start; then their number.
    starts: Vec<usize>,
}

/// The share of inputs that are not zero, up to which lists are taken.
const WORTHWHILE: f64 = 0.4;

impl SparseRows {
    /// The lists of a data set, where they are asked for or worth while.
    pub(crate) fn choose(data: &Dataset, scale: &[f32], kernel: InputKernel, team: &mut Team) -> Option<Self> {
        let sparse = match kernel {
            InputKernel::Auto => Self::is_worthwhile(data),
            InputKernel::Dense => false,
            InputKernel::Sparse => true,
        };
        sparse.then(|| Self::new(data, scale, team))
    }

    /// Whether so few inputs are not zero that lists are faster, going by some hundred samples from all over the data.
    fn is_worthwhile(data: &Dataset) -> bool {
        let features = data.features();
        let samples = (0..data.samples()).step_by(data.samples().div_ceil(500));
        let inputs = samples.flat_map(|sample| sample * features..(sample + 1) * features);
        let (non_zero, all) = inputs.fold((0usize, 0usize), |(non_zero, all), index| {
            (non_zero + usize::from(data.inputs().get(index) != 0.0), all + 1)
        });
        non_zero as f64 <= WORTHWHILE * all as f64
    }

    fn new(data: &Dataset, scale: &[f32], team: &mut Team) -> Self {
        let mut blocks: Vec<Block> = (0..data.samples().div_ceil(BLOCK)).map(|_| Block::default()).collect();
        let shared = Shared::new(&mut blocks);
        team.run(data.samples().div_ceil(BLOCK), &|task| {
            let first = task * BLOCK * scale.len();
            let end = (first + BLOCK * scale.len()).min(data.inputs().len());
            // SAFETY: the block belongs to this task alone.
            let block = unsafe { &mut shared.part(task, 1)[0] };
            match data.inputs() {
                Inputs::U8(values) => block.list(&values[first..end], scale),
                Inputs::F32(values) => block.list(&values[first..end], scale),
            }
        });
        Self { blocks }
    }

    /// A sample's entries.
    pub(crate) fn row(&self, sample: usize) -> &[Entry] {
        self.blocks[sample / BLOCK].parts(sample % BLOCK * PIECES, PIECES)
    }

    /// A sample's entries with features in a piece.
    pub(crate) fn part(&self, sample: usize, piece: usize) -> &[Entry] {
        self.blocks[sample / BLOCK].parts(sample % BLOCK * PIECES + piece, 1)
    }
}

impl Block {
    /// Lists these samples. Every value is written, and the next one over it where it was zero: no branch to mispredict.
    fn list<T: Copy + Into<f32>>(&mut self, values: &[T], scale: &[f32]) {
        let non_zero = values.iter().filter(|&&value| value.into() != 0.0).count();
        self.entries.reserve_exact(non_zero);
        self.starts.reserve_exact(values.len() / scale.len() * PIECES + 1);
        let mut scratch = vec![Entry { index: 0, value: 0.0 }; scale.len() + 1];
        for sample in values.chunks_exact(scale.len()) {
            for (first, count) in (0..PIECES).map(|p| piece(p, scale.len())) {
                self.starts.push(self.entries.len());
                let mut filled = 0;
                let range = first..first + count;
                for ((feature, &x), &scale) in (first..).zip(&sample[range.clone()]).zip(&scale[range]) {
                    let x: f32 = x.into();
                    scratch[filled] = Entry { index: feature as u32, value: x * scale };
                    filled += usize::from(x != 0.0);
                }
                self.entries.extend_from_slice(&scratch[..filled]);
            }
        }
        self.starts.push(self.entries.len());
    }

    /// The entries of `count` pieces from piece `at` on.
    fn parts(&self, at: usize, count: usize) -> &[Entry] {
        &self.entries[self.starts[at]..self.starts[at + count]]
    }
}

/// The non-zeros of a batch for a range of features, feature by feature, samples ascending.
#[derive(Default)]
pub(crate) struct SparseColumns {
    first: usize,
    entries: Vec<Entry>,
    /// Where each feature's entries start, relative to `first`; then their number.
    starts: Vec<u32>,
}

impl SparseColumns {
    /// Lists the entries of these parts of rows, whose features are in `first..first + count`, by counting sort.
    pub(crate) fn collect<'a>(&mut self, first: usize, count: usize, parts: impl Iterator<Item = &'a [Entry]> + Clone) {
        self.first = first;
        self.starts.clear();
        self.starts.resize(count + 1, 0);
        for entry in parts.clone().flatten() {
            self.starts[entry.index as usize - first + 1] += 1;
        }
        for feature in 0..count {
            self.starts[feature + 1] += self.starts[feature];
        }
        self.entries.resize(self.starts[count] as usize, Entry { index: 0, value: 0.0 });
        for (b, part) in parts.enumerate() {
            for entry in part {
                let next = &mut self.starts[entry.index as usize - first];
                self.entries[*next as usize] = Entry { index: b as u32, value: entry.value };
                *next += 1;
            }
        }
        // Each start has moved to the next feature's: move them back.
        self.starts.copy_within(0..count, 1);
        self.starts[0] = 0;
    }

    /// A feature's entries.
    pub(crate) fn column(&self, feature: usize) -> &[Entry] {
        let at = feature - self.first;
        &self.entries[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syva_core::data::Targets;

    #[test]
    fn columns_are_the_transposed_rows() {
        let values: Vec<f32> = (0..60).map(|i| if i % 7 < 4 { 0.0 } else { i as f32 }).collect();
        let targets = Targets::Classes { labels: vec![0; 6].into(), classes: 2 };
        let data = Dataset::new(Inputs::F32(values.clone().into()), 10, targets).unwrap();
        let rows = SparseRows::new(&data, &[2.0; 10], &mut Team::new(2).unwrap());
        let batch = [5, 0, 3, 3];
        let mut columns = SparseColumns::default();
        for p in 0..PIECES {
            let (first, count) = piece(p, 10);
            columns.collect(first, count, batch.iter().map(|&sample| rows.part(sample, p)));
            for feature in first..first + count {
                let wanted: Vec<Entry> = (0u32..)
                    .zip(batch)
                    .map(|(index, sample)| Entry { index, value: 2.0 * values[sample * 10 + feature] })
                    .filter(|entry| entry.value != 0.0)
                    .collect();
                assert_eq!(columns.column(feature), wanted);
            }
        }
    }
}
