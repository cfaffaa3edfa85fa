//! What a step launches: tiles, blocks, and the padding of matrices. All of it is plain numbers, so it can be tested
//! without a card.

use syva_core::reference::BLOCK;
use syva_core::{Precision, Spec};

/// Rows and columns of every matrix on the card are padded to a multiple of this, the side of the largest tile. Kernels
/// then need no checks at the edges.
pub(crate) const PAD: usize = 128;
/// The most outputs that the kernel `head` takes: one per lane.
pub(crate) const HEAD_OUTPUTS: usize = 32;
/// Samples per block of the kernels `head` and `judge`: one per warp.
pub(crate) const HEAD_ROWS: usize = 4;
/// The most layers that one launch of `update` takes.
pub(crate) const GROUP: usize = 8;

/// The next multiple of [`PAD`].
pub(crate) fn padded(n: usize) -> usize {
    n.next_multiple_of(PAD)
}

/// The number of sums over blocks of a batch that wait for others at most (rule 3), which is 0 if there is one block.
pub(crate) fn places(batch: usize) -> usize {
    batch.div_ceil(BLOCK).max(1).ilog2() as usize
}

/// The size of a tile. A tile is a square of outputs, computed by one block of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    Small,
    Medium,
    Large,
    /// Used only by the cluster kernel. Its size divides the work evenly among the cluster's few processors.
    OfCluster,
}

impl Tile {
    /// The tiles of launches, smallest first.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Outputs along each side.
    pub(crate) fn side(self) -> usize {
        [16, 64, 128, 32][self as usize]
    }

    /// Threads per block.
    pub(crate) fn threads(self) -> u32 {
        [64, 256, 256, 128][self as usize]
    }

    /// The number of tiles of a matrix.
    pub(crate) fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.side()) * columns.div_ceil(self.side())
    }

    /// The largest tile that still gives each of the card's processors a block. Larger tiles read less memory, but idle
    /// processors cost more.
    pub(crate) fn of(rows: usize, columns: usize, processors: usize) -> Self {
        let fits = |tile: &&Self| tile.count(rows, columns) >= processors;
        *Self::ALL.iter().rev().find(fits).unwrap_or(&Self::Small)
    }
}

/// How a product is computed: the size of its tiles, and the precision of its factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) tile: Tile,
    pub(crate) precision: Precision,
}

impl Way {
    /// The number of different values of [`Way::index`].
    pub(crate) const COUNT: usize = 9;

    pub(crate) fn of(rows: usize, columns: usize, processors: usize, precision: Precision) -> Self {
        let tile = match (Tile::of(rows, columns, processors), precision) {
            // There are no kernels for tensor cores with small tiles.
            (Tile::Small, Precision::Tf32 | Precision::Bf16) => Tile::Medium,
            (tile, _) => tile,
        };
        Self { tile, precision }
    }

    pub(crate) fn index(self) -> usize {
        self.precision as usize * Tile::ALL.len() + self.tile as usize
    }

    /// The suffix of the kernels' names.
    pub(crate) fn suffix(self) -> String {
        match self.precision {
            Precision::F32 => self.tile.side().to_string(),
            rounded => format!("{rounded}_{}", self.tile.side()),
        }
    }
}

/// How each product of a network is computed, for one batch size on one card.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The forward product `[batch, units]` of each layer.
    pub(crate) forward: Vec<Way>,
    /// The input gradient `[batch, fan_in]` of each layer. The first layer's entry is never used.
    pub(crate) input_gradient: Vec<Way>,
    /// Each launch of the update: how its products `[fan_in, units]` are computed, and for which layers.
    pub(crate) update: Vec<(Way, Vec<usize>)>,
    /// Whether one kernel computes the last layer, its losses and its input gradient.
    pub(crate) fused_head: bool,
}

impl Plan {
    pub(crate) fn new(spec: &Spec, batch: usize, processors: usize, precision: Precision) -> Self {
        let layers = 0..spec.layers.len();
        let fused_head = spec.outputs() <= HEAD_OUTPUTS && spec.layers.len() > 1;
        // The fused kernel computes in f32. Its layer is f32 in the other kernels, too: an evaluation and a prediction
        // must not differ, and what is rounded must depend on the network alone.
        let way = |l: usize, rows, columns| {
            let exact = fused_head && l + 1 == spec.layers.len();
            Way::of(rows, columns, processors, if exact { Precision::F32 } else { precision })
        };
        let forward = layers.clone().map(|l| way(l, batch, spec.layers[l].units)).collect();
        let input_gradient = layers.clone().map(|l| way(l, batch, spec.fan_in(l))).collect();
        let mut update: Vec<(Way, Vec<usize>)> = Vec::new();
        for l in layers {
            let way = way(l, spec.fan_in(l), spec.layers[l].units);
            match update.iter_mut().find(|(of, group)| *of == way && group.len() < GROUP) {
                Some((_, group)) => group.push(l),
                None => update.push((way, vec![l])),
            }
        }
        Self { forward, input_gradient, update, fused_head }
    }

    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        self.forward.iter().chain(&self.input_gradient).chain(self.update.iter().map(|(way, _)| way)).copied()
    }

    /// Whether the products of a step are so small that the time between launches matters.
    pub(crate) fn is_small(&self) -> bool {
        self.ways().all(|way| way.tile == Tile::Small)
    }

    /// Whether nothing is rounded to less than f32.
    pub(crate) fn is_exact(&self) -> bool {
        self.ways().all(|way| way.precision == Precision::F32)
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
    fn sums_wait_only_if_there_are_several_blocks() {
        let found = [0, 1, 128, 129, 256, 257, 512, 1000, 1025].map(places);
        assert_eq!(found, [0, 0, 0, 1, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn what_is_rounded_depends_on_the_network_alone() {
        let hidden = [300, 40];
        for (outputs, rounded) in [(10, [true, true, false]), (32, [true, true, false]), (33, [true; 3])] {
            let spec = Mlp::new(784).hidden(&hidden, Sigmoid).classes(outputs);
            for (batch, processors) in [(1, 1), (128, 132), (8192, 4)] {
                let Plan { forward, input_gradient, update, .. } = Plan::new(&spec, batch, processors, Precision::Bf16);
                let updated = |l| update.iter().find(|(_, group)| group.contains(&l)).expect("is renewed").0;
                for (l, rounded) in rounded.into_iter().enumerate() {
                    for way in [forward[l], input_gradient[l], updated(l)] {
                        assert_eq!(way.precision == Precision::Bf16, rounded);
                        assert!(!rounded || way.tile != Tile::Small);
                    }
                }
            }
        }
        // The only layer of a network has no layers before it, so it is rounded.
        let linear = Plan::new(&Mlp::new(784).classes(10), 128, 132, Precision::Tf32);
        assert_eq!(linear.forward[0].precision, Precision::Tf32);
    }

    #[test]
    fn every_layer_is_renewed_once_in_groups_that_fit() {
        for depth in [0, 1, 3, 7, 8, 20, 60] {
            let spec = Mlp::new(784).hidden(&vec![300; depth], Sigmoid).classes(10);
            let plan = Plan::new(&spec, 128, 132, Precision::F32);
            let mut layers: Vec<usize> = plan.update.iter().flat_map(|(_, group)| group.clone()).collect();
            layers.sort_unstable();
            assert_eq!(layers, (0..=depth).collect::<Vec<_>>());
            assert!(plan.update.iter().all(|(_, group)| group.len() <= GROUP));
            assert_eq!(plan.fused_head, depth > 0);
        }
    }
}
