// Losses, guesses and the gradient d of the outputs z (docs/ARITHMETIC.md, rule 7), one row per thread. A loss that is not
// finite stops all later updates.

@group(0) @binding(2) var<storage, read> z: array<num>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> d: array<num>;
@group(0) @binding(5) var<storage, read_write> losses: array<num>;
@group(0) @binding(6) var<storage, read_write> guesses: array<u32>;
@group(0) @binding(7) var<storage, read_write> stopped: array<u32>;
{{factors}}
{{factor}}

{{judge}}

fn record(row: u32, loss: num, guess: u32) {
    losses[step.at + row] = loss;
    guesses[step.at + row] = guess;
    if !finite(loss) { stopped[0] = 1u; }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < step.rows { judge(id.x); }
}
