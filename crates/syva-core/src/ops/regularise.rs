//! What holds weights and activations back: dropout, penalties, clipping, the largest norm, the average of the weights.

use crate::arithmetic::{Number, horner};
use crate::random::{Stream, philox4x32};

/// Dropout (Srivastava et al. 2014; `torch.nn.Dropout`): in training, each activation of a hidden layer becomes 0 with
/// probability p, and is divided by 1 − p otherwise.
///
/// Which ones become 0 depends on the seed, the step, the layer, the row of the batch and the unit, and on nothing else. So
/// it is the same on every device, for any number of threads, and however the batch is divided.
///
/// ```
/// use syva_core::ops::Dropout;
/// let dropout = Dropout::new(0.25, 1, 17);
/// let factors: Vec<f32> = (0..1000).map(|unit| dropout.factor(0, 3, unit)).collect();
/// assert!(factors.iter().all(|&factor| factor == 0.0 || factor == 4.0 / 3.0));
/// assert!(factors.iter().filter(|&&factor| factor == 0.0).count().abs_diff(250) < 50);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Random words below this number mean 0.
    pub threshold: u32,
    /// What other activations are multiplied by.
    pub scale: f32,
    key: [u32; 2],
    step: u64,
}

impl Dropout {
    /// Dropout with this probability in one step, which is counted from 0.
    #[must_use]
    pub fn new(probability: f32, seed: u32, step: u64) -> Self {
        let p = f64::from(probability);
        Self {
            threshold: (p * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
            key: [seed, Stream::Dropout as u32],
            step,
        }
    }

    /// The key of Philox, and the counter of a layer (0 is the first) and a row of the batch, at its first unit. Word
    /// `u % 4` of the block whose counter is higher by `u / 4` in its first word belongs to unit u.
    #[must_use]
    pub fn start(&self, layer: usize, row: usize) -> ([u32; 2], [u32; 4]) {
        let upper = (self.step >> 32) as u32 | (layer as u32) << 16;
        (self.key, [0, row as u32, self.step as u32, upper])
    }

    /// The factor of an activation: 0 or [`scale`](Self::scale).
    #[must_use]
    pub fn factor(&self, layer: usize, row: usize, unit: usize) -> f32 {
        let (key, mut counter) = self.start(layer, row);
        counter[0] = (unit / 4) as u32;
        if philox4x32(counter, key)[unit % 4] < self.threshold { 0.0 } else { self.scale }
    }
}

/// The place of the inputs among the layers whose units dropout takes out.
pub const INPUTS: usize = 0xFFFF;

/// Gaussian noise on the normalised inputs of training steps (`keras.layers.GaussianNoise`; Bishop 1995, "Training with noise
/// is equivalent to Tikhonov regularization").
///
/// Like [`Dropout`], it depends on the seed, the step, the row of the batch and the feature, and on nothing else.
///
/// ```
/// use syva_core::ops::Noise;
/// let noise = Noise::new(0.5, 1, 17);
/// let values: Vec<f32> = (0..10_000).map(|feature| noise.of(3, feature)).collect();
/// let variance = values.iter().map(|v| v * v).sum::<f32>() / 1e4;
/// assert!((variance - 0.25).abs() < 0.015);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The standard deviation.
    pub deviation: f32,
    key: [u32; 2],
    step: u64,
}

impl Noise {
    /// Noise of this standard deviation in one step, which is counted from 0.
    #[must_use]
    pub fn new(deviation: f32, seed: u32, step: u64) -> Self {
        Self { deviation, key: [seed, Stream::Noise as u32], step }
    }

    /// The key of Philox, and the counter of a row of the batch at its first feature. Features take words as the units of
    /// [`Dropout::start`] do.
    #[must_use]
    pub fn start(&self, row: usize) -> ([u32; 2], [u32; 4]) {
        (self.key, [0, row as u32, self.step as u32, (self.step >> 32) as u32])
    }

    /// The noise of four features from `4 · block` on, in a row of the batch.
    #[must_use]
    pub fn block(&self, row: usize, block: usize) -> [f32; 4] {
        let (key, mut counter) = self.start(row);
        counter[0] = block as u32;
        let words = philox4x32(counter, key);
        let [a, b] = normal_pair(words[0], words[1]);
        let [c, d] = normal_pair(words[2], words[3]);
        [a, b, c, d].map(|normal| normal * self.deviation)
    }

    /// The noise of a feature in a row of the batch.
    #[must_use]
    pub fn of(&self, row: usize, feature: usize) -> f32 {
        self.block(row, feature / 4)[feature % 4]
    }
}

/// Two independent standard normal numbers from two random words (Box and Muller 1958). The upper 24 bits of each are a
/// fraction; the two lowest bits of the second choose the quadrant, by signs.
fn normal_pair(first: u32, second: u32) -> [f32; 2] {
    let fraction = |word: u32| word as f32 * (1.0 / 16_777_216.0);
    let sign = |value: f32, bit: u32| if second >> bit & 1 == 0 { value } else { -value };
    let [a, b] = box_muller(fraction((first >> 8) + 1), fraction(second >> 8));
    [sign(a, 0), sign(b, 1)]
}

/// Two normal numbers in one quadrant, from u in (0, 1] and v in [0, 1).
///
/// The radius is √2·r with r = √(−log u), and the angle is π/4 + φ with φ = (v − ½) · π/2.
#[inline(always)]
#[must_use]
pub fn box_muller<N: Number>(u: N, v: N) -> [N; 2] {
    let constant = |value: f32| N::from_f64(f64::from(value));
    let r = (-u.log()).square_root();
    let phi = (v - constant(0.5)) * constant(std::f32::consts::FRAC_PI_2);
    let square = phi * phi;
    // Taylor's polynomials, of which φ ≤ π/4 leaves errors below 4·10⁻⁷.
    let cos = horner(&[1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0].map(constant), square);
    let sin = phi * horner(&[-1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0].map(constant), square);
    [r * (cos - sin), r * (cos + sin)]
}

/// What a training step changes at random: dropout of hidden layers and of inputs, and noise on inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perturbation {
    /// Dropout after each hidden layer.
    pub hidden: Option<Dropout>,
    /// Dropout of the normalised inputs.
    pub inputs: Option<Dropout>,
    /// Noise on the normalised inputs, before dropout.
    pub noise: Option<Noise>,
}

impl Perturbation {
    /// Whether it changes inputs.
    #[must_use]
    pub fn changes_inputs(&self) -> bool {
        self.inputs.is_some() || self.noise.is_some()
    }
}

/// An activation or its gradient times the factor of [`Dropout`]. 0 stays 0, even if the value is not finite.
#[inline(always)]
#[must_use]
pub fn dropped<N: Number>(value: N, factor: N) -> N {
    N::select(factor.equals(N::ZERO), N::ZERO, value * factor)
}

/// The gradient of a weight with that of the penalties l2/2 · w² and l1 · |w|.
#[inline(always)]
#[must_use]
pub fn penalised<N: Number>(g: N, w: N, l1: N, l2: N) -> N {
    let sign = N::select(w.equals(N::ZERO), N::ZERO, N::ONE.with_sign_of(w));
    l1.fma(sign, l2.fma(w, g))
}

/// A gradient held to [−bound, bound] (`torch.nn.utils.clip_grad_value_`).
#[inline(always)]
#[must_use]
pub fn clipped<N: Number>(g: N, bound: N) -> N {
    g.clamped((-bound, bound))
}

/// The factor of all gradients whose norm should be at most `bound` (`torch.nn.utils.clip_grad_norm_`).
#[inline(always)]
#[must_use]
pub fn norm_factor<N: Number>(norm: N, bound: N) -> N {
    let factor = bound / (norm + N::from_f64(1e-6));
    N::select(N::ONE.above(factor), factor, N::ONE)
}

/// The factor of a unit's weights whose norm should be at most `bound` (`torch.renorm`).
#[inline(always)]
#[must_use]
pub fn renorm_factor<N: Number>(norm: N, bound: N) -> N {
    N::select(norm.above(bound), bound / (norm + N::from_f64(1e-7)), N::ONE)
}

/// The moving average of a weight, which approaches the weight by a share of the distance
/// (`torch.optim.swa_utils.get_ema_multi_avg_fn`). With share 1 it is the weight.
#[inline(always)]
#[must_use]
pub fn averaged<N: Number>(average: N, w: N, share: N) -> N {
    N::select(share.equals(N::ONE), w, share.fma(w - average, average))
}
