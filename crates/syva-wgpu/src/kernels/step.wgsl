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
    /// The number of the step among those whose scalars are uploaded.
    number: u32,
    /// Dropout: random words below this mean 0.
    threshold: u32,
    /// Dropout: bits of what other activations are multiplied by.
    scale: u32,
    /// The number of the step in the training.
    step_low: u32,
    step_high: u32,
    /// The first word of the keys of random words.
    seed: u32,
    /// The same as threshold and scale, for dropout of inputs.
    input_threshold: u32,
    input_scale: u32,
    /// Bits of the share of the distance by which the average moves.
    share: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
