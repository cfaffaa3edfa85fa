//! Syvä's CPU engine: the arithmetic contract, tiled, vectorised, and divided among threads.
//!
//! Use a [`Predictor`] to get answers from a trained network, and the engine to train one.
//!
//! From the outside in: [`CpuEngine`] opens a `Session` (`session.rs`), whose `train` runs steps (`step.rs`). A step
//! has a few regions, and each of them is divided into tiles for the [`team`] of threads. One call of the [`kernels`]
//! computes a tile, in the widest instruction set of the processor ([`isa`]). Each output has one owner, which adds
//! in the contract's order, so neither tiles nor threads nor the width of vectors change a bit.

pub mod buffer;
mod embedding;
#[cfg(target_arch = "x86_64")]
mod fused;
pub mod isa;
pub mod kernels;
mod loss;
pub mod memory;
mod muon;
mod pages;
mod predictor;
mod prefetch;
mod profile;
mod scratch;
mod session;
pub mod sparse;
mod step;
mod stored;
pub mod team;
mod tree;
mod update;
mod vector;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use syva_core::{DeviceId, DeviceInfo, Engine, Error, Result, Session, Spec, Training, threads};

use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::sparse::InputKernel;
use crate::team::Team;

pub use predictor::Predictor;

/// Bytes that are read to measure the memory's bandwidth: more than any cache has room for.
const BANDWIDTH_BYTES: usize = 512 << 20;

/// The engine `cpu`.
///
/// ```
/// use syva_core::{Activation::Relu, Engine, Matrix, Mlp, State, Training};
/// use syva_cpu::CpuEngine;
/// let spec = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
/// let engine = CpuEngine::new()?;
/// let mut session = engine.open(&engine.devices()[0].id, &spec, &Training::default())?;
/// session.set_state(&State::initial(&spec, &Training::default())?)?;
/// let mut outputs = Matrix::zeros(1, 1);
/// session.predict(&vec![0.5, -1.0].into(), &mut outputs)?;
/// assert!(outputs.row(0)[0].is_finite());
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CpuEngine {
    isa: Isa,
    threads: usize,
    inputs: InputKernel,
}

impl CpuEngine {
    /// An engine with the widest instruction set of this processor (or the one that `SYVA_ISA` forces), one thread per
    /// core, and dense or sparse inputs depending on their density (or as `SYVA_KERNEL` forces).
    pub fn new() -> Result<Self> {
        Ok(Self { isa: Isa::detect()?, threads: threads::cores(), inputs: InputKernel::detect()? })
    }

    /// Sets the number of threads, but to no more than there are cores ([`threads::cores`]), because more threads would
    /// only wait for each other. The results do not depend on it.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        Ok(Self { threads: self.oversubscribed(threads)?.threads.min(threads::cores()), ..self })
    }

    /// Sets the number of threads, even to more than there are cores. For tests of how threads affect each other; slow.
    #[doc(hidden)]
    pub fn oversubscribed(self, threads: usize) -> Result<Self> {
        if threads == 0 || threads > 1024 {
            let problem = format!("{threads} threads cannot work");
            return Err(Error::setting("threads", problem, "give 1 to 1024, at best the number of cores"));
        }
        Ok(Self { threads, ..self })
    }

    /// Sets a narrower instruction set, for tests. The results do not depend on it.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        Ok(Self { isa: isa.available()?, ..self })
    }

    /// Sets how inputs are read, for tests. The results do not depend on it.
    #[must_use]
    pub fn with_inputs(self, inputs: InputKernel) -> Self {
        Self { inputs, ..self }
    }

    /// The number of threads that will be used.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The instruction set that will be used.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        let plural = if self.threads == 1 { "" } else { "s" };
        vec![DeviceInfo {
            id: DeviceId { engine: "cpu".into(), index: 0 },
            name: isa::processor_name(),
            detail: format!("{}, {} thread{plural}", self.isa, self.threads),
            exact: true,
        }]
    }

    fn peak(&self, _device: &DeviceId) -> Option<f64> {
        let kernels = Kernels::new(self.isa).ok()?;
        let mut team = Team::new(self.threads).ok()?;
        let mut best = 0.0_f64;
        for _ in 0..10 {
            let done = AtomicU64::new(0);
            let start = Instant::now();
            // The tasks are small, so that all threads finish together.
            team.run(64 * self.threads, &|_, _| {
                done.fetch_add(kernels.multiply_add(20_000), Ordering::Relaxed);
            });
            best = best.max(2.0 * done.into_inner() as f64 / start.elapsed().as_secs_f64());
        }
        Some(best)
    }

    fn bandwidth(&self, _device: &DeviceId) -> Option<f64> {
        syva_core::memory::ask(BANDWIDTH_BYTES as u64, "the measurement of the bandwidth", "leave it out").ok()?;
        let mut team = Team::new(self.threads).ok()?;
        // Values that are not all the same page of zeros.
        let values: Vec<u64> = (0..(BANDWIDTH_BYTES / size_of::<u64>()) as u64).collect();
        let mut best = 0.0_f64;
        for _ in 0..5 {
            let sum = AtomicU64::new(0);
            let start = Instant::now();
            let tasks = values.chunks_exact(1 << 17);
            team.run(tasks.len(), &|_, task| {
                let part = &values[task << 17..(task + 1) << 17];
                sum.fetch_add(part.iter().fold(0, |sum, &value| sum ^ value), Ordering::Relaxed);
            });
            std::hint::black_box(sum.into_inner());
            best = best.max(BANDWIDTH_BYTES as f64 / start.elapsed().as_secs_f64());
        }
        Some(best)
    }

    fn open(&self, device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>> {
        if device.index != 0 {
            return Err(Error::Unsupported { what: format!("device {device}"), remedy: "use cpu".into() });
        }
        // Each setting is named, so that a new one is not ignored: this engine knows them all.
        let Training {
            epochs: _,
            batch_size: _,
            learning_rate: _,
            seed: _,
            init: _,
            bias_init: _,
            stop: _,
            optimizer: _,
            schedule: _,
            dropout: _,
            input_dropout: _,
            input_noise: _,
            l1: _,
            l2: _,
            clip_norm: _,
            clip_value: _,
            max_norm: _,
            ema: _,
            loss: _,
            class_weights: _,
            accumulate: _,
            lr_factors: _,
            decay_factors: _,
            parametrization: _,
            decay_schedule: _,
            dropout_schedule: _,
            frequency_spread: _,
            drop_last: _,
            zero_last: _,
        } = training;
        Ok(Box::new(session::CpuSession::new(spec, training, self.isa, self.threads, self.inputs)?))
    }
}
