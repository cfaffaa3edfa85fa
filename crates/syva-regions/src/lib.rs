//! The linear regions of Syvä's networks, exactly.
//!
//! A network of ReLU units (or of others that are linear in pieces) cuts its input space into polytopes, and is an affine
//! map on each. This crate finds all of them along a line or in a plane: those of a network with one or two inputs, or those
//! on a [`Slice`] through samples. It counts [activation regions and their edges and vertices](Subdivision::counts),
//! [linear regions](Subdivision::linear_regions), and what networks of a shape [can have at most](Bounds).
//!
//! No count is an estimate. Where rounding leaves the sign of a value open, integers without limit decide it; a
//! [`Certificate`] says how close it was.
//!
//! | step | where |
//! |---|---|
//! | 1 | `network`: the model's weights in f64 and as integers, over the slice |
//! | 2 | `subdivision`: cuts regions layer by layer |
//! | 3 | `points`: the values at the vertices, their error bounds, and the integers |
//! | 4 | `linear`: joins regions that have the same affine map |
#![forbid(unsafe_code)]

mod bounds;
mod exact;
mod linear;
mod network;
mod points;
mod subdivision;

pub use bounds::{Bounds, zaslavsky};
pub use linear::{AffineMap, LinearRegions};
pub use network::{Network, Slice};
pub use points::Certificate;
pub use subdivision::{Counts, Decision, Edge, Region, Subdivision};
