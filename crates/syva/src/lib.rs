//! Syvä trains deep fully connected networks: fast, and to the same bits on every machine.
//!
//! This crate is the one to add: it joins the core (networks, data, trainer, model files) with the engines.
//! The program `syva` is in the crate `syva-cli`.
#![doc = include_str!("../../../README.md")]
#![forbid(unsafe_code)]

pub use syva_core::*;
pub use syva_cpu::isa::Isa;
pub use syva_cpu::{CpuEngine, Predictor};
#[cfg(feature = "cuda")]
pub use syva_cuda::CudaEngine;
#[cfg(feature = "tables")]
pub use syva_data as tables;
#[cfg(feature = "exchange")]
pub use syva_exchange as exchange;
#[cfg(feature = "regions")]
pub use syva_regions as regions;
#[cfg(feature = "gpu")]
pub use syva_wgpu::WgpuEngine;

use syva_core::reference::Reference;

/// What most programs need: `use syva::prelude::*`.
pub mod prelude {
    pub use syva_core::Activation::{Identity, Relu, Sigmoid, Tanh};
    #[cfg(feature = "files")]
    pub use syva_core::data::source::Source;
    pub use syva_core::data::{Dataset, Inputs, Split, Targets, Task};
    pub use syva_core::{
        Activation, Answer, Engine, Epoch, Error, Head, Init, Matrix, Mlp, Model, Normalization, Result, Sequential,
        Session, Spec, State, Summary, Trainer, Training,
    };
    pub use syva_cpu::{CpuEngine, Predictor};
}

/// What the engines of a build are told; the default leaves it to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Threads of the engines that run on the CPU, of which no more work than there are cores for
    /// ([`threads::cores`]); one per core if none. The results do not depend on it.
    pub threads: Option<usize>,
    /// Whether devices whose own arithmetic is not exact are made so, at a fraction of their speed.
    pub exact: bool,
    /// What factors of products are rounded to. Only NVIDIA's cards have others than [`Precision::F32`], which is exact.
    pub precision: Precision,
}

/// Every engine in this build that computes as the options have it.
pub fn engines(options: EngineOptions) -> Result<Vec<Box<dyn Engine>>> {
    let (exact, precision) = (options.exact, options.precision);
    let cpu = CpuEngine::new()?;
    let cpu = options.threads.map_or(Ok(cpu), |threads| cpu.with_threads(threads))?;
    if precision != Precision::F32 {
        if exact {
            let problem = format!("with precision {precision} nothing is exact");
            return Err(Error::setting("exact", problem, "leave it out, or use precision f32"));
        }
        return Ok(vec![
            #[cfg(feature = "cuda")]
            Box::new(CudaEngine::new().precision(precision)),
        ]);
    }
    Ok(vec![
        Box::new(cpu),
        Box::new(Reference),
        #[cfg(feature = "cuda")]
        Box::new(CudaEngine::new()),
        #[cfg(feature = "gpu")]
        Box::new(WgpuEngine::new().exact(exact)),
    ])
}

/// The engine that has the device of this name, and the device: `auto` is the processor, on which all that has been
/// measured is fastest; the names of others are those of [`Engine::devices`].
///
/// ```
/// use syva::{EngineOptions, Precision};
/// let options = EngineOptions::default();
/// let (engine, device) = syva::engine("auto", options)?;
/// assert!(engine.devices().iter().any(|info| info.id == device));
/// assert!(syva::engine("abacus", EngineOptions::default()).is_err());
/// let error = syva::engine("mps", options).err().unwrap().to_string();
/// assert!(error.contains("Metal (mps) is called gpu here"), "{error}");
/// // The processor rounds as the contract has it, and no other way.
/// assert!(syva::engine("cpu", EngineOptions { precision: Precision::Tf32, ..options }).is_err());
/// # Ok::<(), syva::Error>(())
/// ```
pub fn engine(name: &str, options: EngineOptions) -> Result<(Box<dyn Engine>, DeviceId)> {
    let name = if name.eq_ignore_ascii_case("auto") { "cpu" } else { name };
    let wanted: DeviceId = name.parse()?;
    let (mut known, mut problem) = (Vec::new(), format!("there is no device '{name}' here"));
    for engine in engines(options)? {
        let devices = engine.devices();
        if let Some(found) = devices.iter().find(|info| info.id == wanted) {
            return Ok((engine, found.id.clone()));
        }
        known.extend(devices.into_iter().map(|info| info.id.to_string()));
        if let Some(reason) = engine.absence().filter(|_| engine.name() == wanted.engine) {
            problem += &format!(": {reason}");
        }
    }
    if options.precision == Precision::F32 {
        let hint = other_name(&wanted.engine).map_or(String::new(), |here| format!("; {here}"));
        known.insert(0, "auto".into());
        return Err(Error::setting("device", problem + &hint, format!("use {}", names::either(&known))));
    }
    if wanted.engine == "cuda" {
        // Precision f32 would not bring it here.
        return Err(Error::setting("device", problem, "use another, which `syva devices` lists, with precision f32"));
    }
    problem = format!("device {name} does not compute in {}, only NVIDIA's cards do", options.precision);
    let devices = known.iter().map(|device| format!("device {device}"));
    let remedies: Vec<String> = devices.chain(["precision f32".into()]).collect();
    Err(Error::setting("precision", problem, format!("use {}", remedies.join(", or "))))
}

/// What a device is called here that others call so.
fn other_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "mps" | "metal" => "Metal (mps) is called gpu here",
        "vulkan" | "dx12" | "directx" | "opengl" | "webgpu" | "wgpu" | "xpu" => "any graphics card is called gpu here",
        "rocm" | "hip" | "amd" | "radeon" => "AMD's cards are called gpu here, and reached through Vulkan or DX12",
        "nvidia" => "NVIDIA's cards are called cuda here, or gpu through Vulkan or DX12",
        _ => return None,
    })
}

/// Runs a model over raw inputs on this machine's processor; returns what the head makes of them,
/// `[samples, outputs]`: values, rates, pairs of mean and variance, logits, or log-probabilities. Inputs that are not finite are refused.
///
/// A [`Predictor`], made for one call. To predict often, keep one; it also has probabilities and names of classes
/// ([`Predictor::classify`]). What other devices can do has [`Session::predict`].
///
/// ```
/// use syva::prelude::*;
/// let spec = Mlp::new(2).hidden(&[3], Relu).values(1);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let outputs = syva::predict(&model, &vec![0.0, 1.0, 2.0, 3.0].into())?;
/// assert_eq!((outputs.rows(), outputs.columns()), (2, 1));
/// let error = syva::predict(&model, &vec![0.0, f32::NAN].into()).unwrap_err();
/// assert!(error.to_string().starts_with("sample 0, feature 1 (both counted from 0): NaN is not finite"));
/// # Ok::<(), Error>(())
/// ```
pub fn predict(model: &Model, inputs: &data::Inputs) -> Result<Matrix> {
    Predictor::new(model)?.predict(inputs)
}

/// The shapes that `syva bench --sweep` and `cargo xtask peers` time: widths of the hidden layers, and samples per step.
#[doc(hidden)]
pub const SWEEP: [(&[usize], usize); 20] = [
    (&[16], 1),
    (&[16], 32),
    (&[16], 4096),
    (&[64, 64], 1),
    (&[64, 64], 16),
    (&[64; 8], 128),
    (&[256, 128], 1),
    (&[256, 128], 8),
    (&[256, 128], 32),
    (&[256, 128], 128),
    (&[256, 128], 512),
    (&[256, 128], 4096),
    (&[128; 8], 32),
    (&[512; 4], 128),
    (&[1024; 3], 1),
    (&[1024; 3], 16),
    (&[1024; 3], 128),
    (&[1024; 3], 512),
    (&[1024; 3], 4096),
    (&[2048, 2048], 512),
];
