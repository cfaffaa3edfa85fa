//! Scales and lists inputs that are numbers and the codes of categories. A code is one entry of a list, so that most of the
//! features are never looked at.

use syva_core::data::Mixed;

use super::gather::{Block, Scaling};
use crate::sparse::Lists;

impl Block<'_> {
    /// Calls `found` with the place in the block and the scaled value of each of a sample's inputs that is not zero, in
    /// ascending order.
    fn non_zeros(&self, x: &Mixed, sample: usize, mut found: impl FnMut(usize, f32)) {
        let (first, end) = (self.first, self.first + self.scale.len());
        let sample = self.samples.get(sample);
        let numbers = x.numbers_of(sample);
        let mut push = |feature: usize, value: f32| {
            let value = value * self.scale[feature - first];
            if value != 0.0 {
                found(feature - first, value);
            }
        };
        let numbers = numbers.iter().enumerate().take(end).skip(first);
        numbers.for_each(|(feature, &value)| push(feature, value));
        let inside = x.categories_of(sample).filter(|feature| (first..end).contains(feature));
        inside.for_each(|feature| push(feature, 1.0));
    }
}

/// Lists the non-zeros by sample.
pub(super) fn list_samples(x: &Mixed, block: &Block<'_>, lists: &mut Lists) {
    let (height, width) = (block.samples.len(), block.scale.len());
    lists.clear(height, width);
    let mut above = Vec::new();
    for pair in (0..height).step_by(2) {
        above.clear();
        block.non_zeros(x, pair, |column, value| above.push((column, value)));
        // The columns of both rows in one order: those of the first row up to the next one of the second.
        let mut rest = above.iter().peekable();
        if pair + 1 < height {
            block.non_zeros(x, pair + 1, |column, value| {
                while let Some(&(before, value)) = rest.next_if(|(other, _)| *other <= column) {
                    lists.push(pair, before, value);
                }
                lists.push(pair + 1, column, value);
            });
        }
        rest.for_each(|&(column, value)| lists.push(pair, column, value));
    }
}

/// Lists the non-zeros by feature.
pub(super) fn list_features(x: &Mixed, block: &Block<'_>, lists: &mut Lists) {
    let (height, width) = (block.samples.len(), block.scale.len());
    lists.clear(width, height);
    for sample in 0..height {
        block.non_zeros(x, sample, |feature, value| lists.push(feature, sample, value));
    }
}

/// Scales the inputs, sample by sample, into panels of `width` columns.
pub(super) fn scale(x: &Mixed, scaling: &mut Scaling<'_>, width: usize) {
    let Scaling { block, s, panel } = scaling;
    let columns = block.scale.len();
    for row in 0..block.samples.len() {
        for column in (0..columns).step_by(width) {
            s[column / width * *panel + row * width..][..width].fill(0.0);
        }
        block.non_zeros(x, row, |column, value| s[column / width * *panel + row * width + column % width] = value);
    }
}
