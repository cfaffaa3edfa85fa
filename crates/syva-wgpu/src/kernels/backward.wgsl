// d_below[b,k] = Σ_j d[b,j] · w[j,k], j ascending, times the derivative of the activation below; with dropout, the
// sum is first multiplied by its factor (rule 9). If the layer is in several parts, the sum continues from part to part.

@group(0) @binding(2) var<storage, read> d: array<num>;
@group(0) @binding(3) var<storage, read> weight: array<num>;
@group(0) @binding(4) var<storage, read> below: array<num>;
@group(0) @binding(5) var<storage, read_write> d_below: array<num>;
{{binding}}

{{derivative}}
fn size() -> vec3<u32> { return vec3(step.rows, layer.fan_in, layer.part); }
fn place_a(i: u32) -> vec2<u32> { return down(i); }
fn place_b(i: u32) -> vec2<u32> { return along(i, {{tile_columns}}u); }
fn a(row: u32, k: u32) -> num { return d[row * layer.units + layer.unit + k]; }
fn b(column: u32, k: u32) -> num { return weight[k * layer.fan_in + column]; }
fn begin(row: u32, column: u32) -> num {
    if layer.opens != 0u { return from_bits(0u); }
    return d_below[row * layer.fan_in + column];
}
fn end(row: u32, column: u32, sum: num) {
    let i = row * layer.fan_in + column;
    if layer.closes == 0u {
        d_below[i] = sum;
        return;
    }
    d_below[i] = derivative(below[i], {{sum}});
}
