//! Syvä's portable GPU engine: the arithmetic contract in WGSL, run through wgpu on Metal, Vulkan and DX12.
//!
//! From the outside in: [`WgpuEngine`] opens a `Session` (`session.rs`) on an adapter (`gpu.rs`). The session keeps
//! data and weights there (`memory.rs`), and records steps (`step.rs`) as dispatches of a few kernels
//! (`kernels/*.wgsl`, assembled by `shader.rs`). Each output has one owner, which adds in the contract's
//! order.
//!
//! WGSL promises neither that `fma` is fused nor that anything is correctly rounded, so each adapter is probed
//! (`probe.rs`). If its arithmetic is what the contract needs, the engine is *exact*. If not, it is *close*: it
//! computes in the same order, but rounds differently. If it is asked to be exact all the same, it computes in
//! floating-point arithmetic made of integers (`kernels/soft.wgsl`), whose bits are right on every adapter.
#![forbid(unsafe_code)]

mod gpu;
mod memory;
mod probe;
mod session;
mod shader;
mod step;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use syva_core::engine::{check_each_weight, check_raw_inputs};
use syva_core::{DeviceId, DeviceInfo, Engine, Error, Result, Session, Spec, Training};

use crate::gpu::Gpu;
use crate::probe::Verdict;
pub use crate::probe::{Function, operands};
use crate::session::WgpuSession;
use crate::shader::Flavour;

/// The engine `gpu`, with the devices `gpu` (the best), `gpu:1`, … Clones share devices, and the kernels that were compiled for
/// them.
///
/// ```
/// use syva_core::{Activation::Relu, Engine, Matrix, Mlp, State, Training};
/// use syva_wgpu::WgpuEngine;
/// let engine = WgpuEngine::new().exact(true);
/// // Without an adapter there is no device.
/// if let Some(device) = engine.devices().first() {
///     let spec = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
///     let mut session = engine.open(&device.id, &spec, &Training::default())?;
///     session.set_state(&State::initial(&spec, &Training::default())?)?;
///     let mut outputs = Matrix::zeros(1, 1);
///     session.predict(&vec![0.5, -1.0].into(), &mut outputs)?;
///     assert!(outputs.row(0)[0].is_finite());
/// }
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct WgpuEngine {
    exact: bool,
    largest: Option<u64>,
    adapters: Arc<OnceLock<Vec<Adapter>>>,
}

/// An adapter. It is opened and probed when it is first needed.
struct Adapter {
    adapter: wgpu::Adapter,
    opened: Mutex<Option<(Arc<Gpu>, Verdict)>>,
}

impl WgpuEngine {
    /// The engine. It looks for adapters when it first needs them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the engine is exact even on adapters whose own arithmetic is not, at a fraction of the speed.
    #[must_use]
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Limits the size of buffers, so that tests can see matrices and data sets cut into parts. The results do not
    /// depend on it.
    #[must_use]
    pub fn with_buffers_of(mut self, bytes: u64) -> Self {
        self.largest = Some(bytes);
        self
    }

    /// Runs one of the kernels' functions on a device, in integer arithmetic, over triples of operands (bits of f32).
    /// Tests compare the results with the host's.
    pub fn soft(&self, device: &DeviceId, function: Function, operands: &[[u32; 3]]) -> Result<Vec<u32>> {
        probe::soft(&self.opened(device)?.0, function, operands)
    }

    /// What the probe found wrong with an adapter's own arithmetic. Empty if it is exact.
    pub fn lacks(&self, device: &DeviceId) -> Result<Vec<&'static str>> {
        Ok(self.opened(device)?.1.wanting)
    }

    fn adapters(&self) -> &[Adapter] {
        self.adapters.get_or_init(|| {
            let mut description = wgpu::InstanceDescriptor::new_without_display_handle();
            description.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
            description.flags = wgpu::InstanceFlags::empty();
            let instance = wgpu::Instance::new(description);
            let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
            best_first(found).into_iter().map(|adapter| Adapter { adapter, opened: Mutex::default() }).collect()
        })
    }

    /// The device of an adapter and the probe's verdict. Opens the device if it is not open yet, or if it was lost.
    fn opened(&self, device: &DeviceId) -> Result<(Arc<Gpu>, Verdict)> {
        let known = self.adapters();
        let Some(adapter) = known.get(device.index).filter(|_| device.engine == "gpu") else {
            let there = match known.len() {
                0 => "use --device cpu, because this machine has no graphics adapter".to_string(),
                1 => "use gpu, the only graphics adapter".to_string(),
                n => format!("use gpu, or gpu:1 to gpu:{}", n - 1),
            };
            let remedy = format!("{there} (`syva devices` lists all devices)");
            return Err(Error::Unsupported { what: format!("device {device}"), remedy });
        };
        let mut opened = adapter.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened.as_ref().filter(|(gpu, _)| gpu.works());
        let (gpu, verdict) = if let Some((gpu, verdict)) = known {
            (Arc::clone(gpu), verdict.clone())
        } else {
            let gpu = Arc::new(Gpu::open(device.to_string(), &adapter.adapter)?);
            let verdict = Verdict::of(&gpu)?;
            *opened = Some((Arc::clone(&gpu), verdict.clone()));
            (gpu, verdict)
        };
        let gpu = self.largest.map_or_else(|| Arc::clone(&gpu), |largest| Arc::new(gpu.with_buffers_of(largest)));
        Ok((gpu, verdict))
    }
}

/// Sorts adapters: cards first, then GPUs built into processors, software last. If Vulkan and DX12 show the same card,
/// only Vulkan's is kept.
fn best_first(adapters: Vec<wgpu::Adapter>) -> Vec<wgpu::Adapter> {
    let vulkan: Vec<_> = (adapters.iter().map(wgpu::Adapter::get_info))
        .filter(|info| info.backend == wgpu::Backend::Vulkan)
        .map(|info| (info.vendor, info.device))
        .collect();
    let mut kept: Vec<_> = (adapters.into_iter())
        .filter(|adapter| {
            let info = adapter.get_info();
            info.backend != wgpu::Backend::Dx12 || !vulkan.contains(&(info.vendor, info.device))
        })
        .collect();
    kept.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    kept
}

impl Engine for WgpuEngine {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn absence(&self) -> Option<String> {
        if self.adapters().is_empty() {
            return Some("this machine has no graphics adapter with a driver for Vulkan, Metal or DX12".into());
        }
        // Adapters that cannot be opened do not count as devices.
        let ids = (0..self.adapters().len()).map(|index| DeviceId { engine: "gpu".into(), index });
        let errors: Vec<String> = ids.map_while(|id| self.opened(&id).err().map(|error| error.to_string())).collect();
        (errors.len() == self.adapters().len()).then(|| errors.join("; "))
    }

    fn devices(&self) -> Vec<DeviceInfo> {
        let known = self.adapters().iter().enumerate();
        let usable = known.filter_map(|(index, adapter)| {
            let id = DeviceId { engine: "gpu".into(), index };
            let (_, verdict) = self.opened(&id).ok()?;
            let info = adapter.adapter.get_info();
            let software = if info.device_type == wgpu::DeviceType::Cpu { ", software" } else { "" };
            let (arithmetic, exact) = match verdict.exact() {
                true => (String::new(), true),
                false if self.exact => (", exact by integers".into(), true),
                false => (format!(", close: {}", verdict.wanting.join(", ")), false),
            };
            let detail = format!("{}{software}{arithmetic}", info.backend);
            Some(DeviceInfo { id, name: info.name, detail, exact })
        });
        usable.collect()
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
        let (gpu, verdict) = self.opened(device)?;
        let flavour = if self.exact && !verdict.exact() { Flavour::Soft } else { Flavour::Native };
        Ok(Box::new(WgpuSession::new(gpu, spec, training, flavour)?))
    }
}
