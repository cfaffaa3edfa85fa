//! Syvä's CPU engine: the arithmetic contract, tiled, vectorised, and shared out among threads.
//!
//! Who has a trained network and wants its answers takes a [`Predictor`]; who trains takes the engine.
//!
//! From the outside in: [`CpuEngine`] opens a `Session` (`session.rs`), whose `train` runs steps (`step.rs`); a step
//! is a few phases, each shared out as tiles to the thread [`team`]; a tile is computed by one [`kernels`] call, in
//! the widest instruction set of the processor ([`isa`]). Each output has one owner and one chain of fused
//! multiply-adds in the contract's order, so neither the tiles nor the threads nor the width of the vectors change a bit.

pub mod buffer;
#[cfg(target_arch = "x86_64")]
mod fused;
pub mod isa;
pub mod kernels;
mod loss;
pub mod memory;
mod predictor;
mod prefetch;
mod profile;
mod scratch;
mod session;
pub mod sparse;
mod step;
pub mod team;
mod update;
mod vector;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use syva_core::{DeviceId, DeviceInfo, Engine, Error, Result, Session, Spec, threads};

use crate::isa::Isa;
use crate::kernels::Kernels;
use crate::sparse::InputKernel;
use crate::team::Team;

pub use predictor::Predictor;

/// The engine `cpu`.
///
/// ```
/// use syva_core::{Activation::Relu, Engine, Matrix, Mlp, State};
/// use syva_cpu::CpuEngine;
/// let spec = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
/// let engine = CpuEngine::new()?;
/// let mut session = engine.open(&engine.devices()[0].id, &spec)?;
/// session.set_state(&State::initial(&spec, 1)?)?;
/// let mut outputs = Matrix::zeros(1, 1);
/// session.predict(&Matrix::new(1, 2, vec![0.5, -1.0])?, &mut outputs)?;
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
    /// The widest instruction set of this processor (or the one that `SYVA_ISA` forces), one thread a core, dense or
    /// sparse inputs by their density (or as `SYVA_KERNEL` forces).
    pub fn new() -> Result<Self> {
        Ok(Self { isa: Isa::detect()?, threads: threads::cores(), inputs: InputKernel::detect()? })
    }

    /// As many threads as asked, but no more than there are cores for ([`threads::cores`]): they would only wait for each
    /// other. The results do not depend on it.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        Ok(Self { threads: self.oversubscribed(threads)?.threads.min(threads::cores()), ..self })
    }

    /// As many threads as asked, however few cores there are, for tests of what threads do to each other: slow.
    #[doc(hidden)]
    pub fn oversubscribed(self, threads: usize) -> Result<Self> {
        if threads == 0 || threads > 1024 {
            let problem = format!("{threads} threads cannot work");
            return Err(Error::setting("threads", problem, "give 1 to 1024, at best the number of cores"));
        }
        Ok(Self { threads, ..self })
    }

    /// A narrower instruction set, for tests; the results do not depend on it.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        Ok(Self { isa: isa.available()?, ..self })
    }

    /// Another way of reading inputs, for tests; the results do not depend on it.
    #[must_use]
    pub fn with_inputs(self, inputs: InputKernel) -> Self {
        Self { inputs, ..self }
    }

    /// Threads that will work.
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
            // Small tasks, so that all threads end together.
            team.run(64 * self.threads, &|_, _| {
                done.fetch_add(kernels.multiply_add(20_000), Ordering::Relaxed);
            });
            best = best.max(2.0 * done.into_inner() as f64 / start.elapsed().as_secs_f64());
        }
        Some(best)
    }

    fn open(&self, device: &DeviceId, spec: &Spec) -> Result<Box<dyn Session>> {
        if device.index != 0 {
            return Err(Error::Unsupported { what: format!("device {device}"), remedy: "use cpu".into() });
        }
        Ok(Box::new(session::CpuSession::new(spec, self.isa, self.threads, self.inputs)?))
    }
}
