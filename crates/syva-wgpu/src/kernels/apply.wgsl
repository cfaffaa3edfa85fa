// Applies operations to triples of operands, for the probe and for tests.

{{prelude}}

@group(0) @binding(0) var<storage, read> operands: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let n = arrayLength(&operands) / 3u;
    if i >= n { return; }
    let a = from_bits(operands[3u * i]);
    let b = from_bits(operands[3u * i + 1u]);
    let c = from_bits(operands[3u * i + 2u]);
    {{body}}
}
