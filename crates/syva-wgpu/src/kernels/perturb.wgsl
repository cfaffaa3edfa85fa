struct Pair { a: num, b: num }

/// A number of up to 2^24 times 2^−24.
fn fraction(number: u32) -> num {
    if number == 0x1000000u { return from_bits(ONE); }
    return mul(of_int(i32(number)), from_bits(0x33800000u));
}

/// The noise of a feature, from the words of its counter, times the deviation.
fn noise(words: vec4<u32>, feature: u32) -> num {
    let both = select(words.xy, words.zw, (feature & 2u) != 0u);
    let pair = normal_pair(fraction((both.x >> 8u) + 1u), fraction(both.y >> 8u));
    let odd = feature & 1u;
    var normal = pair.a;
    if odd == 1u { normal = pair.b; }
    if ((both.y >> odd) & 1u) == 1u { normal = neg(normal); }
    return mul(normal, from_bits({{deviation}}));
}

/// What a step makes of a normalised input.
fn perturbed(x: num, row: u32, feature: u32) -> num {
    let counter = vec4(feature / 4u, step.before + row, step.step_low, step.step_high);
    var value = x;
    {{noise}}
    {{drop}}
    return value;
}
