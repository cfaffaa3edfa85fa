// The factor that clips all gradients by their norm. One group adds the units' sums in a binary tree, level by level: what is
// added to an even one is its neighbour, and the last one of an odd number waits for the next level. The layer is the last.

@group(0) @binding(2) var<storage, read_write> sums: array<num>;
@group(0) @binding(3) var<storage, read_write> factor: array<num>;

{{functions}}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    let units = layer.units_before + layer.units;
    for (var apart = 1u; apart < units; apart *= 2u) {
        for (var j = thread * 2u * apart; j + apart < units; j += 512u * apart) {
            sums[j] = add(sums[j], sums[j + apart]);
        }
        storageBarrier();
    }
    if thread == 0u { factor[0] = norm_factor(square_root(sums[0]), from_bits({{bound}})); }
}
