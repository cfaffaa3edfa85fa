//! Syvä's portable GPU engine: the arithmetic contract in WGSL, run through wgpu on Metal, Vulkan and DX12.
//!
//! From the outside in: [`WgpuEngine`] opens a `Session` (`session.rs`) on an adapter (`gpu.rs`); the session keeps data
//! and weights there (`memory.rs`) and records steps (`step.rs`) as dispatches of a few kernels (`kernels/*.wgsl`, put
//! together by `shader.rs`). Each output has one owner and one chain of multiply-adds in the contract's order.
//!
//! WGSL does not promise that `fma` is fused, nor that anything is correctly rounded. Each adapter is asked
//! (`probe.rs`): where all is as the contract needs it, the engine is *exact*. Where it is not, it runs *close*, in the
//! same order but with other roundings; or, when asked to be exact, in floating-point arithmetic made of integers
//! (`kernels/soft.wgsl`), whose bits are right on every adapter.
#![forbid(unsafe_code)]

mod gpu;
mod memory;
mod probe;
mod session;
mod shader;
mod step;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use syva_core::{DeviceId, DeviceInfo, Engine, Error, Result, Session, Spec};

use crate::gpu::Gpu;
use crate::probe::Verdict;
pub use crate::probe::{Function, operands};
use crate::session::WgpuSession;
use crate::shader::Flavour;

/// The engine `gpu`, with the devices `gpu` (the best), `gpu:1`, …
///
/// ```
/// use syva_core::{Activation::Relu, Engine, Matrix, Mlp, State};
/// use syva_wgpu::WgpuEngine;
/// let engine = WgpuEngine::new().exact(true);
/// // Where there is no adapter, there is no device.
/// if let Some(device) = engine.devices().first() {
///     let spec = Mlp::new(2).hidden(&[3, 3], Relu).values(1);
///     let mut session = engine.open(&device.id, &spec)?;
///     session.set_state(&State::initial(&spec, 1)?)?;
///     let mut outputs = Matrix::zeros(1, 1);
///     session.predict(&Matrix::new(1, 2, vec![0.5, -1.0])?, &mut outputs)?;
///     assert!(outputs.row(0)[0].is_finite());
/// }
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Default)]
pub struct WgpuEngine {
    exact: bool,
    largest: Option<u64>,
    adapters: OnceLock<Vec<Adapter>>,
}

/// An adapter; opened and probed when it is first needed.
struct Adapter {
    adapter: wgpu::Adapter,
    opened: Mutex<Option<(Arc<Gpu>, Verdict)>>,
}

impl WgpuEngine {
    /// The engine; it looks for adapters when it is first asked for them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether adapters whose own arithmetic is not exact are to be exact all the same, at a fraction of the speed.
    #[must_use]
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// No buffers larger than this many bytes, for tests of how larger things are cut; the results do not depend on it.
    #[must_use]
    pub fn with_buffers_of(mut self, bytes: u64) -> Self {
        self.largest = Some(bytes);
        self
    }

    /// Runs one of the kernels' functions, in the integer arithmetic, over triples of operands (bits of f32) on a
    /// device: how tests hold it against the host's.
    pub fn soft(&self, device: &DeviceId, function: Function, operands: &[[u32; 3]]) -> Result<Vec<u32>> {
        probe::soft(&self.opened(device)?.0, function, operands)
    }

    /// All that an adapter's own arithmetic lacks, as the probe found it; nothing where it is exact.
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

    /// The device behind an adapter, opened now if it is not yet, or if it was lost; and what the probe found.
    fn opened(&self, device: &DeviceId) -> Result<(Arc<Gpu>, Verdict)> {
        let known = self.adapters();
        let Some(adapter) = known.get(device.index).filter(|_| device.engine == "gpu") else {
            let there = match known.len() {
                0 => "there is no graphics adapter here".to_string(),
                1 => "there is gpu only".to_string(),
                n => format!("there are gpu to gpu:{}", n - 1),
            };
            let remedy = format!("{there}; `syva devices` lists all");
            return Err(Error::Unsupported { what: format!("device {device}"), remedy });
        };
        let mut opened = adapter.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((gpu, verdict)) = opened.as_ref().filter(|(gpu, _)| gpu.works()) {
            return Ok((Arc::clone(gpu), verdict.clone()));
        }
        let gpu = Arc::new(Gpu::open(device.to_string(), &adapter.adapter, self.largest)?);
        let verdict = Verdict::of(&gpu)?;
        *opened = Some((Arc::clone(&gpu), verdict.clone()));
        Ok((gpu, verdict))
    }
}

/// Cards before what a processor brings along, software last. Where Vulkan and DX12 show the same card, Vulkan's stays.
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
            return Some("no graphics adapter with a driver for Vulkan, Metal or DX12 is found on this machine".into());
        }
        // Those that cannot be opened are no devices.
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

    fn open(&self, device: &DeviceId, spec: &Spec) -> Result<Box<dyn Session>> {
        let (gpu, verdict) = self.opened(device)?;
        let flavour = if self.exact && !verdict.exact() { Flavour::Soft } else { Flavour::Native };
        Ok(Box::new(WgpuSession::new(gpu, spec, flavour)?))
    }
}
