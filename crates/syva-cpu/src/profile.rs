//! Measures where the time of a step goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A part of the step whose time is measured, summed over all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Scaling or listing the inputs.
    Gather,
    /// The forward product of a layer, and its activation.
    Forward(usize),
    /// The losses, and d of the outputs.
    Loss,
    /// The input gradient of a layer.
    Gradient(usize),
    /// The weight gradient of a layer and its update.
    Update(usize),
}

impl Part {
    fn all(layers: usize) -> impl Iterator<Item = Self> {
        [Self::Gather]
            .into_iter()
            .chain((0..layers).map(Self::Forward))
            .chain([Self::Loss])
            .chain((1..layers).rev().map(Self::Gradient))
            .chain((0..layers).rev().map(Self::Update))
    }

    fn index(self, layers: usize) -> usize {
        match self {
            Self::Gather => 0,
            Self::Loss => 1,
            Self::Forward(l) => 2 + l,
            Self::Gradient(l) => 2 + layers + l,
            Self::Update(l) => 2 + 2 * layers + l,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Gather => "gather".into(),
            Self::Loss => "loss".into(),
            Self::Forward(l) => format!("forward {}", l + 1),
            Self::Gradient(l) => format!("input gradient {}", l + 1),
            Self::Update(l) => format!("update {}", l + 1),
        }
    }
}

/// A stopwatch for each part. It stands still until it is started.
pub(crate) struct Stopwatch {
    layers: usize,
    running: bool,
    nanoseconds: Vec<AtomicU64>,
    multiply_adds: AtomicU64,
}

impl Stopwatch {
    pub(crate) fn new(layers: usize) -> Self {
        Self {
            layers,
            running: false,
            nanoseconds: (0..2 + 3 * layers).map(|_| AtomicU64::new(0)).collect(),
            multiply_adds: AtomicU64::new(0),
        }
    }

    /// Runs a part of the step, on any thread, and adds its time.
    #[inline]
    pub(crate) fn time<R>(&self, part: Part, run: impl FnOnce() -> R) -> R {
        if !self.running {
            return run();
        }
        let start = Instant::now();
        let result = run();
        let elapsed = start.elapsed().as_nanos() as u64;
        self.nanoseconds[part.index(self.layers)].fetch_add(elapsed, Ordering::Relaxed);
        result
    }

    /// Counts the multiply-adds of products. Calls the closure only while the stopwatch runs.
    #[inline]
    pub(crate) fn count(&self, multiply_adds: impl FnOnce() -> usize) {
        if self.running {
            self.multiply_adds.fetch_add(multiply_adds() as u64, Ordering::Relaxed);
        }
    }

    /// Starts the stopwatch from zero.
    pub(crate) fn start(&mut self) {
        self.running = true;
        self.nanoseconds.iter_mut().for_each(|nanoseconds| *nanoseconds.get_mut() = 0);
        *self.multiply_adds.get_mut() = 0;
    }

    /// Stops the stopwatch. Returns the seconds of each part, in the order of a step, and the number of multiply-adds.
    pub(crate) fn stop(&mut self) -> (Vec<(String, f64)>, u64) {
        self.running = false;
        let parts = Part::all(self.layers)
            .map(|part| (part.name(), *self.nanoseconds[part.index(self.layers)].get_mut() as f64 * 1e-9))
            .collect();
        (parts, *self.multiply_adds.get_mut())
    }
}
