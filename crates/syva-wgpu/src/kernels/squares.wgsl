// The sum of the squares of each unit's gradients (rule 9): a chain over its weights', then its bias's, then its gain's. One
// unit of a part per thread.

@group(0) @binding(2) var<storage, read> gradient: array<num>;
@group(0) @binding(3) var<storage, read> weight: array<num>;
@group(0) @binding(4) var<storage, read> bias_sums: array<num>;
@group(0) @binding(5) var<storage, read_write> sums: array<num>;
{{binding}}

{{held}}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= layer.part { return; }
    var sum = from_bits(ZERO);
    for (var i = id.x * layer.fan_in; i < (id.x + 1u) * layer.fan_in; i++) {
        let g = held_weight(gradient[i], weight[i]);
        sum = fused(g, g, sum);
    }
    let j = layer.unit + id.x;
    let g = held(bias_sums[j]);
    sum = fused(g, g, sum);
    {{gain}}
    sums[layer.units_before + j] = sum;
}
