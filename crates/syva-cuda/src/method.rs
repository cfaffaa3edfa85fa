//! How a card runs the steps of a span. All methods give the same bits. Which one is fastest depends on the card, the
//! network and the batch, so a training times each on some of its own steps and keeps the fastest.

use syva_core::{Error, Result, Spec};

use crate::card::Card;
use crate::plan::{GROUP, Plan};
use crate::profile::now;

/// A way to run steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One launch per part of a step, recorded as a graph. Works for every card and network.
    Graph,
    /// One kernel, whose blocks meet in the card's memory.
    Persistent,
    /// One kernel of a single cluster of blocks, which keeps the weights in shared memory.
    Cluster,
}

/// Forces a method, to compare them: `graph`, `persistent` or `cluster`. (Data in windows is always trained by
/// launches.)
const VARIABLE: &str = "SYVA_CUDA";
/// Steps per trial: a method takes this many to warm up, then as many again while it is timed.
const TRIED: usize = 32;
/// Trials per method. The shortest time counts, because a disturbance can only make a trial longer.
const ROUNDS: usize = 2;

/// The methods that a training can use, and their times.
pub(crate) struct Methods {
    /// Each method with the shortest time of its trials, in milliseconds.
    candidates: Vec<(Method, f32)>,
    /// Whether the candidates are complete. Adding one makes the driver compile its kernel, so the others are added
    /// only when a span is long enough to try them.
    complete: bool,
    trials: usize,
}

impl Methods {
    /// `plain` is as for [`check`].
    pub(crate) fn new(spec: &Spec, plain: bool, plan: &Plan, card: &Card) -> Result<Self> {
        let forced = check(spec, plain, plan, card)?;
        let candidates = vec![(forced.unwrap_or(Method::Graph), f32::INFINITY)];
        Ok(Self { candidates, complete: forced.is_some() || !plain || !plan.is_small(), trials: 0 })
    }

    /// Runs the steps of a span: some by the methods that are still to be tried, the rest by the fastest so far.
    ///
    /// `take` puts the given number of next steps on the card's stream. The kernels skip steps beyond the span's end.
    pub(crate) fn take(
        &mut self,
        steps: usize,
        (spec, plan, card): (&Spec, &Plan, &Card),
        take: &mut dyn FnMut(Method, usize) -> Result<()>,
    ) -> Result<()> {
        let mut left = steps;
        if left >= 2 * TRIED {
            for method in [Method::Persistent, Method::Cluster] {
                if !self.complete && fits(method, spec, plan, card)? {
                    self.candidates.push((method, f32::INFINITY));
                }
            }
            self.complete = true;
        }
        while left >= 2 * TRIED && self.candidates.len() > 1 && self.trials < ROUNDS * self.candidates.len() {
            let candidate = self.trials % self.candidates.len();
            let (method, least) = &mut self.candidates[candidate];
            match time(*method, card, take) {
                Ok(milliseconds) => {
                    *least = least.min(milliseconds);
                    self.trials += 1;
                    left -= 2 * TRIED;
                }
                Err(error) => self.give_up(candidate).ok_or(error)?,
            }
        }
        loop {
            let (fastest, (method, _)) = self.fastest();
            match take(method, left) {
                Ok(()) => return Ok(()),
                Err(error) => self.give_up(fastest).ok_or(error)?,
            }
        }
    }

    fn fastest(&self) -> (usize, (Method, f32)) {
        let candidates = self.candidates.iter().copied().enumerate();
        candidates.min_by(|(_, one), (_, other)| one.1.total_cmp(&other.1)).expect("there is one at least")
    }

    /// Removes a candidate whose launch the card has refused. Nothing has run then, so another method can go on.
    /// Returns
    /// `None` if there is no other, or if it was the graph, which has the fewest requirements.
    fn give_up(&mut self, candidate: usize) -> Option<()> {
        if self.candidates.len() == 1 || self.candidates[candidate].0 == Method::Graph {
            return None;
        }
        self.candidates.remove(candidate);
        self.trials = 0;
        Some(())
    }
}

/// Milliseconds that a method takes for [`TRIED`] steps, after as many steps to warm up.
fn time(method: Method, card: &Card, take: &mut dyn FnMut(Method, usize) -> Result<()>) -> Result<f32> {
    take(method, TRIED)?;
    let begin = now(card)?;
    take(method, TRIED)?;
    begin.elapsed_ms(&now(card)?).map_err(|error| card.failure(error))
}

fn named(method: Method) -> &'static str {
    match method {
        Method::Graph => "graph",
        Method::Persistent => "persistent",
        Method::Cluster => "cluster",
    }
}

fn forced() -> Result<Option<Method>> {
    let Some(wanted) = std::env::var(VARIABLE).ok().filter(|wanted| !wanted.is_empty()) else { return Ok(None) };
    let all = [Method::Graph, Method::Persistent, Method::Cluster];
    let found = all.into_iter().find(|method| named(*method) == wanted);
    let unknown =
        || Error::setting(VARIABLE, format!("no method is called '{wanted}'"), "use graph, persistent or cluster");
    found.map(Some).ok_or_else(unknown)
}

/// The method that the environment forces, if any. An error if this network or card cannot use it, which does not
/// depend on the batch. `plain` says that steps are plain gradient descent, which all methods know.
pub(crate) fn check(spec: &Spec, plain: bool, plan: &Plan, card: &Card) -> Result<Option<Method>> {
    let forced = forced()?;
    if let Some(method) = forced
        && !(method == Method::Graph || plain && fits(method, spec, plan, card)?)
    {
        let with = match () {
            () if !plain => "more than plain gradient descent",
            () if plan.is_exact() => "this network",
            () => "a precision other than f32",
        };
        let what = format!("{VARIABLE}={} with {with} on this card", named(method));
        return Err(Error::Unsupported { what, remedy: format!("leave {VARIABLE} unset") });
    }
    Ok(forced)
}

/// Whether a card can train a network by a method.
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

/// The number of tiles of all weights, in the cluster's tile size.
fn tiles(spec: &Spec) -> usize {
    let tile = crate::kernels::ClusterKernel::TILE;
    (0..spec.layers.len()).map(|l| tile.count(spec.fan_in(l), spec.layers[l].units)).sum()
}
