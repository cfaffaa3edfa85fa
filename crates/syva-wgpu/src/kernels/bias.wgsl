// D[j] = Σ_b d[b,j], and bias[j] = fma(−lr, D[j], bias[j]) after the last row of the batch, unless gradients are
// stored. The sum is a tree of chains (tree.wgsl). `sums` has places for as many rows of sums as wait at a time, and holds D at last.
// The gradients of gains are summed likewise: then `d` are their terms.

@group(0) @binding(2) var<storage, read> d: array<num>;
@group(0) @binding(3) var<storage, read_write> sums: array<num>;
@group(0) @binding(4) var<storage, read_write> bias: array<num>;
@group(0) @binding(5) var<storage, read> stopped: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= layer.units { return; }
    var first = 0u;
    while first < step.rows {
        let next = chain_end(first);
        var place = waiting(first) * layer.units + j;
        var sum = from_bits(0u);
        if !begins(first) { sum = sums[place]; }
        for (var b = first; b < next; b++) { sum = add(sum, d[b * layer.units + j]); }
        for (var left = added(next); left > 0u; left--) {
            place -= layer.units;
            sum = add(sums[place], sum);
        }
        sums[place] = sum;
        {{renew}}
        first = next;
    }
}
