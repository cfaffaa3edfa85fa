//! The code that all Rust peers share: their arguments, MNIST, the order of the samples, and the line protocol, which
//! `peer.py` describes.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::time::Instant;

/// The learning rate.
pub const LEARNING_RATE: f32 = 0.01;
/// Classes of MNIST.
pub const CLASSES: usize = 10;
/// Pixels of an image.
pub const FEATURES: usize = 784;
/// Mean and standard deviation of the pixels, as shares of 255.
pub const MEAN_STD: (f32, f32) = (0.1307, 0.3081);

/// The training that a peer is asked for.
pub struct Job {
    /// Training images, `[60000, 784]`, as stored.
    pub pixels: Vec<u8>,
    /// Their classes.
    pub labels: Vec<u8>,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Samples per step.
    pub batch: usize,
    /// The seed of the order of the samples, and of the weights if the peer can be seeded.
    pub seed: u32,
}

impl Job {
    /// Reads the command line `DATA HIDDEN BATCH SEED` and the data.
    pub fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let [_, data, hidden, batch, seed] = &args[..] else { panic!("arguments: DATA HIDDEN BATCH SEED") };
        Self {
            pixels: read(Path::new(data), "train-images-idx3-ubyte", 16),
            labels: read(Path::new(data), "train-labels-idx1-ubyte", 8),
            hidden: hidden.split(',').map(|width| width.parse().expect("a width")).collect(),
            batch: batch.parse().expect("a batch size"),
            seed: seed.parse().expect("a seed"),
        }
    }

    /// All images normalised, `[60000, 784]`.
    pub fn images(&self) -> Vec<f32> {
        self.pixels.iter().map(|&pixel| (f32::from(pixel) / 255.0 - MEAN_STD.0) / MEAN_STD.1).collect()
    }

    /// Fan-in and units of every layer, the output layer included.
    pub fn layers(&self) -> Vec<(usize, usize)> {
        let mut fan_in = FEATURES;
        let units = self.hidden.iter().copied().chain([CLASSES]);
        units.map(|units| (std::mem::replace(&mut fan_in, units), units)).collect()
    }

    /// Answers requests until standard input ends. `train` takes the order of the samples, and returns the mean of the
    /// batches' mean losses.
    pub fn serve(&self, versions: &str, mut train: impl FnMut(&[u32]) -> f64) {
        answer(&format!(r#"{{"ready":true,"versions":"{versions}"}}"#));
        let mut random = u64::from(self.seed);
        for line in io::stdin().lock().lines() {
            let line = line.expect("readable standard input");
            let count = match line.split_once(' ') {
                None if line == "epoch" => self.labels.len(),
                Some(("steps", steps)) => steps.parse::<usize>().expect("a number of steps") * self.batch,
                _ => panic!("neither 'epoch' nor 'steps N': '{line}'"),
            };
            let start = Instant::now();
            let order = shuffled(self.labels.len(), &mut random);
            let loss = train(&order[..count.min(order.len())]);
            let seconds = start.elapsed().as_secs_f64();
            answer(&format!(r#"{{"seconds":{seconds},"loss":{loss}}}"#));
        }
    }
}

fn answer(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("someone who reads the answers");
}

/// The content of an IDX file after its header, gzipped or not.
fn read(data: &Path, name: &str, header: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let plain = File::open(data.join(name)).and_then(|mut file| file.read_to_end(&mut bytes));
    plain
        .or_else(|_| {
            let file = File::open(data.join(format!("{name}.gz")))?;
            flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)
        })
        .unwrap_or_else(|error| panic!("{name} in {}: {error}", data.display()));
    bytes.split_off(header)
}

/// Fisher and Yates's shuffle with numbers from SplitMix64 (Steele, Lea, Flood 2014).
fn shuffled(samples: usize, random: &mut u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..samples as u32).collect();
    for i in (1..samples).rev() {
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        order.swap(i, ((u128::from(z) * (i as u128 + 1)) >> 64) as usize);
    }
    order
}
