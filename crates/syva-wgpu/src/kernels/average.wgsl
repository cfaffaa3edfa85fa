// Moves the average of weights, biases or gains (rule 9).

@group(0) @binding(2) var<storage, read> values: array<num>;
@group(0) @binding(3) var<storage, read_write> average: array<num>;
@group(0) @binding(4) var<storage, read> stopped: array<u32>;

{{functions}}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if stopped[0] != 0u { return; }
    for (var i = id.x; i < {{count}}; i += groups.x * 64u) {
        average[i] = averaged(average[i], values[i], from_bits(step.share));
    }
}
