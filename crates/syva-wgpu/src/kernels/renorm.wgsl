// Scales the weights that lead to a unit down to the largest norm (rule 9). One unit of a part per thread.

@group(0) @binding(2) var<storage, read_write> weight: array<num>;
@group(0) @binding(3) var<storage, read> stopped: array<u32>;

{{functions}}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= layer.part || stopped[0] != 0u { return; }
    let first = id.x * layer.fan_in;
    var sum = from_bits(ZERO);
    for (var i = first; i < first + layer.fan_in; i++) { sum = fused(weight[i], weight[i], sum); }
    let factor = renorm_factor(square_root(sum), from_bits({{bound}}));
    for (var i = first; i < first + layer.fan_in; i++) { weight[i] = mul(weight[i], factor); }
}
