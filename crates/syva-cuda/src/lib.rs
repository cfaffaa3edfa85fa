//! Syvä's CUDA engine: the arithmetic contract on an NVIDIA card. The card runs a whole span of steps without the host.
//!
//! From the outside in: [`CudaEngine`] opens a session (`session.rs`). The session keeps weights, data and activations
//! on a card (`card.rs`, `memory.rs`) and runs steps of fused kernels there (`step.rs`), as a graph or as one kernel
//! (`method.rs`). `plan.rs` chooses the size of the tiles.
//!
//! The kernels are in `kernels/*.cu`. `cargo xtask kernels` compiles them ahead of time to PTX, which the driver compiles
//! for its card. The PTX is checked in compressed, as `kernels/ptx.pack` (`pack.rs`); the command leaves the readable texts
//! in `target/kernels`. Each output has one owner and one chain of fused multiply-adds in the contract's order, as on the
//! CPU, so the bits are the same.
//!
//! Building this crate needs nothing from CUDA. Using it needs only the driver.

mod card;
mod kernels;
mod loaded;
mod memory;
mod method;
mod pack;
mod plan;
mod profile;
mod session;
mod step;

use std::sync::{Arc, Mutex};

use syva_core::engine::{check_each_weight, check_raw_inputs};
use syva_core::{DeviceId, DeviceInfo, Engine, Error, Precision, Result, Session, Spec, Training};

use crate::card::{Card, Driver, SharedCard};

/// The engine `cuda`: the NVIDIA cards of this machine, if it has any, and a driver for them.
///
/// ```
/// use syva_core::Engine;
/// let engine = syva_cuda::CudaEngine::new();
/// match engine.absence() {
///     Some(reason) => println!("no CUDA here: {reason}"),
///     None => println!("{} cards", engine.devices().len()),
/// }
/// ```
#[derive(Default)]
pub struct CudaEngine {
    /// Cards that were opened before. Sessions share the kernels that the driver has compiled for them.
    cards: Mutex<Vec<Arc<SharedCard>>>,
    precision: Precision,
}

impl CudaEngine {
    /// Does not load the driver yet. That takes some tenths of a second, which training on another device need not pay.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the precision to which the factors of products are rounded, so that tensor cores can multiply them. This is
    /// meant for wide networks. With anything but [`Precision::F32`] the bits are no longer the contract's, and the
    /// card must be Ampere (sm_80) or later.
    ///
    /// The factors of all products of a step are rounded. The one exception is a last layer with at most 32 outputs and
    /// other layers before it, which stays f32. What is rounded does not depend on the card.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    fn card(&self, device: &DeviceId) -> Result<Arc<Card>> {
        Card::new(self.shared(device)?).map(Arc::new)
    }

    fn shared(&self, device: &DeviceId) -> Result<Arc<SharedCard>> {
        let driver = Driver::load().map_err(|reason| Error::Unsupported {
            what: format!("device {device} ({reason})"),
            remedy: "use --device cpu, which gives the same bits".into(),
        })?;
        let mut cards = self.cards.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(card) = cards.iter().find(|card| card.index == device.index) {
            return Ok(card.clone());
        }
        let card = Arc::new(driver.open(device.index)?);
        cards.push(card.clone());
        Ok(card)
    }
}

impl Engine for CudaEngine {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        Driver::load().map(|driver| driver.devices(self.precision)).unwrap_or_default()
    }

    fn absence(&self) -> Option<String> {
        match Driver::load() {
            Err(reason) => Some(reason),
            Ok(driver) if driver.devices(self.precision).is_empty() => {
                Some("the driver finds no card that Syvä can use".into())
            }
            Ok(_) => None,
        }
    }

    fn peak(&self, device: &DeviceId) -> Option<f64> {
        // The peak of tensor cores is another number.
        if self.precision != Precision::F32 {
            return None;
        }
        self.card(device).ok()?.peak().ok()
    }

    fn open(&self, device: &DeviceId, spec: &Spec, training: &Training) -> Result<Box<dyn Session>> {
        // All settings but some optimisers are done here. Their names are listed so that a new one is not ignored.
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
        check_each_weight(device, training)?;
        check_raw_inputs(device, spec)?;
        spec.validate()?;
        let card = self.card(device)?;
        card.check(self.precision)?;
        Ok(Box::new(session::CudaSession::new(spec, training, card, self.precision)?))
    }
}
