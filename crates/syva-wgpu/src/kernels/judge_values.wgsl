// One target value per output.

fn judge(row: u32) {
    let outputs = layer.units;
    var sum = from_bits(ZERO);
    var guess = 0u;
    for (var i = row * outputs; i < (row + 1u) * outputs; i++) {
        let t = from_bits(targets[i]);
        let x = z[i];
        sum = add_loss(sum, x, t);
        d[i] = mul(loss_slope(x, t), factor(row));
        {{guess}}
    }
    record(row, div(sum, of_int(i32(outputs))), guess);
}
