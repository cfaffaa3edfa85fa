// Losses, guesses and the gradient d of the outputs z (docs/ARITHMETIC.md, rule 7), one row per thread. A loss that is not
// finite stops all later updates.

@group(0) @binding(2) var<storage, read> z: array<num>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> d: array<num>;
@group(0) @binding(5) var<storage, read_write> losses: array<num>;
@group(0) @binding(6) var<storage, read_write> guesses: array<u32>;
@group(0) @binding(7) var<storage, read_write> stopped: array<u32>;

fn softmax(row: u32) {
    let outputs = layer.units;
    let first = row * outputs;
    var largest = z[first];
    var guess = 0u;
    for (var j = 1u; j < outputs; j++) {
        if above(z[first + j], largest) {
            largest = z[first + j];
            guess = j;
        }
    }
    var sum = from_bits(ZERO);
    for (var j = 0u; j < outputs; j++) {
        let e = exponential(sub(z[first + j], largest));
        d[first + j] = e;
        sum = add(sum, e);
    }
    let label = targets[row];
    for (var j = 0u; j < outputs; j++) {
        let y = from_bits(select(ZERO, ONE, j == label));
        d[first + j] = softmax_gradient(d[first + j], sum, y, from_bits(step.mean));
    }
    record(row, cross_entropy(sum, z[first + label], largest), guess);
}

fn binary(row: u32) {
    let y = of_int(i32(targets[row]));
    let x = z[row];
    d[row] = binary_gradient(x, y, from_bits(step.mean));
    record(row, binary_loss(x, y), u32(above(x, from_bits(ZERO))));
}

fn regression(row: u32) {
    let outputs = layer.units;
    var sum = from_bits(ZERO);
    for (var i = row * outputs; i < (row + 1u) * outputs; i++) {
        let error = sub(z[i], from_bits(targets[i]));
        sum = fused(error, error, sum);
        d[i] = mul(error, from_bits(step.mean));
    }
    record(row, div(sum, of_int(i32(outputs))), 0u);
}

fn record(row: u32, loss: num, guess: u32) {
    losses[step.at + row] = loss;
    guesses[step.at + row] = guess;
    if !finite(loss) { stopped[0] = 1u; }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < step.rows { {{head}}(id.x); }
}
