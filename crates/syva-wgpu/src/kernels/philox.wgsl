// Philox4x32-10 (syva-core's `random.rs`): four random words from a counter and a key.

/// The upper word of a product.
fn upper(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return a_high * b_high + (middle >> 16u) + (other >> 16u);
}

fn philox(counter: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = first_key;
    for (var round = 0u; round < 10u; round++) {
        let high = vec2(upper(c.x, 0xd2511f53u), upper(c.z, 0xcd9e8d57u));
        c = vec4(high.y ^ c.y ^ key.x, c.z * 0xcd9e8d57u, high.x ^ c.w ^ key.y, c.x * 0xd2511f53u);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}
