//! A step, kernel by kernel, in the order in which the kernels run.

use std::ops::Range;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, DriverError};
use syva_core::ops::Judging;
use syva_core::{Error, Head, Result, Spec};

use crate::card::Card;
use crate::kernels::{
    Address, At, ClusterKernel, Data, Dropped, Judge, Layer, LayerKernels, Layers, LearnedLayer, Outcome,
    PersistentKernel, Perturbed, Queue, SpanOfSteps, Stored, Update,
};
use crate::memory::{Blocks, LayerMemory};
use crate::method::Method;
use crate::plan::{Plan, Tile};
use crate::profile::Part;

/// Steps that are recorded as one graph. Launching the graph costs the host as much as launching one kernel.
const RECORDED: usize = 32;
/// The most steps that one kernel takes. A card that also drives a screen must not be busy for seconds.
const AT_ONCE: usize = 256;

/// A graph of recorded steps.
pub(crate) struct Recorded(CudaGraph);

// SAFETY: the driver does not tie a graph to a thread. It only demands that no two threads use a graph at the same time
// (docs.nvidia.com/cuda/cuda-driver-api/graphs-thread-safety.html). They cannot, because a graph belongs to one session,
// is not `Sync`, and is never cloned.
unsafe impl Send for Recorded {}

/// What a pass over a batch is for: a training step, the gradients alone, an evaluation (losses and guesses), or only the
/// outputs.
#[derive(Clone, Copy)]
pub(crate) enum Goal<'a> {
    Train,
    /// The gradients go where this says.
    Gradient(&'a [LayerMemory]),
    Judge,
    Predict,
}

impl Goal<'_> {
    /// Whether it needs gradients.
    fn goes_back(self) -> bool {
        matches!(self, Self::Train | Self::Gradient(_))
    }
}

/// The network's head and its loss, as the kernels see them.
pub(crate) fn judge(spec: &Spec, judging: Judging, goal: Goal<'_>, factors: Address) -> Judge {
    let outputs = spec.outputs();
    let number = match spec.head {
        Head::Regression | Head::Poisson => 0,
        Head::MultiLabel => 1,
        Head::Binary => 2,
        Head::Logits | Head::LogSoftmax => 3,
        Head::Gaussian => 4,
    };
    let distance = match judging {
        Judging::Each(distance, _) => distance.index() as u32,
        Judging::Gaussian | Judging::Classes { .. } => 0,
    };
    Judge {
        factors,
        judging: number,
        distance,
        outputs: outputs as u32,
        terms: judging.terms(outputs) as u32,
        gradient: u32::from(goal.goes_back()),
        scale: judging.scale() as f32,
        parameters: judging.parameters(outputs).map(|parameter| parameter as f32),
    }
}

/// The kernels of steps on some data, with all their arguments.
pub(crate) struct Pass<'a> {
    pub(crate) card: &'a Card,
    pub(crate) queue: Queue<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) layers: Vec<Layer>,
    /// The layers with the places for their gradients instead of their weights. Empty if the products' own kernels update
    /// the weights.
    pub(crate) gradients: Vec<Layer>,
    /// The update by stored gradients, if there is one.
    pub(crate) update: Option<(Update, Blocks)>,
    /// The first layer as far as its initial sums need it.
    pub(crate) first: Layer,
    /// The inputs of steps that change them at random.
    pub(crate) perturbed: Option<Perturbed>,
    /// The hidden layers with dropout. Empty without dropout.
    pub(crate) dropped: Vec<Dropped>,
    /// The layers whose activation is learned.
    pub(crate) learned: Vec<Option<LearnedLayer>>,
    pub(crate) data: (Data, Stored),
    pub(crate) outcome: Outcome,
    pub(crate) judge: Judge,
    pub(crate) progress: Address,
    pub(crate) learning_rates: Address,
    pub(crate) tickets: Address,
    pub(crate) batch: usize,
    pub(crate) goal: Goal<'a>,
}

impl Pass<'_> {
    /// Puts the next steps on the queue, and moves the progress on past them. `recorded` keeps the graph.
    pub(crate) fn take(&self, method: Method, steps: usize, recorded: &mut Option<Recorded>) -> Result<()> {
        let mut left = steps;
        while left > 0 {
            let (taken, advanced) = match method {
                Method::Graph if left >= RECORDED => {
                    if recorded.is_none() {
                        *recorded = Some(self.record(RECORDED)?);
                    }
                    let graph = recorded.as_ref().expect("was recorded just now");
                    graph.0.launch().map_err(|error| self.failure(error))?;
                    (RECORDED, true)
                }
                Method::Graph => {
                    self.launch(0..left as u32)?;
                    (left, false)
                }
                Method::Persistent | Method::Cluster => {
                    let steps = left.min(AT_ONCE);
                    self.launch_span(method, steps)?;
                    (steps, false)
                }
            };
            if !advanced {
                let advance = self.card.head.advance(&self.queue, self.progress, taken as u32);
                advance.map_err(|error| self.failure(error))?;
            }
            left -= taken;
        }
        Ok(())
    }

    /// Puts steps on the queue as one kernel.
    fn launch_span(&self, method: Method, steps: usize) -> Result<()> {
        let tile = if method == Method::Persistent { PersistentKernel::TILE } else { ClusterKernel::TILE };
        let (layers, tiles) = Layers::new(&self.layers, tile);
        let span = SpanOfSteps {
            progress: self.progress,
            layers,
            data: self.data.0,
            outcome: self.outcome,
            judge: self.judge,
            learning_rates: self.learning_rates,
            tickets: self.tickets,
            steps: steps as u32,
            bytes: u32::from(self.data.1 == Stored::U8),
        };
        let absent = || Error::mismatch("the card has lost a kernel", "report this");
        let launched = if method == Method::Persistent {
            let kernel = self.card.persistent()?.ok_or_else(absent)?;
            kernel.launch(&self.queue, &span, self.most_tiles(tile).max(tiles))
        } else {
            let kernel = self.card.cluster()?.ok_or_else(absent)?;
            kernel.launch(&self.queue, &span, kernel.room_for(tiles).ok_or_else(absent)?)
        };
        launched.map_err(|error| self.failure(error))
    }

    /// The number of tiles of a step's largest part before the update.
    fn most_tiles(&self, tile: Tile) -> usize {
        let rows = |layer: &Layer| tile.count(self.batch, layer.units.max(layer.fan_in) as usize);
        let head = self.batch.div_ceil(tile.threads() as usize / 32);
        self.layers.iter().map(rows).max().unwrap_or(0).max(head)
    }

    /// Puts steps on the queue, launch by launch.
    pub(crate) fn launch(&self, mut steps: Range<u32>) -> Result<()> {
        steps.try_for_each(|step| self.launch_step(step, &mut |_| Ok(())))
    }

    /// Puts one step on the queue, launch by launch. Calls `after` with each launch's name.
    pub(crate) fn launch_step(&self, step: u32, after: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        let at = At { progress: self.progress, step };
        self.forward(at, after)?;
        if matches!(self.goal, Goal::Predict) {
            return Ok(());
        }
        let last = self.layers.len() - 1;
        let (queue, head, layer) = (&self.queue, &self.card.head, &self.layers[last]);
        let judged = (&self.data.0, &self.outcome, &self.judge);
        let (launched, part) = if self.plan.fused_head {
            (head.head(queue, at, self.batch, layer, judged), Part::Head(last))
        } else {
            (head.judge(queue, at, self.batch, layer, judged), Part::Loss)
        };
        launched.map_err(|error| self.failure(error))?;
        after(part)?;
        if self.goal.goes_back() { self.backward(at, after) } else { Ok(()) }
    }

    /// Whether layer l takes inputs as they are stored.
    fn is_raw(&self, l: usize) -> bool {
        l == 0 && self.perturbed.is_none()
    }

    /// Whether the kernel `head` computes the last layer.
    fn head_is_fused(&self) -> bool {
        self.plan.fused_head && !matches!(self.goal, Goal::Predict)
    }

    fn forward(&self, at: At, after: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        if let Some(perturbed) = &self.perturbed {
            let data = (&self.data.0, self.data.1);
            let launched = self.card.stored()?.perturb(&self.queue, at, self.batch, perturbed, data);
            launched.map_err(|error| self.failure(error))?;
            after(Part::Inputs)?;
        }
        let layers = self.layers.len() - usize::from(self.head_is_fused());
        for (l, layer) in self.layers[..layers].iter().enumerate() {
            let kernels = self.card.layers(self.plan.forward[l])?;
            let launched = if self.is_raw(l) {
                kernels.forward_first(&self.queue, at, self.batch, layer, (&self.data.0, self.data.1))
            } else {
                kernels.forward(&self.queue, at, self.batch, layer)
            };
            launched.map_err(|error| self.failure(error))?;
            after(Part::Forward(l))?;
            if let Some(learned) = &self.learned[l] {
                let launched = self.card.stored()?.learn(&self.queue, at, self.batch, learned);
                launched.map_err(|error| self.failure(error))?;
                after(Part::Learned(l))?;
            }
            if let Some(dropped) = self.dropped.get(l) {
                let launched = self.card.stored()?.drop(&self.queue, at, self.batch, dropped);
                launched.map_err(|error| self.failure(error))?;
                after(Part::Dropout(l))?;
            }
        }
        Ok(())
    }

    /// With dropout or a learned activation, the gradient by the z of hidden layer l, from the sums of its input gradient.
    /// Also that by its gains.
    fn finish_gradient(&self, at: At, l: usize, after: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        if let Some(dropped) = self.dropped.get(l) {
            let launched = self.card.stored()?.drop_gradient(&self.queue, at, self.batch, dropped);
            launched.map_err(|error| self.failure(error))?;
            after(Part::DropoutGradient(l))?;
        }
        let Some(learned) = &self.learned[l] else { return Ok(()) };
        let launched = self.card.stored()?.learn_gradient(&self.queue, at, self.batch, learned);
        launched.map_err(|error| self.failure(error))?;
        after(Part::LearnedGradient(l))
    }

    /// First all input gradients, then the update, because input gradients need the weights from before the update.
    fn backward(&self, at: At, after: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        let layers = self.layers.len() - usize::from(self.head_is_fused());
        if self.head_is_fused() {
            self.finish_gradient(at, layers - 1, after)?;
        }
        for l in (1..layers).rev() {
            let kernels = self.card.layers(self.plan.input_gradient[l])?;
            let launched = kernels.input_gradient(&self.queue, at, self.batch, &self.layers[l]);
            launched.map_err(|error| self.failure(error))?;
            after(Part::InputGradient(l))?;
            self.finish_gradient(at, l - 1, after)?;
        }
        for (way, group) in &self.plan.update {
            let (kernels, data) = (self.card.layers(*way)?, (&self.data.0, self.data.1));
            if !self.gradients.is_empty() {
                self.weight_gradient(at, kernels, group, after)?;
                continue;
            }
            let layers: Vec<Layer> = group.iter().map(|&l| self.layers[l]).collect();
            let more = (self.learning_rates, self.tickets);
            kernels.update(&self.queue, at, &layers, data, more).map_err(|error| self.failure(error))?;
            after(Part::Update(group.clone()))?;
        }
        match &self.update {
            Some((update, blocks)) if matches!(self.goal, Goal::Train) => self.apply(at, update, *blocks, after),
            _ => Ok(()),
        }
    }

    /// Computes and stores the weight gradients of some layers.
    fn weight_gradient(
        &self,
        at: At,
        kernels: &LayerKernels,
        group: &[usize],
        after: &mut dyn FnMut(Part) -> Result<()>,
    ) -> Result<()> {
        if group.iter().any(|&l| self.is_raw(l)) {
            let launched = kernels.gradient_first(&self.queue, at, &self.gradients[0], (&self.data.0, self.data.1));
            launched.map_err(|error| self.failure(error))?;
            after(Part::Gradient(vec![0]))?;
        }
        let others: Vec<usize> = group.iter().copied().filter(|&l| !self.is_raw(l)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let layers: Vec<Layer> = others.iter().map(|&l| self.gradients[l]).collect();
        kernels.gradient(&self.queue, at, &layers).map_err(|error| self.failure(error))?;
        after(Part::Gradient(others))
    }

    /// Updates the weights by stored gradients, and computes the first layer's initial sums for the next step.
    fn apply(&self, at: At, update: &Update, blocks: Blocks, after: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        let (kernels, queue) = (self.card.stored()?, &self.queue);
        if update.clip_norm > 0.0 {
            kernels.norm(queue, at, update, blocks.columns).map_err(|error| self.failure(error))?;
            after(Part::Norm)?;
        }
        kernels.apply(queue, at, update, blocks.parts).map_err(|error| self.failure(error))?;
        after(Part::Rule)?;
        if update.max_norm > 0.0 {
            kernels.renorm(queue, at, update, blocks.columns).map_err(|error| self.failure(error))?;
            after(Part::LargestNorm)?;
        }
        let first = self.card.layers(self.plan.forward[0])?.start(queue, &self.first, &self.data.0);
        first.map_err(|error| self.failure(error))?;
        after(Part::Start)
    }

    /// Records steps as one graph. The graph ends by moving the progress on, so that its next run takes the next steps.
    fn record(&self, steps: usize) -> Result<Recorded> {
        // Kernels have to be compiled before the recording begins: nothing may be loaded while a stream records.
        for way in self.plan.ways() {
            self.card.layers(way)?;
        }
        if self.update.is_some() || self.perturbed.is_some() || !self.dropped.is_empty() {
            self.card.stored()?;
        }
        let stream = &self.card.stream;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(|error| self.failure(error))?;
        let launched = self.launch(0..steps as u32).and_then(|()| {
            let advanced = self.card.head.advance(&self.queue, self.progress, steps as u32);
            advanced.map_err(|error| self.failure(error))
        });
        // This also has to happen after a failure: the stream must not go on recording.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0)).map_err(|error| self.failure(error));
        launched?;
        let graph = graph?.ok_or_else(|| Error::mismatch("the driver recorded nothing", "report this"))?;
        Ok(Recorded(graph))
    }

    fn failure(&self, error: DriverError) -> Error {
        self.card.failure(error)
    }
}
