//! How a card is made to take the steps of a span. All methods come to the same bits; which is fastest depends on card,
//! network and batch, so a training tries each on some of its own steps and keeps the fastest.

use cudarc::driver::CudaEvent;
use cudarc::driver::sys::CUevent_flags;
use syva_core::{Error, Result, Spec};

use crate::card::Card;
use crate::plan::{GROUP, Plan};

/// A way to take steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A launch for each part of a step, recorded as a graph: what every card and network can do.
    Graph,
    /// One kernel, whose blocks meet in the card's memory.
    Persistent,
    /// One kernel of a single cluster of blocks, which keeps the weights in shared memory.
    Cluster,
}

/// Forces a method, to compare them: `graph`, `persistent` or `cluster`.
const VARIABLE: &str = "SYVA_CUDA";
/// Steps that a method is given to warm up, and then to be timed in.
pub(crate) const TRIED: usize = 32;
/// How often each is timed: the shortest time counts, for what disturbs only prolongs.
const ROUNDS: usize = 2;

/// The methods that a training can use, and what was found of them.
pub(crate) struct Methods {
    /// With the least milliseconds that each took in a trial.
    candidates: Vec<(Method, f32)>,
    /// Whether others than the first have been looked for: the driver has their kernels to compile, so not before spans
    /// are long enough to try them.
    complete: bool,
    trials: usize,
    /// The trial under way: which candidate, and the events at its beginning and end.
    trial: Option<(usize, CudaEvent, CudaEvent)>,
}

impl Methods {
    pub(crate) fn new(spec: &Spec, plan: &Plan, card: &Card) -> Result<Self> {
        let forced = check(spec, plan, card)?;
        let candidates = vec![(forced.unwrap_or(Method::Graph), f32::INFINITY)];
        Ok(Self { candidates, complete: forced.is_some() || !plan.is_small(), trials: 0, trial: None })
    }

    /// The method for a span of so many steps, and whether this is a trial of it. The span before is done by now.
    pub(crate) fn choose(&mut self, steps: usize, spec: &Spec, plan: &Plan, card: &Card) -> Result<(Method, bool)> {
        if let Some((candidate, begin, end)) = self.trial.take() {
            let least = &mut self.candidates[candidate].1;
            *least = least.min(begin.elapsed_ms(&end).map_err(|error| card.failure(error))?);
        }
        if steps >= 2 * TRIED {
            for method in [Method::Persistent, Method::Cluster] {
                if !self.complete && fits(method, spec, plan, card)? {
                    self.candidates.push((method, f32::INFINITY));
                }
            }
            self.complete = true;
            if self.candidates.len() > 1 && self.trials < ROUNDS * self.candidates.len() {
                let candidate = self.trials % self.candidates.len();
                self.trials += 1;
                return Ok((self.candidates[candidate].0, true));
            }
        }
        let fastest = self.candidates.iter().min_by(|one, other| one.1.total_cmp(&other.1));
        Ok((fastest.expect("there is one at least").0, false))
    }

    /// An event to time by, at this point of the card's work.
    pub(crate) fn now(card: &Card) -> Result<CudaEvent> {
        let event = card.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        event.map_err(|error| card.failure(error))
    }

    /// Keeps the events at the beginning and the end of a trial; the next choice looks at the time between.
    pub(crate) fn note(&mut self, method: Method, begin: CudaEvent, end: CudaEvent) {
        let candidate = self.candidates.iter().position(|(candidate, _)| *candidate == method);
        self.trial = candidate.map(|candidate| (candidate, begin, end));
    }

    /// Whether steps can be taken by the graph after all, which asks for least, when the card has refused the launch of
    /// `method`: nothing has been done then. From now on they are.
    pub(crate) fn give_up(&mut self, method: Method) -> bool {
        let others = self.candidates.len() > 1 && method != Method::Graph;
        if others {
            (self.trials, self.trial) = (0, None);
            self.candidates.retain(|(candidate, _)| *candidate != method);
        }
        others
    }
}

fn named(method: Method) -> &'static str {
    match method {
        Method::Graph => "graph",
        Method::Persistent => "persistent",
        Method::Cluster => "cluster",
    }
}

fn forced() -> Result<Option<Method>> {
    let Ok(wanted) = std::env::var(VARIABLE) else { return Ok(None) };
    let all = [Method::Graph, Method::Persistent, Method::Cluster];
    let found = all.into_iter().find(|method| named(*method) == wanted);
    let unknown =
        || Error::setting(VARIABLE, format!("no method is called '{wanted}'"), "use graph, persistent or cluster");
    found.map(Some).ok_or_else(unknown)
}

/// The method that is forced, if any; an error where it cannot be. What it takes does not depend on the batch.
pub(crate) fn check(spec: &Spec, plan: &Plan, card: &Card) -> Result<Option<Method>> {
    let forced = forced()?;
    if let Some(method) = forced
        && !fits(method, spec, plan, card)?
    {
        let what = format!("{VARIABLE}={} with this network on this card", named(method));
        return Err(Error::Unsupported { what, remedy: format!("leave {VARIABLE} unset") });
    }
    Ok(forced)
}

/// Whether a card can train a network so.
fn fits(method: Method, spec: &Spec, plan: &Plan, card: &Card) -> Result<bool> {
    if method == Method::Graph {
        return Ok(true);
    }
    if !plan.fused_head || !plan.is_exact() || spec.layers.len() > GROUP {
        return Ok(false);
    }
    match method {
        Method::Persistent => Ok(card.persistent()?.is_some()),
        _ => Ok(card.cluster()?.is_some_and(|cluster| cluster.room_for(tiles(spec)).is_some())),
    }
}

/// Tiles of all weights, as the cluster has them.
fn tiles(spec: &Spec) -> usize {
    let tile = crate::kernels::ClusterKernel::TILE;
    (0..spec.layers.len()).map(|l| tile.count(spec.fan_in(l), spec.layers[l].units)).sum()
}
