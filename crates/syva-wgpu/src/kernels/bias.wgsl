// D[j] = Σ_b d[b,j], b ascending, and bias[j] = fma(−lr, D[j], bias[j]) after the last block of the batch.

@group(0) @binding(2) var<storage, read> d: array<num>;
@group(0) @binding(3) var<storage, read_write> sums: array<num>;
@group(0) @binding(4) var<storage, read_write> bias: array<num>;
@group(0) @binding(5) var<storage, read> stopped: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= layer.units { return; }
    var sum = from_bits(0u);
    if step.first == 0u { sum = sums[j]; }
    for (var b = 0u; b < step.rows; b++) { sum = add(sum, d[b * layer.units + j]); }
    sums[j] = sum;
    if step.last != 0u && stopped[0] == 0u { bias[j] = fused(from_bits(step.descent), sum, bias[j]); }
}
