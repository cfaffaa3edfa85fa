// The factors of dropout for the activations of a hidden layer (rule 9): 0 where a random word is below the threshold,
// otherwise the scale. The words are Philox4x32-10's (syva-core's `random.rs`), four for four neighbours of a row.

@group(0) @binding(2) var<storage, read_write> factors: array<num>;

/// The upper word of a product.
fn upper(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (other >> 16u);
}

fn philox(counter: vec4<u32>) -> vec4<u32> {
    var c = counter;
    var key = vec2(step.key_low, step.key_high);
    for (var round = 0u; round < 10u; round++) {
        let high = vec2(upper(c.x, 0xd2511f53u), upper(c.z, 0xcd9e8d57u));
        c = vec4(high.y ^ c.y ^ key.x, c.z * 0xcd9e8d57u, high.x ^ c.w ^ key.y, c.x * 0xd2511f53u);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var row = group.y; row < step.rows; row += groups.y) {
        for (var first = (group.x * 64u + thread) * 4u; first < layer.units; first += groups.x * 256u) {
            let upper_step = step.step_high | (layer.number << 16u);
            let words = philox(vec4(first / 4u, step.before + row, step.step_low, upper_step));
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
