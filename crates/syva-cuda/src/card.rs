//! The driver and its cards.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits, result};
use syva_core::{DeviceId, DeviceInfo, Error, Precision, Result};

use crate::kernels::{ClusterKernel, Failure, HeadKernels, LayerKernels, PersistentKernel, StoredKernels};
use crate::plan::Way;

/// The first version of CUDA whose drivers read PTX 8.4, the version of the kernels' PTX.
const OLDEST_DRIVER: i32 = 12_040;
/// Turing, the oldest cards that the PTX is for.
const OLDEST_CAPABILITY: (i32, i32) = (7, 5);
/// Ampere, the oldest cards whose tensor cores support tf32 and bf16.
const OLDEST_TENSOR_CAPABILITY: (i32, i32) = (8, 0);

/// The driver's library, loaded and found to be recent enough.
#[derive(Clone, Copy)]
pub(crate) struct Driver {
    version: i32,
    cards: usize,
}

impl Driver {
    /// Loads the driver once; the error says why there is none.
    pub(crate) fn load() -> std::result::Result<Self, String> {
        static DRIVER: OnceLock<std::result::Result<Driver, String>> = OnceLock::new();
        DRIVER.get_or_init(Self::ask).clone()
    }

    fn ask() -> std::result::Result<Self, String> {
        // SAFETY: loading the driver's library runs its initialisers, which are written to be run this way.
        if !unsafe { sys::is_culib_present() } {
            return Err("there is no NVIDIA driver on this machine".into());
        }
        result::init().map_err(|error| format!("the NVIDIA driver does not start: {}", told(error)))?;
        let mut version = 0;
        // SAFETY: writes one integer to a place that lives until it returns.
        let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) };
        asked.result().map_err(|error| format!("the NVIDIA driver does not report its version: {}", told(error)))?;
        if version < OLDEST_DRIVER {
            return Err(format!(
                "the NVIDIA driver supports CUDA {}, and {} is needed: update it to 550 or later",
                numbered(version),
                numbered(OLDEST_DRIVER)
            ));
        }
        let cards =
            result::device::get_count().map_err(|error| format!("the driver lists no cards: {}", told(error)))?;
        Ok(Self { version, cards: cards as usize })
    }

    /// The cards that can be used. Only their properties are read; no context is created on them.
    pub(crate) fn devices(self, precision: Precision) -> Vec<DeviceInfo> {
        (0..self.cards).filter_map(|index| self.describe(index, precision).ok().flatten()).collect()
    }

    fn describe(self, index: usize, precision: Precision) -> std::result::Result<Option<DeviceInfo>, DriverError> {
        let device = result::device::get(index as i32)?;
        // SAFETY: `device` was just handed out by the driver.
        let (attribute, memory) = unsafe {
            let attribute = |which| result::device::get_attribute(device, which);
            (attribute, result::device::total_mem(device)?)
        };
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability < OLDEST_CAPABILITY {
            return Ok(None);
        }
        let rounding = match precision {
            Precision::F32 => String::new(),
            _ if capability < OLDEST_TENSOR_CAPABILITY => format!(", too old for {precision}"),
            _ => format!(", close: factors are rounded to {precision}"),
        };
        Ok(Some(DeviceInfo {
            id: DeviceId { engine: "cuda".into(), index },
            name: result::device::get_name(device)?,
            detail: format!(
                "sm_{}{}, {} processors, {} GiB, CUDA {}{rounding}",
                capability.0,
                capability.1,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
                (memory as f64 / f64::from(1 << 30)).round(),
                numbered(self.version)
            ),
            exact: precision == Precision::F32,
        }))
    }

    /// Opens a card: creates its context and loads the first kernels.
    pub(crate) fn open(self, index: usize) -> Result<SharedCard> {
        let device = DeviceId { engine: "cuda".into(), index };
        if !self.devices(Precision::F32).iter().any(|info| info.id == device) {
            let problem = format!("there is no card '{device}' here, or it is too old");
            return Err(Error::setting("device", problem, "see what there is with `syva devices`"));
        }
        let open = || -> std::result::Result<SharedCard, Failure> {
            let context = CudaContext::new(index)?;
            // SAFETY: every buffer belongs to one session, which uses it on its own `stream`. There are two exceptions:
            // the windows of streamed data, and the results of an evaluation that are fetched while steps run. Events
            // order the accesses of both (`loaded.rs`, `session.rs`).
            unsafe { context.disable_event_tracking() };
            let processors = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize;
            let capability = context.compute_capability()?;
            let head = HeadKernels::load(&context)?;
            let layers = [const { OnceLock::new() }; Way::COUNT];
            let (stored, persistent, cluster) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
            Ok(SharedCard { index, processors, capability, head, layers, stored, persistent, cluster, context })
        };
        open().map_err(|error| failure(index, error))
    }
}

/// The part of a card that all its sessions share.
pub(crate) struct SharedCard {
    pub(crate) index: usize,
    /// Multiprocessors.
    pub(crate) processors: usize,
    /// Compute capability, major and minor.
    capability: (i32, i32),
    pub(crate) head: HeadKernels,
    layers: [OnceLock<LayerKernels>; Way::COUNT],
    stored: OnceLock<StoredKernels>,
    persistent: OnceLock<Option<PersistentKernel>>,
    cluster: OnceLock<Option<ClusterKernel>>,
    context: Arc<CudaContext>,
}

/// A card, ready to work for one session. The session has its own streams, because sessions may run in different
/// threads: on a shared stream, the work of one session would be recorded into another's graph.
pub(crate) struct Card {
    shared: Arc<SharedCard>,
    /// Runs all work, in order.
    pub(crate) stream: Arc<CudaStream>,
    /// Runs copies beside the work: data that does not fit on the card is sent here, and results are fetched here.
    pub(crate) copies: Arc<CudaStream>,
}

impl Deref for Card {
    type Target = SharedCard;
    fn deref(&self) -> &SharedCard {
        &self.shared
    }
}

impl SharedCard {
    /// Checks that the card can compute in a precision.
    pub(crate) fn check(&self, precision: Precision) -> Result<()> {
        if precision == Precision::F32 || self.capability >= OLDEST_TENSOR_CAPABILITY {
            return Ok(());
        }
        let ((major, minor), device) = (self.capability, name(self.index));
        Err(Error::Unsupported {
            what: format!("precision {precision} (sm_80 or later) on {device} (sm_{major}{minor})"),
            remedy: "use precision f32".into(),
        })
    }

    /// The kernels of one tile and precision. The first call compiles them, which takes the driver about a second; the
    /// driver caches the result.
    pub(crate) fn layers(&self, way: Way) -> Result<&LayerKernels> {
        self.once(&self.layers[way.index()], || LayerKernels::load(&self.context, way))
    }

    /// The kernels of dropout and of updates by stored gradients, compiled at the first call.
    pub(crate) fn stored(&self) -> Result<&StoredKernels> {
        self.once(&self.stored, || StoredKernels::load(&self.context))
    }

    /// The kernel that runs a whole span on all processors, compiled at the first call. `None` if the card cannot run
    /// it.
    pub(crate) fn persistent(&self) -> Result<Option<&PersistentKernel>> {
        self.once(&self.persistent, || PersistentKernel::load(&self.context)).map(Option::as_ref)
    }

    fn once<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        load: impl FnOnce() -> std::result::Result<T, Failure>,
    ) -> Result<&'a T> {
        if cell.get().is_none() {
            let _ = cell.set(load().map_err(|error| self.failure(error))?);
        }
        Ok(cell.get().expect("was set just now"))
    }

    /// Makes this card the current one for the calling thread's driver calls. cudarc does this for most calls, but not when
    /// it frees memory, and that may be the first thing that a session does in a thread it was moved to.
    pub(crate) fn enter(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(|error| self.failure(error))
    }

    /// The card's free memory in bytes.
    pub(crate) fn free(&self) -> Result<usize> {
        Ok(self.context.mem_get_info().map_err(|error| self.failure(error))?.0)
    }

    fn out_of_memory<T>(&self, error: DriverError, len: usize, what: &str) -> Error {
        if error.0 != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return self.failure(error);
        }
        let free = self.free().map_or("less".into(), human);
        let needed = human(len * size_of::<T>());
        Error::Device {
            device: name(self.index),
            problem: format!("{what} need {needed} of the card's memory, of which {free} are free"),
            remedy: "use a smaller batch or narrower layers, end other programs on the card, or use --device cpu"
                .into(),
        }
    }

    /// A failure of the card, as an error for the user.
    pub(crate) fn failure(&self, error: impl Into<Failure>) -> Error {
        failure(self.index, error)
    }
}

impl Card {
    pub(crate) fn new(shared: Arc<SharedCard>) -> Result<Self> {
        let stream = || shared.context.new_stream().map_err(|error| shared.failure(error));
        let (stream, copies) = (stream()?, stream()?);
        Ok(Self { shared, stream, copies })
    }

    /// The kernel that runs a whole span on one cluster, compiled at the first call. `None` if the card cannot run it.
    pub(crate) fn cluster(&self) -> Result<Option<&ClusterKernel>> {
        self.once(&self.cluster, || ClusterKernel::load(&self.context, &self.stream)).map(Option::as_ref)
    }

    /// Memory on the card, all zeros.
    pub(crate) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize, what: &str) -> Result<CudaSlice<T>> {
        self.stream.alloc_zeros(len).map_err(|error| self.out_of_memory::<T>(error, len, what))
    }

    /// A copy of `values` on the card.
    pub(crate) fn copy<T: DeviceRepr>(&self, values: &[T], what: &str) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(values).map_err(|error| self.out_of_memory::<T>(error, values.len(), what))
    }

    /// Floating-point operations per second, measured by fused multiply-adds on registers alone.
    pub(crate) fn peak(&self) -> Result<f64> {
        const ROUNDS: u32 = 20_000;
        let blocks = self.processors * 8;
        let mut out = self.zeros::<f32>(blocks * 256, "results")?;
        let mut best = 0.0_f64;
        for _ in 0..5 {
            let start = Instant::now();
            let operations = self.head.multiply_add(&self.stream, blocks, ROUNDS, &mut out);
            let operations = operations.map_err(|error| self.failure(error))?;
            self.stream.synchronize().map_err(|error| self.failure(error))?;
            best = best.max(operations as f64 / start.elapsed().as_secs_f64());
        }
        Ok(best)
    }
}

/// The card's name as `--device` takes it: `cuda:0`.
fn name(index: usize) -> String {
    DeviceId { engine: "cuda".into(), index }.to_string()
}

fn failure(index: usize, error: impl Into<Failure>) -> Error {
    let (problem, remedy) = match error.into() {
        Failure::Driver(error) => (
            format!("the card failed: {}", told(error)),
            "go on from the last checkpoint, on this card or with --device cpu, which gives the same bits",
        ),
        Failure::Damaged(problem) => (
            format!("the kernels in this program are damaged ({problem})"),
            "install the program again, or use --device cpu, which gives the same bits",
        ),
    };
    Error::Device { device: name(index), problem, remedy: remedy.into() }
}

/// The driver's own name and description of an error.
fn told(error: DriverError) -> String {
    let text = |text: std::result::Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
    };
    match (text(error.error_name()), text(error.error_string())) {
        (name, words) if name.is_empty() => format!("error {}{words}", error.0 as u32),
        (name, words) => format!("{name} ({words})"),
    }
}

/// A number of bytes in KiB or MiB.
pub(crate) fn human(bytes: usize) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib < 1000.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}

/// A version of CUDA as people write it: 12.4 for 12040.
fn numbered(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_kernels_come_with_a_remedy() {
        assert_eq!(
            failure(1, Failure::Damaged("it has no head.ptx".into())).to_string(),
            "cuda:1: the kernels in this program are damaged (it has no head.ptx); \
             install the program again, or use --device cpu, which gives the same bits"
        );
    }
}
