// The factors of dropout for the activations of a hidden layer (rule 9): 0 where a random word is below the threshold,
// otherwise the scale. Four neighbours of a row have the words of one counter.

@group(0) @binding(2) var<storage, read_write> factors: array<num>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var row = group.y; row < step.rows; row += groups.y) {
        for (var first = (group.x * 64u + thread) * 4u; first < layer.units; first += groups.x * 256u) {
            let upper_step = step.step_high | (layer.number << 16u);
            let words = philox(vec4(first / 4u, step.before + row, step.step_low, upper_step), vec2(step.seed, {{stream}}));
            let dropped = words < vec4(step.threshold);
            let values = select(vec4(step.scale), vec4(0u), dropped);
            let at = row * layer.units + first;
            factors[at] = from_bits(values.x);
            if first + 1u < layer.units { factors[at + 1u] = from_bits(values.y); }
            if first + 2u < layer.units { factors[at + 2u] = from_bits(values.z); }
            if first + 3u < layer.units { factors[at + 3u] = from_bits(values.w); }
        }
    }
}
