//! What a step launches: tiles, blocks, and how matrices are padded. Pure numbers, so that they can be tested anywhere.

use syva_core::Spec;

/// Rows and columns of every matrix on the card are padded to this, the side of the largest tile: kernels then never ask
/// whether they are beyond an edge.
pub(crate) const PAD: usize = 128;
/// The most outputs that the kernel `head` takes, one a lane.
pub(crate) const HEAD_OUTPUTS: usize = 32;
/// Samples a block of the kernels `head` and `judge`, one a warp.
pub(crate) const HEAD_ROWS: usize = 4;
/// Layers that one launch of `update` can renew.
pub(crate) const GROUP: usize = 8;

/// The next multiple of [`PAD`].
pub(crate) fn padded(n: usize) -> usize {
    n.next_multiple_of(PAD)
}

/// The side of a tile of outputs, the work of one block of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    Small,
    Medium,
    Large,
    /// Of the kernel of a cluster alone, whose few processors it is to divide work evenly among.
    OfCluster,
}

impl Tile {
    /// Those of launches, small ones first.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Outputs along each side.
    pub(crate) fn side(self) -> usize {
        [16, 64, 128, 32][self as usize]
    }

    /// Threads of a block.
    pub(crate) fn threads(self) -> u32 {
        [64, 256, 256, 128][self as usize]
    }

    /// Tiles of a matrix.
    pub(crate) fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.side()) * columns.div_ceil(self.side())
    }

    /// The largest tile that gives each of the card's processors a block: larger ones read less, but an idle processor
    /// is the greater loss.
    pub(crate) fn of(rows: usize, columns: usize, processors: usize) -> Self {
        let fits = |tile: &&Self| tile.count(rows, columns) >= processors;
        *Self::ALL.iter().rev().find(fits).unwrap_or(&Self::Small)
    }
}

/// The tiles of a network's products, for batches of some size on some card.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Of each layer, forward `[batch, units]`.
    pub(crate) forward: Vec<Tile>,
    /// Of each layer but the first, the input gradient `[batch, fan_in]`.
    pub(crate) input_gradient: Vec<Tile>,
    /// Launches of the update: which layers, in what tiles `[fan_in, units]`.
    pub(crate) update: Vec<(Tile, Vec<usize>)>,
    /// Whether the last layer, its losses and its input gradient are one kernel.
    pub(crate) fused_head: bool,
}

impl Plan {
    pub(crate) fn new(spec: &Spec, batch: usize, processors: usize) -> Self {
        let layers = 0..spec.layers.len();
        let forward = layers.clone().map(|l| Tile::of(batch, spec.layers[l].units, processors)).collect();
        let input_gradient = layers.clone().map(|l| Tile::of(batch, spec.fan_in(l), processors)).collect();
        let mut update: Vec<(Tile, Vec<usize>)> = Vec::new();
        for l in layers {
            let tile = Tile::of(spec.fan_in(l), spec.layers[l].units, processors);
            match update.iter_mut().find(|(of, group)| *of == tile && group.len() < GROUP) {
                Some((_, group)) => group.push(l),
                None => update.push((tile, vec![l])),
            }
        }
        let fused_head = spec.outputs() <= HEAD_OUTPUTS && spec.layers.len() > 1;
        Self { forward, input_gradient, update, fused_head }
    }

    /// Whether all of a step is small enough that what passes between launches counts.
    pub(crate) fn is_small(&self) -> bool {
        let update = self.update.iter().map(|(tile, _)| tile);
        self.forward.iter().chain(&self.input_gradient).chain(update).all(|tile| *tile == Tile::Small)
    }
}

#[cfg(test)]
mod tests {
    use syva_core::{Activation::Sigmoid, Mlp};

    use super::*;

    #[test]
    fn small_products_get_small_tiles_and_large_ones_large_tiles() {
        assert_eq!(Tile::of(128, 256, 132), Tile::Small);
        assert_eq!(Tile::of(8192, 4096, 132), Tile::Large);
        assert_eq!(Tile::of(1, 1, 132), Tile::Small);
        for (rows, columns) in [(1, 1), (128, 256), (600, 700), (8192, 4096)] {
            for processors in [1, 4, 132] {
                let tile = Tile::of(rows, columns, processors);
                let larger = Tile::ALL.iter().filter(|other| other.side() > tile.side());
                assert!(larger.into_iter().all(|larger| larger.count(rows, columns) < processors));
            }
        }
    }

    #[test]
    fn every_layer_is_renewed_once_in_groups_that_fit() {
        for depth in [0, 1, 3, 7, 8, 20, 60] {
            let spec = Mlp::new(784).hidden(&vec![300; depth], Sigmoid).classes(10);
            let plan = Plan::new(&spec, 128, 132);
            let mut layers: Vec<usize> = plan.update.iter().flat_map(|(_, group)| group.clone()).collect();
            layers.sort_unstable();
            assert_eq!(layers, (0..=depth).collect::<Vec<_>>());
            assert!(plan.update.iter().all(|(_, group)| group.len() <= GROUP));
            assert_eq!(plan.fused_head, depth > 0);
        }
    }
}
