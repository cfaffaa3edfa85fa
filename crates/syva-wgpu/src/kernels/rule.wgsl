// The optimiser's rule for the weights of a part, or for the biases or gains of a layer, from their gradients.

@group(0) @binding(2) var<storage, read> gradient: array<num>;
@group(0) @binding(3) var<storage, read_write> values: array<num>;
@group(0) @binding(4) var<storage, read> scalars: array<num>;
@group(0) @binding(5) var<storage, read> stopped: array<u32>;
{{bindings}}

struct Updated { w: num, a: num, b: num, c: num }

{{rule}}
{{held}}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if stopped[0] != 0u { return; }
    let s = ((step.number * layer.layers + layer.number) * 3u + {{which}}) * {{scalars}}u;
    for (var i = id.x; i < {{count}}; i += groups.x * 64u) {
        let w = values[i];
        let g = {{gradient}};
        let updated = apply_rule({{arguments}});
        values[i] = updated.w;
        {{slots}}
    }
}
