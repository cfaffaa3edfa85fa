// The parameters of every kernel of a step.

/// One block of rows of a step, chosen by a dynamic offset.
struct Step {
    /// Rows of the block.
    rows: u32,
    /// Index of its first row in the order, the losses and the guesses.
    at: u32,
    /// The sample of row 0, if there is no order.
    sample: u32,
    /// Whether the order says which samples the rows are.
    ordered: u32,
    /// Whether the sums over the batch end with this block.
    last: u32,
    /// Bits of the factor M (rule 7), if all samples have the same.
    mean: u32,
    /// Bits of −lr.
    descent: u32,
    /// Rows of the batch before this block.
    before: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
