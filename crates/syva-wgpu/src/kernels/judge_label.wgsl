// One output, whose target is the label.

fn judge(row: u32) {
    let t = of_int(i32(targets[row]));
    let x = z[row];
    d[row] = mul(loss_slope(x, t), factor(row));
    record(row, add_loss(from_bits(ZERO), x, t), u32(above(x, from_bits(ZERO))));
}
