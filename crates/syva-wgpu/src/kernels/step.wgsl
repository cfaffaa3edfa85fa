// What every kernel of a step is told.

/// One block of rows of a step, chosen by a dynamic offset.
struct Step {
    /// Rows of the block.
    rows: u32,
    /// Where its first row stands in the order, the losses and the guesses.
    at: u32,
    /// Without an order: the sample of row 0.
    sample: u32,
    /// Whether rows are samples by the order.
    ordered: u32,
    /// Whether the sums over the batch begin with this block, and end with it.
    first: u32,
    last: u32,
    /// 1/B, or 2/(B·outputs) for regression: bits.
    mean: u32,
    /// −lr: bits.
    descent: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
