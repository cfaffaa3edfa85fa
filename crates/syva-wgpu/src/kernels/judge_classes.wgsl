// A class: cross-entropy of the softmax. `on` and `off` are the bits of the class's probability and of any other's.

fn judge(row: u32) {
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
    {{loss}}
    for (var j = 0u; j < outputs; j++) {
        let y = from_bits(select({{off}}, {{on}}, j == label));
        d[first + j] = softmax_gradient(d[first + j], sum, y, factor(row));
    }
    record(row, loss, guess);
}
