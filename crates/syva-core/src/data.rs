//! Data sets: inputs and targets in memory, decoded once, shared without copying.

pub mod digits;

use std::sync::Arc;

/// Inputs of all samples, row-major `[samples, features]`, in the form they are stored in.
///
/// The normalisation is not applied here: the network's first layer does it (see `Normalization`).
/// Cloning shares the memory.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Pixels or other small counts, 0 to 255.
    U8(Arc<[u8]>),
    /// Table columns.
    F32(Arc<[f32]>),
}

/// What the network should answer, one entry (or row) a sample.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Class indices, each below `classes`.
    Classes {
        /// One label a sample.
        labels: Arc<[u32]>,
        /// Number of classes.
        classes: usize,
    },
    /// Real values, row-major `[samples, outputs]`.
    Values {
        /// The values.
        values: Arc<[f32]>,
        /// Values a sample.
        outputs: usize,
    },
}
