//! The kernels: their PTX and their arguments. The structures here have the same fields in the same order as those in
//! `kernels/network.cuh`, `kernels/head.cuh`, `kernels/stored.cu` and `kernels/span.cuh`. A test compares their sizes with
//! those in the PTX.

use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUfunction_attribute_enum as OfFunction};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, DriverError, LaunchArgs, LaunchConfig,
    PushKernelArg, ValidAsZeroBits,
};
use cudarc::nvrtc::Ptx;
use syva_core::Precision;
use syva_core::ops::SLOTS;
use syva_core::reference::BLOCK;

use crate::pack::Pack;
use crate::plan::{GROUP, HEAD_ROWS, Tile, Way};

/// An address on the card, or 0 for none.
pub(crate) type Address = u64;

/// One linear layer, as the kernels see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layer {
    pub(crate) below: Address,
    pub(crate) weight: Address,
    pub(crate) bias: Address,
    pub(crate) start: Address,
    pub(crate) h: Address,
    pub(crate) z: Address,
    pub(crate) read_below: Address,
    pub(crate) d: Address,
    pub(crate) d_below: Address,
    pub(crate) waiting: Address,
    pub(crate) fan_in: u32,
    pub(crate) units: u32,
    pub(crate) below_stride: u32,
    pub(crate) stride: u32,
    pub(crate) activation: u32,
    pub(crate) activation_below: u32,
    pub(crate) parameter: f32,
    pub(crate) parameter_below: f32,
}

/// Samples, as the kernels see them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Data {
    pub(crate) inputs: Address,
    pub(crate) order: Address,
    pub(crate) scale: Address,
    pub(crate) shift: Address,
    pub(crate) labels: Address,
    pub(crate) values: Address,
    pub(crate) stride: u32,
}

/// Where losses and guesses go.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) losses: Address,
    pub(crate) guesses: Address,
}

/// What the kernels compute from the outputs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    /// The factor M of each sample of the span; 0 if all weigh the same.
    pub(crate) factors: Address,
    /// 0 is values, 1 is labels as values, 2 is a label, 3 is a class, 4 is pairs of outputs.
    pub(crate) judging: u32,
    pub(crate) distance: u32,
    pub(crate) outputs: u32,
    pub(crate) terms: u32,
    /// 1 if d is to be computed.
    pub(crate) gradient: u32,
    pub(crate) scale: f32,
    pub(crate) parameters: [f32; 2],
}

/// A hidden layer with dropout.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropped {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) read: Address,
    pub(crate) d: Address,
    pub(crate) varying: Address,
    pub(crate) seed: u32,
    pub(crate) layer: u32,
    pub(crate) units: u32,
    pub(crate) stride: u32,
    pub(crate) activation: u32,
    pub(crate) parameter: f32,
}

/// A hidden layer whose activation is learned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearnedLayer {
    pub(crate) z: Address,
    pub(crate) h: Address,
    pub(crate) d: Address,
    pub(crate) gains: Address,
    pub(crate) gradient: Address,
    pub(crate) sums: Address,
    pub(crate) units: u32,
    pub(crate) stride: u32,
    pub(crate) activation: u32,
    pub(crate) learned: u32,
    pub(crate) parameter: f32,
    /// 1 if the activation's derivative reads z.
    pub(crate) reads_z: u32,
}

/// What the host computes for each step of a span.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Varying {
    pub(crate) threshold: u32,
    pub(crate) scale: f32,
    pub(crate) input_threshold: u32,
    pub(crate) input_scale: f32,
    pub(crate) step: [u32; 2],
    pub(crate) share: f32,
}

/// The inputs of steps that change them at random.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Perturbed {
    pub(crate) to: Address,
    pub(crate) varying: Address,
    pub(crate) seed: u32,
    pub(crate) features: u32,
    pub(crate) stride: u32,
    pub(crate) deviation: f32,
    /// 1 if there is dropout.
    pub(crate) drops: u32,
}

/// The weights, biases or gains of a layer, and what belongs to them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tensor {
    pub(crate) values: Address,
    pub(crate) gradient: Address,
    pub(crate) slots: [Address; SLOTS],
    pub(crate) average: Address,
    pub(crate) rows: u32,
    pub(crate) units: u32,
    pub(crate) stride: u32,
    pub(crate) block: u32,
    pub(crate) wide: u32,
    pub(crate) unit: u32,
}

/// An update by stored gradients. What is 0 is off.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Update {
    pub(crate) tensors: Address,
    pub(crate) scalars: Address,
    pub(crate) varying: Address,
    pub(crate) sums: Address,
    pub(crate) factor: Address,
    pub(crate) count: u32,
    pub(crate) units: u32,
    pub(crate) rule: u32,
    pub(crate) slots: u32,
    pub(crate) l1: f32,
    pub(crate) l2: f32,
    pub(crate) clip_value: f32,
    pub(crate) clip_norm: f32,
    pub(crate) max_norm: f32,
}

/// The layers that one launch updates.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layers {
    pub(crate) layer: [Layer; GROUP],
    pub(crate) first_tile: [u32; GROUP],
    pub(crate) count: u32,
}

// SAFETY: plain data with the layout of the kernels' structures, which are passed to the card by value.
unsafe impl DeviceRepr for Layer {}
// SAFETY: as above.
unsafe impl DeviceRepr for Data {}
// SAFETY: as above.
unsafe impl DeviceRepr for Outcome {}
// SAFETY: as above.
unsafe impl DeviceRepr for Judge {}
// SAFETY: as above.
unsafe impl DeviceRepr for Layers {}
// SAFETY: as above.
unsafe impl DeviceRepr for SpanOfSteps {}
// SAFETY: as above.
unsafe impl DeviceRepr for Dropped {}
// SAFETY: as above.
unsafe impl DeviceRepr for LearnedLayer {}
// SAFETY: as above.
unsafe impl DeviceRepr for Perturbed {}
// SAFETY: as above.
unsafe impl DeviceRepr for Varying {}
// SAFETY: as above. All zeros are a value.
unsafe impl ValidAsZeroBits for Varying {}
// SAFETY: as above.
unsafe impl DeviceRepr for Tensor {}
// SAFETY: as above.
unsafe impl DeviceRepr for Update {}

impl Layers {
    /// A group of layers, its tiles numbered in sequence. Also returns the number of tiles.
    pub(crate) fn new(layers: &[Layer], tile: Tile) -> (Self, usize) {
        let (mut group, mut tiles) = (Self { count: layers.len() as u32, ..Self::default() }, 0);
        for (i, layer) in layers.iter().enumerate() {
            (group.layer[i], group.first_tile[i]) = (*layer, tiles as u32);
            tiles += tile.count(layer.fan_in as usize, layer.units as usize);
        }
        (group, tiles)
    }
}

/// The argument of the kernels that run a whole span of steps.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanOfSteps {
    pub(crate) progress: Address,
    pub(crate) layers: Layers,
    pub(crate) data: Data,
    pub(crate) outcome: Outcome,
    pub(crate) judge: Judge,
    pub(crate) learning_rates: Address,
    pub(crate) tickets: Address,
    pub(crate) steps: u32,
    /// 1 if the inputs are `u8`, 0 if they are `f32`.
    pub(crate) bytes: u32,
}

/// The stored type of the inputs. Also the index of the kernel that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    U8,
    F32,
}

type Launched = Result<(), DriverError>;

/// What can fail between this program and a card.
#[derive(Debug)]
pub(crate) enum Failure {
    Driver(DriverError),
    /// The pack of PTX in this program is damaged; what is wrong with it.
    Damaged(String),
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

/// The PTX of all kernels, as `cargo xtask kernels` has compiled and packed it.
const PACKED: &[u8] = include_bytes!("../kernels/ptx.pack");

/// The PTX of a module.
fn ptx(name: &str) -> Result<String, Failure> {
    static PACK: OnceLock<Result<Pack, String>> = OnceLock::new();
    let pack = PACK.get_or_init(|| Pack::open(PACKED)).as_ref().map_err(Clone::clone);
    pack.and_then(|pack| pack.ptx(name)).map_err(Failure::Damaged)
}

fn module(context: &Arc<CudaContext>, name: &str) -> Result<Arc<CudaModule>, Failure> {
    Ok(context.load_module(Ptx::from_src(ptx(name)?))?)
}

/// The step that a kernel works on: the span's progress on the card, and the step's number relative to it.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) progress: Address,
    pub(crate) step: u32,
}

/// Runs kernels one after the other.
pub(crate) struct Queue<'a>(&'a CudaStream);

impl<'a> Queue<'a> {
    /// # Safety
    /// Every address in the arguments of a launch on this queue must be that of a buffer with the size that `plan.rs`
    /// and
    /// `kernels/network.cuh` state. The buffer must live until the stream has been waited for.
    pub(crate) unsafe fn new(stream: &'a CudaStream) -> Self {
        Self(stream)
    }
}

/// Puts a kernel on its stream. The arguments must match the kernel's in type and order.
fn launch(arguments: &mut LaunchArgs<'_>, (blocks, threads): (usize, u32)) -> Launched {
    let shape = LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the arguments match as required above. The addresses among them are valid, as the caller of `Queue::new`
    // promised.
    unsafe { arguments.launch(shape) }.map(|_| ())
}

/// The kernels of a step's products, for one tile size and precision.
pub(crate) struct LayerKernels {
    tile: Tile,
    forward_first: [CudaFunction; 2],
    forward: CudaFunction,
    input_gradient: CudaFunction,
    update: [CudaFunction; 2],
    gradient_first: [CudaFunction; 2],
    gradient: CudaFunction,
    start: CudaFunction,
}

impl LayerKernels {
    /// The module of these kernels.
    fn module(way: Way) -> &'static str {
        match (way.precision, way.tile) {
            (Precision::F32, Tile::Small) => "layers_16.ptx",
            (Precision::F32, Tile::Medium) => "layers_64.ptx",
            (Precision::F32, Tile::Large) => "layers_128.ptx",
            (Precision::Tf32, Tile::Small | Tile::Medium) => "layers_tf32_64.ptx",
            (Precision::Tf32, Tile::Large) => "layers_tf32_128.ptx",
            (Precision::Bf16, Tile::Small | Tile::Medium) => "layers_bf16_64.ptx",
            (Precision::Bf16, Tile::Large) => "layers_bf16_128.ptx",
            (_, Tile::OfCluster) => unreachable!("has only kernels of whole spans"),
        }
    }

    pub(crate) fn load(context: &Arc<CudaContext>, way: Way) -> Result<Self, Failure> {
        let module = module(context, Self::module(way))?;
        let function = |name: &str| module.load_function(&format!("{name}_{}", way.suffix()));
        Ok(Self {
            tile: way.tile,
            forward_first: [function("forward_first_u8")?, function("forward_first_f32")?],
            forward: function("forward")?,
            input_gradient: function("input_gradient")?,
            update: [function("update_u8")?, function("update_f32")?],
            gradient_first: [function("gradient_first_u8")?, function("gradient_first_f32")?],
            gradient: function("gradient")?,
            start: function("start")?,
        })
    }

    /// The shape of a launch: one block per tile.
    fn shape(&self, rows: usize, columns: u32) -> (usize, u32) {
        (self.tile.count(rows, columns as usize), self.tile.threads())
    }

    /// The forward product of the first layer.
    pub(crate) fn forward_first(
        &self,
        queue: &Queue<'_>,
        at: At,
        batch: usize,
        layer: &Layer,
        (data, stored): (&Data, Stored),
    ) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.forward_first[stored as usize]);
        arguments.arg(&at.progress).arg(&at.step).arg(layer).arg(data);
        launch(&mut arguments, self.shape(batch, layer.units))
    }

    /// The forward product of any other layer.
    pub(crate) fn forward(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &Layer) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.forward);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, self.shape(batch, layer.units))
    }

    /// The gradient by the z of the layer below.
    pub(crate) fn input_gradient(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &Layer) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.input_gradient);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, self.shape(batch, layer.fan_in))
    }

    /// Weight gradients and SGD for some layers, and the first layer's initial sums for the next step.
    pub(crate) fn update(
        &self,
        queue: &Queue<'_>,
        at: At,
        layers: &[Layer],
        (data, stored): (&Data, Stored),
        (learning_rates, tickets): (Address, Address),
    ) -> Launched {
        let (group, tiles) = Layers::new(layers, self.tile);
        let mut arguments = queue.0.launch_builder(&self.update[stored as usize]);
        arguments.arg(&at.progress).arg(&at.step).arg(&group).arg(data).arg(&learning_rates).arg(&tickets);
        launch(&mut arguments, (tiles, self.tile.threads()))
    }

    /// The weight gradients of the first layer, whose weights and biases are the places for them.
    pub(crate) fn gradient_first(
        &self,
        queue: &Queue<'_>,
        at: At,
        layer: &Layer,
        (data, stored): (&Data, Stored),
    ) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.gradient_first[stored as usize]);
        arguments.arg(&at.progress).arg(&at.step).arg(layer).arg(data);
        launch(&mut arguments, self.shape(layer.fan_in as usize, layer.units))
    }

    /// The weight gradients of some other layers.
    pub(crate) fn gradient(&self, queue: &Queue<'_>, at: At, layers: &[Layer]) -> Launched {
        let (group, tiles) = Layers::new(layers, self.tile);
        let mut arguments = queue.0.launch_builder(&self.gradient);
        arguments.arg(&at.progress).arg(&at.step).arg(&group);
        launch(&mut arguments, (tiles, self.tile.threads()))
    }

    /// The first layer's initial sums, from the weights on the card.
    pub(crate) fn start(&self, queue: &Queue<'_>, layer: &Layer, data: &Data) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.start);
        arguments.arg(layer).arg(data);
        launch(&mut arguments, self.shape(1, layer.units))
    }
}

/// The kernels that work sample by sample, and some small ones.
pub(crate) struct HeadKernels {
    head: CudaFunction,
    judge: CudaFunction,
    advance: CudaFunction,
    multiply_add: CudaFunction,
}

impl HeadKernels {
    const MODULE: &str = "head.ptx";

    pub(crate) fn load(context: &Arc<CudaContext>) -> Result<Self, Failure> {
        let module = module(context, Self::MODULE)?;
        let function = |name| module.load_function(name);
        Ok(Self {
            head: function("head")?,
            judge: function("judge")?,
            advance: function("advance")?,
            multiply_add: function("multiply_add")?,
        })
    }

    /// The shape of a launch: one warp per sample.
    fn shape(batch: usize) -> (usize, u32) {
        (batch.div_ceil(HEAD_ROWS), 32 * HEAD_ROWS as u32)
    }

    /// The last layer's forward product, the losses, and the last layer's input gradient.
    pub(crate) fn head(
        &self,
        queue: &Queue<'_>,
        at: At,
        batch: usize,
        layer: &Layer,
        (data, outcome, judge): (&Data, &Outcome, &Judge),
    ) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.head);
        arguments.arg(&at.progress).arg(&at.step).arg(layer).arg(data).arg(outcome).arg(judge);
        launch(&mut arguments, Self::shape(batch))
    }

    /// The losses and their gradient, from outputs that were computed before.
    pub(crate) fn judge(
        &self,
        queue: &Queue<'_>,
        at: At,
        batch: usize,
        layer: &Layer,
        (data, outcome, judge): (&Data, &Outcome, &Judge),
    ) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.judge);
        arguments.arg(&at.progress).arg(&at.step).arg(layer).arg(data).arg(outcome).arg(judge);
        launch(&mut arguments, Self::shape(batch))
    }

    /// Moves the progress on by some steps.
    pub(crate) fn advance(&self, queue: &Queue<'_>, progress: Address, steps: u32) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.advance);
        arguments.arg(&progress).arg(&steps);
        launch(&mut arguments, (1, 1))
    }

    /// Runs blocks of 256 threads that multiply and add on registers. Returns the number of floating-point operations.
    pub(crate) fn multiply_add(
        &self,
        stream: &CudaStream,
        blocks: usize,
        rounds: u32,
        out: &mut CudaSlice<f32>,
    ) -> Result<u64, DriverError> {
        assert!(out.len() >= blocks * 256, "a result for each thread");
        let mut arguments = stream.launch_builder(&self.multiply_add);
        arguments.arg(out).arg(&rounds);
        // Each thread writes one result, and `out` has room for it. cudarc frees `out` on this stream only.
        launch(&mut arguments, (blocks, 256))?;
        Ok(blocks as u64 * 256 * u64::from(rounds) * 16)
    }
}

/// The kernels of dropout, of learned activations, and of the update by stored gradients.
pub(crate) struct StoredKernels {
    perturb: [CudaFunction; 2],
    drop: CudaFunction,
    drop_gradient: CudaFunction,
    learn: CudaFunction,
    learn_gradient: CudaFunction,
    sum_gains: CudaFunction,
    squares: CudaFunction,
    norm: CudaFunction,
    apply: CudaFunction,
    renorm: CudaFunction,
}

impl StoredKernels {
    const MODULE: &str = "stored.ptx";
    /// Values per block of `apply`.
    const ROWS: usize = 8;
    const COLUMNS: usize = 128;
    /// Threads of the one block that adds the units' sums.
    const SUMMERS: u32 = 256;
    /// Units per block of `learn_gradient`, and threads per unit.
    const WIDE: usize = 32;
    const LINES: usize = 8;

    pub(crate) fn load(context: &Arc<CudaContext>) -> Result<Self, Failure> {
        let module = module(context, Self::MODULE)?;
        let function = |name| module.load_function(name);
        Ok(Self {
            perturb: [function("perturb_u8")?, function("perturb_f32")?],
            drop: function("drop")?,
            drop_gradient: function("drop_gradient")?,
            learn: function("learn")?,
            learn_gradient: function("learn_gradient")?,
            sum_gains: function("sum_gains")?,
            squares: function("gradient_squares")?,
            norm: function("gradient_norm")?,
            apply: function("apply")?,
            renorm: function("renorm")?,
        })
    }

    /// Blocks of `apply`, and blocks that work along whole columns, for a tensor.
    pub(crate) fn blocks(rows: usize, units: usize) -> (usize, usize) {
        let across = units.div_ceil(Self::COLUMNS);
        (rows.div_ceil(Self::ROWS) * across, across)
    }

    /// The inputs of a step, normalised and changed at random.
    pub(crate) fn perturb(
        &self,
        queue: &Queue<'_>,
        at: At,
        batch: usize,
        inputs: &Perturbed,
        (data, stored): (&Data, Stored),
    ) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.perturb[stored as usize]);
        arguments.arg(&at.progress).arg(&at.step).arg(inputs).arg(data);
        launch(&mut arguments, Self::shape(batch, inputs.features))
    }

    /// The activations of a layer, on their way into the next one.
    pub(crate) fn drop(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &Dropped) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.drop);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, Self::shape(batch, layer.units))
    }

    /// The gradient by the z of a layer.
    pub(crate) fn drop_gradient(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &Dropped) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.drop_gradient);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, Self::shape(batch, layer.units))
    }

    /// The activations of a layer whose activation is learned.
    pub(crate) fn learn(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &LearnedLayer) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.learn);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, Self::shape(batch, layer.units))
    }

    /// The gradients by the z and by the gains of a layer.
    pub(crate) fn learn_gradient(&self, queue: &Queue<'_>, at: At, batch: usize, layer: &LearnedLayer) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.learn_gradient);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        let (blocks, units) = (batch.div_ceil(BLOCK), layer.units as usize);
        launch(&mut arguments, (blocks * units.div_ceil(Self::WIDE), (Self::WIDE * Self::LINES) as u32))?;
        if blocks == 1 {
            return Ok(());
        }
        let mut arguments = queue.0.launch_builder(&self.sum_gains);
        arguments.arg(&at.progress).arg(&at.step).arg(layer);
        launch(&mut arguments, (units.div_ceil(128), 128))
    }

    /// The shape of a launch: one thread per four neighbours of a row.
    fn shape(batch: usize, columns: u32) -> (usize, u32) {
        ((batch * columns.div_ceil(4) as usize).div_ceil(128), 128)
    }

    /// The factor that clips all gradients by their norm.
    pub(crate) fn norm(&self, queue: &Queue<'_>, at: At, update: &Update, blocks: usize) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.squares);
        arguments.arg(&at.progress).arg(&at.step).arg(update);
        launch(&mut arguments, (blocks, Self::COLUMNS as u32))?;
        let mut arguments = queue.0.launch_builder(&self.norm);
        arguments.arg(&at.progress).arg(&at.step).arg(update);
        launch(&mut arguments, (1, Self::SUMMERS))
    }

    /// The optimiser's rule for all weights, biases and gains.
    pub(crate) fn apply(&self, queue: &Queue<'_>, at: At, update: &Update, blocks: usize) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.apply);
        arguments.arg(&at.progress).arg(&at.step).arg(update);
        launch(&mut arguments, (blocks, Self::COLUMNS as u32))
    }

    /// The largest norm of the weights that lead to a unit.
    pub(crate) fn renorm(&self, queue: &Queue<'_>, at: At, update: &Update, blocks: usize) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.renorm);
        arguments.arg(&at.progress).arg(&at.step).arg(update);
        launch(&mut arguments, (blocks, Self::COLUMNS as u32))
    }
}

/// A span of steps as one kernel. Its blocks all run at once: at most as many as the card holds.
pub(crate) struct PersistentKernel {
    function: CudaFunction,
    most_blocks: usize,
}

impl PersistentKernel {
    pub(crate) const TILE: Tile = Tile::Small;
    const MODULE: &str = "persistent.ptx";

    /// `None` if the card cannot run all blocks of a launch at once, so that they could not wait for each other.
    pub(crate) fn load(context: &Arc<CudaContext>) -> Result<Option<Self>, Failure> {
        if context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? == 0 {
            return Ok(None);
        }
        let module = module(context, Self::MODULE)?;
        let function = module.load_function("persistent")?;
        let processors = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32;
        let each = function.occupancy_max_active_blocks_per_multiprocessor(Self::TILE.threads(), 0, None)?;
        Ok((each > 0).then_some(Self { function, most_blocks: (processors * each) as usize }))
    }

    /// Runs the next steps, with one block for each of `tiles` or as many as the card holds.
    pub(crate) fn launch(&self, queue: &Queue<'_>, span: &SpanOfSteps, tiles: usize) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.function);
        arguments.arg(span);
        let blocks = self.most_blocks.min(tiles) as u32;
        let (grid_dim, block_dim) = ((blocks, 1, 1), (Self::TILE.threads(), 1, 1));
        // SAFETY: the argument is the kernel's. The addresses in it are valid, as the caller of `Queue::new` promised.
        unsafe { arguments.launch_cooperative(LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 }) }.map(|_| ())
    }
}

/// A span of steps as one kernel, run by a cluster of blocks that keep the weights in their shared memory.
pub(crate) struct ClusterKernel {
    function: CudaFunction,
    size: usize,
    /// Shared memory per block that is left for weights.
    bytes: usize,
}

impl ClusterKernel {
    pub(crate) const TILE: Tile = Tile::OfCluster;
    const MODULE: &str = "cluster.ptx";

    /// The largest cluster that the card can run. `None` if it has no clusters.
    pub(crate) fn load(context: &Arc<CudaContext>, stream: &CudaStream) -> Result<Option<Self>, Failure> {
        let capability = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        if capability < 9 || context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH)? == 0 {
            return Ok(None);
        }
        let module = module(context, Self::MODULE)?;
        let most = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize;
        for size in [16, 8] {
            let function = module.load_function(&format!("cluster_{size}"))?;
            let bytes = most.saturating_sub(function.shared_size_bytes()? as usize);
            let set = |attribute, value| function.set_attribute(attribute, value);
            set(OfFunction::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes as i32)?;
            // Every card with clusters supports 8 blocks; 16 have to be allowed explicitly and may be refused.
            let allowed = size <= 8 || set(OfFunction::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1).is_ok();
            let kernel = Self { function, size, bytes };
            let clusters = kernel.function.occupancy_max_active_clusters(kernel.shape(bytes), stream);
            if allowed && clusters.is_ok_and(|clusters| clusters > 0) {
                return Ok(Some(kernel));
            }
        }
        Ok(None)
    }

    fn shape(&self, bytes: usize) -> LaunchConfig {
        let (grid_dim, block_dim) = ((self.size as u32, 1, 1), (Self::TILE.threads(), 1, 1));
        LaunchConfig { grid_dim, block_dim, shared_mem_bytes: bytes as u32 }
    }

    /// The bytes of shared memory that each block needs for a number of tiles. `None` if it has fewer.
    pub(crate) fn room_for(&self, tiles: usize) -> Option<usize> {
        let bytes = tiles.div_ceil(self.size) * Self::TILE.side() * Self::TILE.side() * size_of::<f32>();
        (bytes <= self.bytes).then_some(bytes)
    }

    /// Runs the next steps.
    pub(crate) fn launch(&self, queue: &Queue<'_>, span: &SpanOfSteps, bytes: usize) -> Launched {
        let mut arguments = queue.0.launch_builder(&self.function);
        arguments.arg(span);
        // SAFETY: the argument is the kernel's. The addresses in it are valid, as the caller of `Queue::new` promised.
        unsafe { arguments.launch(self.shape(bytes)) }.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(module: &str) -> String {
        ptx(module).expect("the pack is whole")
    }

    /// Sizes of the parameters of a kernel in PTX, in bytes. 0 for parameters that are not structures.
    fn parameters(ptx: &str, kernel: &str) -> Vec<usize> {
        let begin = ptx.find(&format!(".entry {kernel}(")).expect("the kernel is there");
        let list = &ptx[begin..begin + ptx[begin..].find("\n)").expect("the list ends")];
        let size = |line: &str| {
            line.split_once('[')
                .map_or(0, |(_, rest)| rest.trim_end_matches("],").trim_end_matches(']').parse().unwrap_or(0))
        };
        list.lines().filter(|line| line.contains(".param")).map(|line| size(line.trim())).collect()
    }

    #[test]
    fn structures_are_as_large_as_the_kernels_have_them() {
        let (layer, data, layers) = (size_of::<Layer>(), size_of::<Data>(), size_of::<Layers>());
        let (outcome, judge) = (size_of::<Outcome>(), size_of::<Judge>());
        let head = &text("head.ptx");
        assert_eq!(parameters(head, "head"), [0, 0, layer, data, outcome, judge]);
        assert_eq!(parameters(head, "judge"), [0, 0, layer, data, outcome, judge]);
        let stored = &text("stored.ptx");
        for kernel in ["perturb_u8", "perturb_f32"] {
            assert_eq!(parameters(stored, kernel), [0, 0, size_of::<Perturbed>(), data]);
        }
        for kernel in ["drop", "drop_gradient"] {
            assert_eq!(parameters(stored, kernel), [0, 0, size_of::<Dropped>()]);
        }
        for kernel in ["learn", "learn_gradient", "sum_gains"] {
            assert_eq!(parameters(stored, kernel), [0, 0, size_of::<LearnedLayer>()]);
        }
        for kernel in ["gradient_squares", "gradient_norm", "apply", "renorm"] {
            assert_eq!(parameters(stored, kernel), [0, 0, size_of::<Update>()]);
        }
        let spans = [("persistent.ptx", "persistent"), ("cluster.ptx", "cluster_8"), ("cluster.ptx", "cluster_16")];
        for (module, kernel) in spans {
            let ptx = &text(module);
            assert_eq!(parameters(ptx, kernel), [size_of::<SpanOfSteps>()]);
            // Other blocks write this memory in the same launch, so it must not be read through the read-only cache,
            // which does not see their writes.
            assert!(!ptx.contains("ld.global.nc"), "{kernel} reads through the read-only cache");
        }
        for (tile, module) in [
            ("16", "layers_16.ptx"),
            ("64", "layers_64.ptx"),
            ("128", "layers_128.ptx"),
            ("tf32_64", "layers_tf32_64.ptx"),
            ("tf32_128", "layers_tf32_128.ptx"),
            ("bf16_64", "layers_bf16_64.ptx"),
            ("bf16_128", "layers_bf16_128.ptx"),
        ] {
            let ptx = &text(module);
            let of = |kernel: &str| parameters(ptx, &format!("{kernel}_{tile}"));
            assert_eq!(of("forward_first_u8"), [0, 0, layer, data]);
            assert_eq!(of("forward"), [0, 0, layer]);
            assert_eq!(of("input_gradient"), [0, 0, layer]);
            assert_eq!(of("update_f32"), [0, 0, layers, data, 0, 0]);
            assert_eq!(of("gradient_first_u8"), [0, 0, layer, data]);
            assert_eq!(of("gradient"), [0, 0, layers]);
            assert_eq!(of("start"), [layer, data]);
        }
    }

    #[test]
    fn every_module_is_in_the_pack() {
        let mut modules =
            vec![HeadKernels::MODULE, StoredKernels::MODULE, PersistentKernel::MODULE, ClusterKernel::MODULE];
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            modules.extend(Tile::ALL.map(|tile| LayerKernels::module(Way { tile, precision })));
        }
        for module in modules {
            let ptx = text(module);
            // What the compiler writes, but for the comments above.
            let header = ptx.lines().find(|line| !line.is_empty() && !line.starts_with("//"));
            assert_eq!(header, Some(".version 8.4"), "{module}");
            assert!(ptx.contains("\n.visible .entry "), "{module}");
        }
        assert!(matches!(ptx("cluster"), Err(Failure::Damaged(problem)) if problem == "it has no cluster"));
    }

    #[test]
    fn a_damaged_pack_is_an_error() {
        assert!(Pack::open(&[]).is_err());
        assert!(Pack::open(&PACKED[..PACKED.len() - 1]).is_err());
        assert!(Pack::open(&[PACKED, &[0]].concat()).is_err());
        let last = PACKED.len() - 1;
        let middle = (0..40).map(|i| i * last / 40);
        for at in middle.chain([1, 2, last - 3, last]) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = PACKED.to_vec();
                damaged[at] ^= flip;
                assert!(Pack::open(&damaged).is_err(), "byte {at} xor {flip:#x}");
            }
        }
    }
}
