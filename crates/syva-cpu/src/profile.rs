//! Measures where the time of a step goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use syva_core::StepPart;

/// A part of the step whose time is measured, summed over all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Scaling or listing the inputs.
    Gather,
    /// The forward product of a layer, and its activation.
    Forward(usize),
    /// The embedding of the inputs, its gradients and its update.
    Embedding,
    /// The losses, and d of the outputs.
    Loss,
    /// The input gradient of a layer.
    Gradient(usize),
    /// The weight gradient of a layer and its update.
    Update(usize),
}

impl Part {
    fn all(layers: usize) -> impl Iterator<Item = Self> {
        [Self::Gather, Self::Embedding]
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
            Self::Embedding => 2 + 3 * layers,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Gather => "gather".into(),
            Self::Embedding => "embedding".into(),
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
    multiply_adds: Vec<AtomicU64>,
}

impl Stopwatch {
    pub(crate) fn new(layers: usize) -> Self {
        Self {
            layers,
            running: false,
            nanoseconds: (0..3 + 3 * layers).map(|_| AtomicU64::new(0)).collect(),
            multiply_adds: (0..3 + 3 * layers).map(|_| AtomicU64::new(0)).collect(),
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

    /// Counts the multiply-adds of a part's products. Calls the closure only while the stopwatch runs.
    #[inline]
    pub(crate) fn count(&self, part: Part, multiply_adds: impl FnOnce() -> usize) {
        if self.running {
            self.multiply_adds[part.index(self.layers)].fetch_add(multiply_adds() as u64, Ordering::Relaxed);
        }
    }

    /// Starts the stopwatch from zero.
    pub(crate) fn start(&mut self) {
        self.running = true;
        self.nanoseconds.iter_mut().chain(&mut self.multiply_adds).for_each(|sum| *sum.get_mut() = 0);
    }

    /// Stops the stopwatch. Returns the parts in the order of a step.
    pub(crate) fn stop(&mut self) -> Vec<StepPart> {
        self.running = false;
        let part = |part: Part| {
            let at = part.index(self.layers);
            let seconds = *self.nanoseconds[at].get_mut() as f64 * 1e-9;
            StepPart { name: part.name(), seconds, multiply_adds: *self.multiply_adds[at].get_mut() }
        };
        // Most networks have no embedding.
        let parts = Part::all(self.layers).map(part);
        parts.filter(|part| part.seconds > 0.0 || part.name != Part::Embedding.name()).collect()
    }
}
