// A mean and what becomes a variance, for one target value each.

fn judge(row: u32) {
    let pairs = layer.units / 2u;
    var sum = from_bits(ZERO);
    for (var i = row * pairs; i < (row + 1u) * pairs; i++) {
        let t = from_bits(targets[i]);
        let m = z[2u * i];
        let x = z[2u * i + 1u];
        sum = add_gaussian(sum, m, x, t);
        d[2u * i] = mul(gaussian_mean_slope(m, x, t), factor(row));
        d[2u * i + 1u] = mul(gaussian_variance_slope(m, x, t), factor(row));
    }
    record(row, div(sum, of_int(i32(pairs))), 0u);
}
