// A product of two matrices, tile by tile: a group of {{threads}} threads computes {{tile_rows}} × {{tile_columns}} outputs, each thread
// {{rows}} × {{columns}} of them in registers. Each output is one chain of fused multiply-adds, k ascending. In an update
// it is one chain per block of samples. Both factors are staged through the group's memory in slabs of {{slab}} values of k.
// Beyond a chain's last k the slabs hold −0 and +0. Their product is −0, which leaves any sum as it is. Each kernel
// defines its factors, its initial sums, and what it does with the finished sums.

{{own}}

var<workgroup> slab_a: array<num, {{slab_a}}>;
var<workgroup> slab_b: array<num, {{slab_b}}>;

@compute @workgroup_size({{threads}})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let size = size();
    let row = group.y * {{tile_rows}}u;
    let column = group.x * {{tile_columns}}u;
    let m = (thread / {{across}}u) * {{rows}}u;
    let n = thread % {{across}}u;
    {{chains}}
{{begin}}
    for (var k0 = first_k; k0 < end_k; k0 += {{slab}}u) {
        for (var i = thread; i < {{slab_a}}u; i += {{threads}}u) {
            let at = place_a(i);
            var value = from_bits(0x80000000u);
            if row + at.x < size.x && k0 + at.y < end_k { value = a(row + at.x, k0 + at.y); }
            slab_a[at.y * {{tile_rows}}u + at.x] = value;
        }
        for (var i = thread; i < {{slab_b}}u; i += {{threads}}u) {
            let at = place_b(i);
            var value = from_bits(0u);
            if column + at.x < size.y && k0 + at.y < end_k { value = b(column + at.x, k0 + at.y); }
            slab_b[at.y * {{tile_columns}}u + at.x] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < {{slab}}u; k++) {
{{multiply}}
        }
        workgroupBarrier();
    }
{{end}}
    }
}

// Places in a slab, chosen so that neighbouring threads read neighbouring values. x runs along the rows of A or the columns
// of B, y runs along k.
fn along(i: u32, long: u32) -> vec2<u32> { return vec2(i % long, i / long); }
fn down(i: u32) -> vec2<u32> { return vec2(i / {{slab}}u, i % {{slab}}u); }
