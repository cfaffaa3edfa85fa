// The tree of a sum over the batch (rule 3). Each 128 samples of the batch are a chain, numbered from 0. Before chain i, as
// many sums wait for later ones as i has bits that are 1, each in a place of its own.

/// The end of the chain that row `row` of these rows is in.
fn chain_end(row: u32) -> u32 {
    return min(step.rows, row + {{block}} - (step.before + row) % {{block}});
}

/// Whether a chain begins with row `row`, or was begun in the rows before these.
fn begins(row: u32) -> bool { return (step.before + row) % {{block}} == 0u; }

/// Whether the sum over the batch is complete before row `row`.
fn completes(row: u32) -> bool { return step.last != 0u && row == step.rows; }

/// The number of sums that wait while row `row` is added. A chain that goes on in the next rows waits behind them.
fn waiting(row: u32) -> u32 { return countOneBits((step.before + row) / {{block}}); }

/// The number of waiting sums that are added to the chain that ends before row `row`.
fn added(row: u32) -> u32 {
    if completes(row) { return waiting(row - 1u); }
    if !begins(row) { return 0u; }
    return countTrailingZeros((step.before + row) / {{block}});
}
