// g[j,k] = Σ_b d[b,j] · x[b,k], and w[j,k] = fma(−lr, g[j,k], w[j,k]) after the last row of the batch. The sum is a tree of
// chains (tree.wgsl). `sums` has places for as many matrices of sums as wait at a time. If gradients are stored, `weight` is
// where.

@group(0) @binding(2) var<storage, read> d: array<num>;
@group(0) @binding(3) var<storage, read> x: array<num>;
@group(0) @binding(4) var<storage, read_write> weight: array<num>;
@group(0) @binding(5) var<storage, read_write> sums: array<num>;
@group(0) @binding(6) var<storage, read> stopped: array<u32>;
{{bindings}}

fn size() -> vec3<u32> { return vec3(layer.part, layer.fan_in, step.rows); }
fn place_a(i: u32) -> vec2<u32> { return along(i, {{tile_rows}}u); }
fn place_b(i: u32) -> vec2<u32> { return along(i, {{tile_columns}}u); }
fn a(row: u32, k: u32) -> num { return d[k * layer.units + layer.unit + row]; }
fn b(column: u32, k: u32) -> num { return x[k * layer.fan_in + column]; }
fn begin(row: u32, column: u32, first: u32) -> num {
    if begins(first) { return from_bits(0u); }
    return sums[(waiting(first) * layer.part + row) * layer.fan_in + column];
}
fn end(row: u32, column: u32, chain: num, next: u32) {
    let i = row * layer.fan_in + column;
    let each = layer.part * layer.fan_in;
    var place = waiting(next - 1u) * each + i;
    var sum = chain;
    for (var left = added(next); left > 0u; left--) {
        place -= each;
        sum = add(sums[place], sum);
    }
    if !completes(next) {
        sums[place] = sum;
    } else if stopped[0] == 0u {
        let g = {{gradient}};
        weight[i] = {{renewed}};
    }
}
