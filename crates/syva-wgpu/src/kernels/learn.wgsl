// Passes over a layer whose activation is learned (rule 4): forward, h from z, and back, the gradient by z from the gradient by h
// in d. The way back leaves the terms of the gains' gradients in z.

@group(0) @binding(2) var<storage, read> gains: array<num>;
@group(0) @binding(3) var<storage, {{access}}> z: array<num>;
{{bindings}}

{{functions}}
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var row = group.y; row < step.rows; row += groups.y) {
        for (var j = group.x * 64u + thread; j < layer.units; j += groups.x * 64u) {
            let i = row * layer.units + j;
            {{body}}
        }
    }
}
