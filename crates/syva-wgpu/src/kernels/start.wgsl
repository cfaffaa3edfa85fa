// The first layer's initial sums: start[j] = bias[j], then fma(shift[k], w[j,k], ·) for k ascending. The threads of a group
// read rows of 16 weights together, then each thread works on its own unit.

@group(0) @binding(2) var<storage, read> weight: array<num>;
@group(0) @binding(3) var<storage, read> bias: array<num>;
@group(0) @binding(4) var<storage, read> shift: array<num>;
@group(0) @binding(5) var<storage, read_write> start: array<num>;

const WIDE = 16u;
var<workgroup> tile: array<num, 1088>; // 64 units, 17 apart so that threads read from different banks

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = group.x * 64u;
    let j = first + thread;
    var sum = from_bits(0u);
    if j < layer.part { sum = bias[layer.unit + j]; }
    for (var k0 = 0u; k0 < layer.fan_in; k0 += WIDE) {
        for (var i = thread; i < 64u * WIDE; i += 64u) {
            let unit = first + i / WIDE;
            let k = k0 + i % WIDE;
            var w = from_bits(0u);
            if unit < layer.part && k < layer.fan_in { w = weight[unit * layer.fan_in + k]; }
            tile[(i / WIDE) * 17u + i % WIDE] = w;
        }
        workgroupBarrier();
        for (var k = 0u; k < min(WIDE, layer.fan_in - k0); k++) {
            sum = fused(shift[k0 + k], tile[thread * 17u + k], sum);
        }
        workgroupBarrier();
    }
    if j < layer.part { start[layer.unit + j] = sum; }
}
