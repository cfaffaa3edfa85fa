// Gathers s[b,k] = scale[k] · x[b,k] and the targets of a block's rows, from the part of the data set that is bound. If a step
// changes its inputs at random, s are the normalised inputs with noise and dropout instead (rule 9).

struct Part { first: u32, samples: u32, features: u32, targets: u32 }

@group(0) @binding(1) var<uniform> part: Part;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> inputs: array<u32>;
@group(0) @binding(4) var<storage, read> targets: array<u32>;
@group(0) @binding(5) var<storage, read> scale: array<num>;
@group(0) @binding(6) var<storage, read_write> s: array<num>;
@group(0) @binding(7) var<storage, read_write> batch_targets: array<u32>;

{{binding}}
{{functions}}
fn input(index: u32) -> num {
    {{input}}
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var row = group.y; row < step.rows; row += groups.y) {
        var sample = step.sample + row;
        if step.ordered != 0u { sample = order[step.at + row]; }
        sample -= part.first;
        if sample < part.samples {
            for (var k = group.x * 64u + thread; k < part.features; k += groups.x * 64u) {
                let value = mul(input(sample * part.features + k), scale[k]);
                s[row * part.features + k] = {{value}};
            }
            for (var j = group.x * 64u + thread; j < part.targets; j += groups.x * 64u) {
                batch_targets[row * part.targets + j] = targets[sample * part.targets + j];
            }
        }
    }
}
