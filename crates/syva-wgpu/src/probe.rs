//! Tests an adapter's arithmetic with a small kernel, because WGSL promises little about it.
//!
//! Thousands of operands, random and nasty, go through each operation that the contract needs. The results are compared
//! with the host's, which are correctly rounded. If all agree, the adapter is *exact*; the conformance kit then
//! compares whole trainings with the reference.

use syva_core::Result;
use syva_core::arithmetic::Number;

use crate::gpu::Gpu;
use crate::shader::{BITS, Flavour, fill, functions};

/// Threads per group.
const GROUP: usize = 64;

/// A question to the adapter: an operation in WGSL over `a`, `b`, `c`, its right result, and what to say if the
/// adapter's result differs.
struct Question {
    /// The finding for people, as in "close: fma is not fused".
    otherwise: &'static str,
    wgsl: &'static str,
    right: fn(f32, f32, f32) -> f32,
}

const QUESTIONS: [Question; 9] = [
    Question { otherwise: "fma is not fused", wgsl: "fused(a, b, c)", right: Number::fma },
    Question { otherwise: "sums are inexact", wgsl: "add(a, c)", right: |a, _, c| a + c },
    Question { otherwise: "differences are inexact", wgsl: "sub(a, c)", right: |a, _, c| a - c },
    Question { otherwise: "products are inexact", wgsl: "mul(a, b)", right: |a, b, _| a * b },
    Question { otherwise: "division is inexact", wgsl: "div(a, b)", right: |a, b, _| a / b },
    Question { otherwise: "roots are inexact", wgsl: "square_root(a)", right: |a, _, _| a.square_root() },
    Question {
        otherwise: "products and sums are fused unasked",
        wgsl: "add(mul(a, b), c)",
        right: |a, b, c| a * b + c,
    },
    Question { otherwise: "sums are reassociated", wgsl: "sub(add(a, c), c)", right: |a, _, c| (a + c) - c },
    Question {
        otherwise: "comparisons are inexact",
        wgsl: "from_bits(select(0u, 0x3f800000u, above(a, c)))",
        right: |a, _, c| f32::from(u8::from(a > c)),
    },
];

/// The findings about an adapter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Everything that the contract needs and the adapter does not do.
    pub(crate) wanting: Vec<&'static str>,
}

impl Verdict {
    /// Puts all questions to the adapter.
    pub(crate) fn of(gpu: &Gpu) -> Result<Self> {
        let operands = operands(1, 64 * GROUP);
        let cases = QUESTIONS
            .iter()
            .enumerate()
            .map(|(i, question)| format!("out[{i}u * n + i] = to_bits({});", question.wgsl));
        let cases: Vec<String> = cases.collect();
        let body = cases.join("\n    ");
        let found = apply(gpu, Flavour::Native.source(), &body, QUESTIONS.len(), &operands)?;
        let mut wanting = Vec::new();
        let mut flushed = false;
        for (question, found) in QUESTIONS.iter().zip(found.chunks_exact(operands.len())) {
            let mut wrong = false;
            for (&[a, b, c], &found) in operands.iter().zip(found) {
                let right = (question.right)(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
                let found = f32::from_bits(found);
                if right.to_bits() == found.to_bits() || right.is_nan() && found.is_nan() {
                    continue;
                }
                let tiny = |x: f32| x.is_subnormal();
                if tiny(right) || [a, b, c].into_iter().map(f32::from_bits).any(tiny) {
                    flushed = true;
                } else {
                    wrong = true;
                }
            }
            if wrong {
                wanting.push(question.otherwise);
            }
        }
        if flushed {
            wanting.push("subnormals are not kept");
        }
        Ok(Self { wanting })
    }

    pub(crate) fn exact(&self) -> bool {
        self.wanting.is_empty()
    }
}

/// Runs `body` over all triples of operands. It writes `results` words per triple. `prelude` is put before it.
pub(crate) fn apply(gpu: &Gpu, prelude: &str, body: &str, results: usize, operands: &[[u32; 3]]) -> Result<Vec<u32>> {
    let source = fill(include_str!("kernels/apply.wgsl"), &[("prelude", prelude), ("body", body)]);
    let pipeline = gpu.compile(&source);
    let input = gpu.filled(bytemuck::cast_slice(operands));
    let words = results * operands.len();
    let output = gpu.storage(4 * words as u64);
    let group = gpu.bind(&pipeline, None, &[&input, &output]);
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline.pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(operands.len().div_ceil(GROUP) as u32, 1, 1);
    drop(pass);
    gpu.submit(encoder);
    Ok(gpu.read(&[(&output, words)])?.swap_remove(0))
}

/// A function of the kernels, for tests. The text of the function is the one that the engine itself uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// a · b + c, rounded once.
    Fma,
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// √a
    SquareRoot,
    /// a > b, as 1 or 0
    Above,
    /// e^a
    Exp,
    /// ln a
    Log,
    /// ln(1 + |a|)
    Log1p,
    /// sigmoid of a
    Sigmoid,
    /// tanh a
    Tanh,
}

/// Runs a function in the integer arithmetic over triples of operands (bits of f32).
pub(crate) fn soft(gpu: &Gpu, function: Function, operands: &[[u32; 3]]) -> Result<Vec<u32>> {
    let call = match function {
        Function::Fma => "fused(a, b, c)",
        Function::Add => "add(a, b)",
        Function::Sub => "sub(a, b)",
        Function::Mul => "mul(a, b)",
        Function::Div => "div(a, b)",
        Function::SquareRoot => "square_root(a)",
        Function::Above => "from_bits(select(ZERO, ONE, above(a, b)))",
        Function::Exp => "exponential(a)",
        Function::Log => "logarithm(a)",
        Function::Log1p => "logarithm_1p(magnitude(a))",
        Function::Sigmoid => "sigmoid(a)",
        Function::Tanh => "hyperbolic_tangent(a)",
    };
    let prelude = format!("{}\n{BITS}\n{}", Flavour::Soft.source(), functions());
    apply(gpu, &prelude, &format!("out[i] = to_bits({call});"), 1, operands)
}

/// Random and nasty triples of operands (bits of f32), from a seed. Among them are numbers of all exponents, numbers so
/// close to each other that sums cancel, products between two floats, subnormals, zeros, infinities and NaN.
pub fn operands(seed: u32, count: usize) -> Vec<[u32; 3]> {
    use syva_core::random::{Random, Stream};
    let mut random = Random::new(seed, Stream::Augmentation, 0);
    let nasty = [
        0,
        1,
        2,
        3,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x00ff_ffff,
        0x3f80_0000,
        0x3f80_0001,
        0x3f7f_ffff,
        0x4b7f_ffff,
        0x3380_0000,
        0x7f7f_ffff,
        0x7f00_0000,
        0x7f80_0000,
        0x7fc0_0000,
        0x1f80_0000,
        0x2000_0000,
        0x5f80_0000,
    ];
    let mut draw = move |kind: u32| -> u32 {
        let word = random.next_u32();
        let sign = word & 0x8000_0000;
        match kind {
            // All bit patterns.
            0 => word,
            // Around 1 with few bits set, which makes ties.
            1 => sign | (0x3f80_0000 + (((word >> 8) & 7) << 23)) | ((word & 0x7f) << 16),
            // Around 1.
            2 => sign | (0x3e80_0000 + (word & 0x01ff_ffff)),
            // Subnormals and their neighbours.
            3 => sign | (word & 0x01ff_ffff),
            // Factors whose product is near the smallest numbers.
            4 => sign | (0x1c00_0000 + (word & 0x07ff_ffff)),
            _ => sign | nasty[word as usize % nasty.len()],
        }
    };
    let mut kinds = Random::new(seed, Stream::Augmentation, 1);
    let mut triple = move || {
        let mut kind = || kinds.next_u32() % 6;
        let (mut a, mut b, mut c) = (draw(kind()), draw(kind()), draw(kind()));
        let product = f32::from_bits(a) * f32::from_bits(b);
        match kinds.next_u32() % 8 {
            // Cancels the product except for a few last places.
            0 | 1 => c = (-product).to_bits() ^ (kinds.next_u32() & 3),
            // About half a last place of the product.
            2 => c = (product * 2.0_f32.powi(-24 - (kinds.next_u32() % 3) as i32)).to_bits() ^ (kinds.next_u32() & 1),
            // A number whose last place is about twice the product.
            3 => c = (product * 2.0_f32.powi(23 + (kinds.next_u32() % 3) as i32)).to_bits() ^ (kinds.next_u32() & 1),
            4 => c = a ^ (kinds.next_u32() & 0x8000_0003),
            5 => (a, b) = (a & 0xffff_f000, b & 0xffff_f000),
            _ => {}
        }
        [a, b, c]
    };
    (0..count).map(|_| triple()).collect()
}
