//! Which sums over blocks of samples are added to each other, and when (rule 3).
//!
//! A sum over the batch is a binary tree over blocks of samples. If the blocks are taken in order, that is a binary counter:
//! before block i, as many sums wait as i has bits that are 1. To the block's own sum are added, the newest first, as many
//! of them as i has trailing bits that are 1, or all of them after the last block. The new sum waits in their place.

use std::ops::Range;

use syva_core::reference::BLOCK;

/// The most sums that wait at a time. There are fewer than 2³² samples.
const MOST: usize = 32;

/// A block of samples, whose sum is one chain.
pub(crate) struct Block {
    pub(crate) samples: Range<usize>,
    /// Its number in the batch.
    number: usize,
    /// Whether it is the batch's last block, whose sum is that of the batch.
    pub(crate) last: bool,
}

/// The blocks of some samples of a batch of `rows`. The first of the samples begins a block.
pub(crate) fn blocks(samples: Range<usize>, rows: usize) -> impl Iterator<Item = Block> {
    samples.clone().step_by(BLOCK).map(move |start| {
        let end = samples.end.min(start + BLOCK);
        Block { samples: start..end, number: start / BLOCK, last: end == rows }
    })
}

/// The number of places that a tree of `blocks` blocks needs for sums that wait.
pub(crate) fn places(blocks: usize) -> usize {
    blocks.max(1).ilog2() as usize
}

impl Block {
    /// The number of sums that wait when the block begins.
    fn waiting(&self) -> usize {
        self.number.count_ones() as usize
    }

    /// How many of them are added to the block's sum.
    fn added(&self) -> usize {
        if self.last { self.waiting() } else { self.number.trailing_ones() as usize }
    }

    /// The place where the block's sum waits, unless it is the last one.
    pub(crate) fn place(&self) -> usize {
        self.waiting() - self.added()
    }

    /// The sums that are added to the block's, the newest first. `at` returns the one at a place.
    pub(crate) fn earlier<'a, S>(&self, room: &'a mut Option<[S; MOST]>, at: impl Fn(usize) -> S) -> &'a [S] {
        if self.added() == 0 {
            return &[];
        }
        let newest = self.waiting() - 1;
        &room.insert(std::array::from_fn(|n| at(newest.saturating_sub(n))))[..self.added()]
    }
}

/// Where the sums of a tile wait in memory. The blocks of a batch are taken in groups, and each group is done for all tiles
/// before the next one. Sums that wait for others of their group need their places only until then, so all tiles share
/// these.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// Blocks per group, a power of two.
    pub(crate) blocks: usize,
    /// Where the places of a group's sums begin.
    pub(crate) of_group: usize,
    /// Where the places of the tile's sums begin.
    pub(crate) of_tile: usize,
    /// The distance from a place to the next.
    pub(crate) apart: usize,
}

impl Places {
    /// Where the sum at a place waits when the block begins.
    pub(crate) fn of(&self, block: &Block, place: usize) -> usize {
        match place.checked_sub((block.number / self.blocks).count_ones() as usize) {
            None => self.of_tile + place * self.apart,
            Some(place) => self.of_group + place * self.apart,
        }
    }

    /// Where the block's sum will wait, unless it is the last one.
    pub(crate) fn after(&self, block: &Block) -> usize {
        if (block.number + 1).is_multiple_of(self.blocks) {
            self.of_tile + block.place() * self.apart
        } else {
            self.of(block, block.place())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of rule 3, as text.
    fn tree(blocks: Range<usize>) -> String {
        match blocks.len() {
            1 => blocks.start.to_string(),
            n => {
                let middle = blocks.start + n.next_power_of_two() / 2;
                format!("({} {})", tree(blocks.start..middle), tree(middle..blocks.end))
            }
        }
    }

    #[test]
    fn blocks_in_order_make_the_tree() {
        for count in 1..70 {
            for samples in [count * BLOCK, count * BLOCK - 127] {
                let mut waiting = vec![String::new(); places(count)];
                let mut sum = String::new();
                for block in blocks(0..samples, samples) {
                    sum = block.number.to_string();
                    let mut room = None;
                    for earlier in block.earlier(&mut room, |place| waiting[place].clone()) {
                        sum = format!("({earlier} {sum})");
                    }
                    if !block.last {
                        waiting[block.place()].clone_from(&sum);
                    }
                }
                assert_eq!(sum, tree(0..count));
            }
        }
    }

    #[test]
    fn groups_of_blocks_make_the_same_tree() {
        for size in [1, 2, 4, 8] {
            let groups =
                |rows: usize| (0..rows).step_by(size * BLOCK).map(move |start| start..rows.min(start + size * BLOCK));
            for count in 1..70 {
                let rows = count * BLOCK;
                let of_tile = 3 * places(size) + 1;
                let at = Places { blocks: size, of_group: 1, of_tile, apart: 3 };
                let mut waiting = vec![String::new(); of_tile + 3 * places(count.div_ceil(size))];
                let mut sum = String::new();
                for samples in groups(rows) {
                    // Other tiles have used the group's places in the meantime.
                    waiting[..of_tile].fill("lost".into());
                    for block in blocks(samples, rows) {
                        sum = block.number.to_string();
                        let mut room = None;
                        for earlier in block.earlier(&mut room, |place| waiting[at.of(&block, place)].clone()) {
                            sum = format!("({earlier} {sum})");
                        }
                        if !block.last {
                            waiting[at.after(&block)].clone_from(&sum);
                        }
                    }
                }
                assert_eq!(sum, tree(0..count), "{count} blocks in groups of {size}");
            }
        }
    }
}
