// h = a(z), z[b,j] = start[j], then fma(x[b,k], w[j,k], ·). With dropout, h is multiplied by its factor (rule 9).

@group(0) @binding(2) var<storage, read> x: array<num>;
@group(0) @binding(3) var<storage, read> weight: array<num>;
@group(0) @binding(4) var<storage, read> starts: array<num>;
@group(0) @binding(5) var<storage, read_write> h: array<num>;
{{bindings}}

{{activation}}
fn size() -> vec3<u32> { return vec3(step.rows, layer.part, layer.fan_in); }
fn place_a(i: u32) -> vec2<u32> { return down(i); }
fn place_b(i: u32) -> vec2<u32> { return down(i); }
fn a(row: u32, k: u32) -> num { return x[row * layer.fan_in + k]; }
fn b(column: u32, k: u32) -> num { return weight[column * layer.fan_in + k]; }
fn begin(row: u32, column: u32) -> num { return starts[layer.unit + column]; }
fn end(row: u32, column: u32, sum: num) {
    let i = row * layer.units + layer.unit + column;
    let z = {{z}};
    {{keep}}
    {{finish}}
}
