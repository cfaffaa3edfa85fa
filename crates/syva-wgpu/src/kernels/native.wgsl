// The adapter's own arithmetic.

alias num = f32;

fn from_bits(bits: u32) -> num { return bitcast<f32>(bits); }
fn to_bits(x: num) -> u32 { return bitcast<u32>(x); }
fn of_int(i: i32) -> num { return f32(i); }

/// Returns x, but hides from the compiler where it comes from. Drivers' compilers rewrite sums and products: they turn
/// (a + b) − b into a, and a · b + c into one fused operation. They do not look through integer operations on a number's
/// bits.
fn opaque(x: f32) -> num { return bitcast<f32>(min(bitcast<u32>(x), 0xfffffffeu)); }

fn neg(a: num) -> num { return -a; }
fn add(a: num, b: num) -> num { return opaque(a + b); }
fn sub(a: num, b: num) -> num { return opaque(a - b); }
fn mul(a: num, b: num) -> num { return opaque(a * b); }
fn div(a: num, b: num) -> num { return opaque(a / b); }
fn fused(a: num, b: num, c: num) -> num { return fma(a, b, c); }
fn square_root(a: num) -> num { return opaque(sqrt(a)); }

fn above(a: num, b: num) -> bool { return a > b; }
