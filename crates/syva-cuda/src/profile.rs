//! Where the time of a step goes, measured by events on the card between the launches.

use cudarc::driver::CudaEvent;
use cudarc::driver::sys::CUevent_flags;
use syva_core::{Breakdown, Result, Spec, StepPart};

use crate::card::Card;
use crate::step::Pass;

/// One launch of a step. Layers are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Forward(usize),
    /// The losses, and d of the outputs.
    Loss,
    /// The last layer's forward product, the losses, and the last layer's input gradient.
    Head(usize),
    InputGradient(usize),
    Update(Vec<usize>),
    /// The weight gradients, which are stored.
    Gradient(Vec<usize>),
    /// The inputs of a step that changes them at random.
    Inputs,
    Dropout(usize),
    DropoutGradient(usize),
    /// What is learned of an activation.
    Learned(usize),
    LearnedGradient(usize),
    /// The norm of all gradients.
    Norm,
    /// The optimiser's rule.
    Rule,
    LargestNorm,
    /// The first layer's initial sums.
    Start,
}

impl Part {
    fn name(&self) -> String {
        match self {
            Self::Forward(l) => format!("forward {}", l + 1),
            Self::Loss => "loss".into(),
            Self::Head(l) => format!("forward {0}, loss, input gradient {0}", l + 1),
            Self::InputGradient(l) => format!("input gradient {}", l + 1),
            Self::Update(layers) => format!("update {}", numbers(layers)),
            Self::Gradient(layers) => format!("weight gradient {}", numbers(layers)),
            Self::Inputs => "inputs".into(),
            Self::Dropout(l) => format!("dropout {}", l + 1),
            Self::DropoutGradient(l) => format!("dropout gradient {}", l + 1),
            Self::Learned(l) => format!("learned activation {}", l + 1),
            Self::LearnedGradient(l) => format!("learned activation gradient {}", l + 1),
            Self::Norm => "gradient norm".into(),
            Self::Rule => "optimizer".into(),
            Self::LargestNorm => "largest norm".into(),
            Self::Start => "initial sums".into(),
        }
    }

    /// The number of weights that it multiplies with, for each sample.
    fn weights(&self, spec: &Spec) -> u64 {
        let of = |l: usize| (spec.fan_in(l) * spec.layers[l].units) as u64;
        match self {
            Self::Loss
            | Self::Inputs
            | Self::Dropout(_)
            | Self::DropoutGradient(_)
            | Self::Learned(_)
            | Self::LearnedGradient(_)
            | Self::Norm
            | Self::Rule
            | Self::LargestNorm
            | Self::Start => 0,
            Self::Forward(l) | Self::InputGradient(l) => of(*l),
            Self::Head(l) => 2 * of(*l),
            Self::Update(layers) | Self::Gradient(layers) => layers.iter().map(|&l| of(l)).sum(),
        }
    }
}

/// The numbers of layers for people.
fn numbers(layers: &[usize]) -> String {
    layers.iter().map(|l| (l + 1).to_string()).collect::<Vec<_>>().join(", ")
}

/// Records an event for timing at this point of the card's work.
pub(crate) fn now(card: &Card) -> Result<CudaEvent> {
    let event = card.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
    event.map_err(|error| card.failure(error))
}

/// Steps after which the events are read. This bounds the number of events that exist at once.
const AT_ONCE: u32 = 64;

/// Runs the steps of a span as launches, and reports the time of each kind of launch. The span has this many steps and
/// samples.
pub(crate) fn take(pass: &Pass<'_>, spec: &Spec, (steps, samples): (u32, usize)) -> Result<Breakdown> {
    let mut breakdown = Breakdown { threads: 1, ..Breakdown::default() };
    for first in (0..steps).step_by(AT_ONCE as usize) {
        let mut last = now(pass.card)?;
        let mut marks = Vec::new();
        for step in first..steps.min(first + AT_ONCE) {
            pass.launch_step(step, &mut |part| {
                marks.push((part, now(pass.card)?));
                Ok(())
            })?;
        }
        for (part, event) in marks {
            let milliseconds = last.elapsed_ms(&event).map_err(|error| pass.card.failure(error))?;
            let seconds = f64::from(milliseconds) / 1e3;
            breakdown.seconds += seconds;
            let name = part.name();
            if let Some(part) = breakdown.parts.iter_mut().find(|part| part.name == name) {
                part.seconds += seconds;
            } else {
                let multiply_adds = part.weights(spec) * samples as u64;
                breakdown.parts.push(StepPart { name, seconds, multiply_adds });
            }
            last = event;
        }
    }
    Ok(breakdown)
}
