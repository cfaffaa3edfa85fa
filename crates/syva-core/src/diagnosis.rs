//! Detects runs that learned nothing, and suggests what to try.
//!
//! Three things are examined. The first is the network's predictions: whether every sample is given the same class, or
//! the predictions are no better than the best constant one. The second is the activity of its hidden units on a few
//! hundred samples: ReLU units that are 0 for all of them, and sigmoid or tanh units that stay at an end of their range
//! for all of them. No gradient passes through either. The third is how the network was trained, for the advice.

use std::fmt;

use serde::Serialize;

use crate::arithmetic::Number;
use crate::data::{Dataset, Targets};
use crate::engine::Evaluation;
use crate::init::Init;
use crate::metrics::Confusion;
use crate::ops::{Activation, Distance, Judging, Reads};
use crate::spec::{Head, Spec};
use crate::text::{grouped, number, rate as short};
use crate::{Model, Training};

/// The activity of a layer's hidden units on a few hundred samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayerActivity {
    /// The layer's activation.
    pub activation: Activation,
    /// The number of units.
    pub units: usize,
    /// The number of units that pass on next to no gradient for any of the samples: below 0 before ReLU, or within 1 % of
    /// an end of the range after sigmoid or tanh.
    pub stuck: usize,
}

/// The activity of all hidden units on a few hundred samples.
///
/// ```
/// use syva_core::data::{Dataset, Inputs, Targets};
/// use syva_core::{Activation::Relu, Activity, Mlp, Model, State, Training};
/// let spec = Mlp::new(1).hidden(&[2], Relu).classes(2);
/// let mut state = State::initial(&spec, &Training::default())?;
/// // The second unit is below 0 whatever comes in from 0 to 1.
/// state.layers[0].weight.values_mut().copy_from_slice(&[1.0, 1.0]);
/// state.layers[0].bias.copy_from_slice(&[0.0, -2.0]);
/// let inputs = Inputs::F32((0..200).map(|i| i as f32 / 200.0).collect::<Vec<_>>().into());
/// let data = Dataset::new(inputs, 1, Targets::Classes { labels: vec![1; 200].into(), classes: 2 })?;
/// let found = Activity::of(&Model::new(spec, state), &data).unwrap();
/// assert_eq!((found.layers[0].stuck, found.layers[0].units), (1, 2));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Activity {
    /// The hidden layers, in order.
    pub layers: Vec<LayerActivity>,
    /// The number of samples examined.
    pub samples: usize,
}

/// The fewest and the most samples to examine. With fewer, a unit that is rarely active looks like a dead one.
const SAMPLES: (usize, usize) = (128, 512);
/// The most multiplications that an examination may take: a fraction of a second.
const WORK: usize = 300_000_000;
/// At this distance from an end of its range, sigmoid's gradient is a twenty-fifth of its largest.
const END: f32 = 0.01;

impl Activity {
    /// The activity of a model on samples of a data set. `None` if nothing can be said: if there are no hidden layers,
    /// too few samples or data that does not fit, or if the network is so large that the examination would take long.
    ///
    /// Computed in plain f32, outside the arithmetic contract, because all that matters is the range in which each unit
    /// stays.
    #[must_use]
    pub fn of(model: &Model, data: &Dataset) -> Option<Self> {
        let spec = &model.spec;
        if spec.layers.len() < 2 || data.check(spec).is_err() || model.state.check(spec).is_err() {
            return None;
        }
        let samples = data.samples().min(SAMPLES.1).min(WORK / spec.parameters().max(1));
        if samples < SAMPLES.0 {
            return None;
        }
        let hidden = &spec.layers[..spec.layers.len() - 1];
        let (scale, shift): (Vec<f32>, Vec<f32>) =
            (0..spec.input.features).map(|k| spec.input.normalization.of(k)).unzip();
        let mut free: Vec<Vec<bool>> = hidden.iter().map(|layer| vec![false; layer.units]).collect();
        // Spread over all of the data, which may be sorted by class.
        for sample in (0..samples).map(|i| i * data.samples() / samples) {
            let raw = data.inputs().rows(sample..sample + 1, data.features());
            let mut h: Vec<f32> = match &spec.input.embedding {
                Some(embedding) => embedding.inputs(&model.state.embedding, &raw, (&scale, &shift)).0,
                None => raw.iter().zip(&scale).zip(&shift).map(|((x, scale), shift)| x.fma(*scale, *shift)).collect(),
            };
            for (l, layer) in hidden.iter().enumerate() {
                let (weight, bias) = (&model.state.layers[l].weight, &model.state.layers[l].bias);
                let z: Vec<f32> = (0..layer.units).map(|j| bias[j] + dot(weight.row(j), &h)).collect();
                for (free, &z) in free[l].iter_mut().zip(&z) {
                    // A learned activation is not stuck for good where its function is flat.
                    *free |= layer.learned.has_gains() || moves(layer.activation, z);
                }
                let gain = |j: usize| model.state.layers[l].gain.get(j).copied().unwrap_or(1.0);
                let h_of = |(j, z): (usize, f32)| layer.learned.forward(z, layer.activation.forward(z), gain(j));
                h = z.into_iter().enumerate().map(h_of).collect();
            }
        }
        let stuck = |free: &Vec<bool>| free.iter().filter(|&&free| !free).count();
        let layers = hidden.iter().zip(&free).map(|(layer, free)| LayerActivity {
            activation: layer.activation,
            units: layer.units,
            stuck: stuck(free),
        });
        Some(Self { layers: layers.collect(), samples })
    }
}

/// Whether a gradient passes through a unit with this pre-activation.
fn moves(activation: Activation, z: f32) -> bool {
    let read = match activation.reads() {
        Reads::H => activation.forward(z),
        Reads::Z => z,
    };
    let slope: f32 = activation.backward(read, 1.0);
    let least = match activation {
        // At the distance END from an end of its range. Tanh's range is −1 to 1, so the distance is twice as large.
        Activation::Sigmoid => END * (1.0 - END),
        Activation::Tanh => 4.0 * END * (1.0 - END),
        _ => 1e-3,
    };
    slope.abs() > least
}

/// The dot product, summed in eight chains, which compilers turn into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

/// A finding about a run that the user should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// All samples, or almost all, are predicted as the same class, although there are several classes.
    OneClass {
        /// That class.
        class: usize,
        /// The number of samples that are predicted as that class.
        given: u64,
        /// The number of all samples.
        samples: u64,
    },
    /// The network is no better than the best constant prediction.
    Chance {
        /// The share of correct predictions; `None` for regression.
        accuracy: Option<f64>,
        /// The share of the most frequent class, which is the accuracy of always predicting it.
        guess_accuracy: Option<f64>,
        /// The loss.
        loss: f64,
        /// The loss of the best constant prediction: the entropy of the classes' shares, or the variance of the values.
        guess_loss: f64,
    },
    /// The accuracy is better than that of always predicting the same class, but not by much, and the loss is worse.
    TooSure {
        /// The share of correct predictions.
        accuracy: f64,
        /// The share of the most frequent class, which is the accuracy of always predicting it.
        guess_accuracy: f64,
        /// The loss.
        loss: f64,
        /// The loss of the best constant prediction: the entropy of the classes' shares.
        guess_loss: f64,
    },
    /// Most units of a hidden layer pass on no gradient.
    Stuck {
        /// The layer, counted from 1.
        layer: usize,
        /// Its activity.
        #[serde(flatten)]
        activity: LayerActivity,
    },
}

/// What the user should know about a run, and what to try.
///
/// ```
/// use syva_core::{Confusion, Diagnosis, Mlp, Training, Activation::Sigmoid};
/// let mut confusion = Confusion::new(2);
/// for sample in 0..100 {
///     confusion.add(sample % 2, 1); // whatever it is, class 1 is named
/// }
/// let spec = Mlp::new(4).hidden(&[3], Sigmoid).classes(2);
/// let found = Diagnosis::new(&confusion, 0.6931, None, &spec, Some(&Training::default()));
/// assert!(found.to_string().starts_with("nothing learned so far: all 100 samples are predicted as class 1"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diagnosis {
    /// What was found. Empty for a run that learns.
    pub findings: Vec<Finding>,
    /// What to try.
    pub advice: Vec<String>,
}

/// A loss above this share of the best constant prediction's loss counts as no better.
const NEAR: f64 = 0.995;
/// This share of the samples counts as all of them.
const ALMOST_ALL: f64 = 0.99;
/// If a class has this share of the samples, always predicting it is hard to beat.
const LOPSIDED: f64 = 0.9;
/// In a run that learned, a layer is reported only if this share of its units is stuck.
const MOST: f64 = 0.9;

impl Diagnosis {
    /// Diagnoses a classifier, from its confusion matrix on some data, the mean loss there, the activity of its hidden
    /// units (if known), and how it was trained.
    #[must_use]
    pub fn new(
        confusion: &Confusion,
        loss: f64,
        activity: Option<&Activity>,
        spec: &Spec,
        training: Option<&Training>,
    ) -> Self {
        let classes = confusion.classes();
        let supports: Vec<u64> =
            (0..classes).map(|truth| (0..classes).map(|guess| confusion.count(truth, guess)).sum()).collect();
        let total: u64 = supports.iter().sum();
        let share = |support: u64| support as f64 / total as f64;
        // With one class there is nothing to tell apart.
        if supports.iter().filter(|&&support| support > 0).count() < 2 {
            return Self::default();
        }
        let mut findings = Vec::new();
        let given = |guess: usize| (0..classes).map(|truth| confusion.count(truth, guess)).sum::<u64>();
        let most = share(supports.iter().copied().max().unwrap_or(0));
        // If nearly all samples are of one class, it is right to predict it for nearly all.
        let least = if most < LOPSIDED { ALMOST_ALL } else { 1.0 };
        if let Some(class) = (0..classes).find(|&guess| share(given(guess)) >= least) {
            findings.push(Finding::OneClass { class, given: given(class), samples: total });
        }
        let accuracy = confusion.accuracy();
        // Three standard deviations of the accuracy of a guess.
        let luck = 3.0 * (most * (1.0 - most) / total as f64).sqrt();
        let shares: Vec<f64> = supports.iter().map(|&support| share(support)).collect();
        let entropy = constant_class(&shares, judging(spec, training));
        // With a high accuracy, a high loss means something else: memorised training samples.
        let poor = accuracy < most + 0.25 * (1.0 - most);
        if !findings.is_empty() {
            // That all samples get the same class says enough.
        } else if accuracy <= most + luck && loss >= NEAR * entropy {
            findings.push(Finding::Chance {
                accuracy: Some(accuracy),
                guess_accuracy: Some(most),
                loss,
                guess_loss: entropy,
            });
        } else if accuracy > most + luck && poor && loss > entropy {
            findings.push(Finding::TooSure { accuracy, guess_accuracy: most, loss, guess_loss: entropy });
        }
        Self::with_units(findings, activity, spec, training)
    }

    /// Diagnoses any network, from an engine's evaluation of a data set. The other arguments are those of
    /// [`Diagnosis::new`].
    #[must_use]
    pub fn of(
        data: &Dataset,
        evaluation: &Evaluation,
        activity: Option<&Activity>,
        spec: &Spec,
        training: Option<&Training>,
    ) -> Self {
        let judging = judging(spec, training);
        // A constant prediction of samples with weights is not compared: no number is at least NaN.
        let loss = if data.weights().is_some() { f64::NAN } else { evaluation.loss };
        let Targets::Values { values, outputs } = data.targets() else {
            return Self::new(&evaluation.confusion, loss, activity, spec, training);
        };
        let columns: Vec<Vec<f64>> = (0..*outputs)
            .map(|j| values.iter().skip(j).step_by(*outputs).map(|&value| f64::from(value)).collect())
            .collect();
        let varied = columns.iter().any(|column| column.iter().any(|value| *value != column[0]));
        let guesses: Option<f64> = columns.iter().map(|column| constant_value(column, judging)).sum();
        let mut findings = Vec::new();
        if let Some(guess_loss) = guesses.map(|sum| sum / *outputs as f64)
            && varied
            && loss >= guess_loss - (1.0 - NEAR) * guess_loss.abs()
        {
            let labels = spec.head == Head::MultiLabel;
            let most = |column: &Vec<f64>| f64::max(average(column), 1.0 - average(column));
            let most = columns.iter().map(most).sum::<f64>() / *outputs as f64;
            let (accuracy, guess_accuracy) =
                if labels { (Some(evaluation.confusion.accuracy()), Some(most)) } else { (None, None) };
            findings.push(Finding::Chance { accuracy, guess_accuracy, loss, guess_loss });
        }
        Self::with_units(findings, activity, spec, training)
    }

    fn with_units(
        mut findings: Vec<Finding>,
        activity: Option<&Activity>,
        spec: &Spec,
        training: Option<&Training>,
    ) -> Self {
        let learned = !findings.iter().any(Finding::is_nothing);
        // In a run that learned, only layers that are almost lost; otherwise, every layer that might be the reason.
        let least = if learned { MOST } else { 0.25 };
        let layers = activity.map_or(&[][..], |activity| &activity.layers).iter().enumerate();
        findings.extend(
            layers
                .filter(|(_, layer)| layer.stuck as f64 >= least * layer.units as f64)
                .map(|(l, &activity)| Finding::Stuck { layer: l + 1, activity }),
        );
        let advice = if findings.is_empty() { Vec::new() } else { advice(&findings, spec, training) };
        Self { findings, advice }
    }

    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the network is no better than one that ignores its input.
    #[must_use]
    pub fn learned_nothing(&self) -> bool {
        self.findings.iter().any(Finding::is_nothing)
    }
}

impl Finding {
    /// Whether it means that nothing was learned.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::OneClass { .. } | Self::Chance { .. })
    }
}

/// What the loss of a training computes. If the training is not known, the head's own loss.
fn judging(spec: &Spec, training: Option<&Training>) -> Judging {
    let own = Judging::own(spec.head);
    training.map_or(own, |training| training.loss.judging(spec.head).unwrap_or(own))
}

/// The loss of the best constant prediction of classes with these shares: the entropy of what it predicts.
fn constant_class(shares: &[f64], judging: Judging) -> f64 {
    match judging {
        Judging::Classes { smoothing } => {
            let smoothed = |share: &f64| (1.0 - smoothing) * share + smoothing / shares.len() as f64;
            shares.iter().map(smoothed).filter(|&share| share > 0.0).map(|share| -share * Number::log(share)).sum()
        }
        // Of one output, for classes 0 and 1.
        Judging::Each(..) | Judging::Gaussian => constant_label(shares.last().copied().unwrap_or(0.0), judging),
    }
}

/// The same for a label of which this share is 1.
fn constant_label(ones: f64, judging: Judging) -> f64 {
    let weight = if let Judging::Each(Distance::Binary, weight) = judging { weight } else { 1.0 };
    let parts = [weight * ones, 1.0 - ones];
    let total: f64 = parts.iter().sum();
    parts.iter().filter(|&&part| part > 0.0).map(|&part| -part * Number::log(part / total)).sum()
}

/// The loss of the best constant prediction of some values. `None` if there is no formula for it.
fn constant_value(values: &[f64], judging: Judging) -> Option<f64> {
    let mean = average(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean) * (value - mean)).collect();
    let variance = average(&squares);
    // The mean pinball loss of the q-quantile.
    let quantile = |q: f64| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let z = sorted[((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
        average(&sorted.iter().map(|&t| Distance::Quantile.add(0.0, z, t, q)).collect::<Vec<f64>>())
    };
    Some(match judging {
        Judging::Each(Distance::Squared, _) => variance,
        Judging::Each(Distance::Absolute, _) => 2.0 * quantile(0.5),
        Judging::Each(Distance::Quantile, q) => quantile(q),
        Judging::Each(Distance::Poisson, _) if mean == 0.0 => 0.0,
        Judging::Each(Distance::Poisson, _) => mean - mean * Number::log(mean),
        Judging::Each(Distance::Binary, _) => constant_label(mean, judging),
        Judging::Gaussian => {
            let v = variance.max(1e-6);
            0.5 * (Number::log(v) + variance / v)
        }
        Judging::Each(Distance::Huber | Distance::SmoothL1, _) | Judging::Classes { .. } => return None,
    })
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What to try, the most likely remedy first.
fn advice(findings: &[Finding], spec: &Spec, training: Option<&Training>) -> Vec<String> {
    let init = training.map(|training| training.init);
    if let Some(init @ (Init::Zeros | Init::Constant { .. })) = init
        && spec.layers.len() > 1
    {
        return vec![format!(
            "units that start out equal stay equal (--init {init}); leave --init out, or use he-uniform or xavier-uniform"
        )];
    }
    let rate = training.map(|training| training.learning_rate);
    let flag = |factor: f32, most: f32| {
        rate.map_or(String::new(), |rate| format!(" (--lr {})", short((rate * factor).min(most))))
    };
    let smaller = flag(0.1, 0.1);
    let stuck: Vec<Activation> = findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Stuck { activity, .. } => Some(activity.activation),
            _ => None,
        })
        .collect();
    if stuck.is_empty() {
        let too_sure = findings.iter().any(|finding| matches!(finding, Finding::TooSure { .. }));
        if too_sure || rate.is_some_and(|rate| rate >= 0.5) {
            return vec![format!("try a smaller learning rate{smaller}")];
        }
        let larger = flag(10.0, f32::MAX);
        return vec![format!(
            "try a larger learning rate{larger}, more epochs or a smaller batch; if the loss fluctuates, a smaller \
             rate{smaller}"
        )];
    }
    let mut advice = vec![format!("try a smaller learning rate{smaller}")];
    if stuck.contains(&Activation::Relu) && !matches!(init, Some(Init::HeUniform { .. } | Init::HeNormal { .. })) {
        advice.push("--init he-uniform keeps more ReLU units alive".into());
    }
    if stuck.iter().any(|&activation| activation != Activation::Relu) {
        advice.push(
            "inputs of smaller scale, or --init xavier-uniform, keep sigmoid and tanh units from saturating".into(),
        );
    }
    advice
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        if self.learned_nothing() {
            write!(f, "nothing learned so far: ")?;
        }
        let findings: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        write!(f, "{}", findings.join("; "))?;
        self.advice.iter().try_for_each(|advice| write!(f, "\n{advice}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneClass { class, given, samples } if given == samples => {
                write!(f, "all {} samples are predicted as class {class}", grouped(*samples))
            }
            Self::OneClass { class, given, samples } => {
                write!(f, "{} of {} samples are predicted as class {class}", grouped(*given), grouped(*samples))
            }
            Self::Chance { accuracy: Some(accuracy), guess_accuracy: Some(guess), loss, guess_loss } => write!(
                f,
                "accuracy {:.2} % and loss {} are no clear gain over always predicting the same ({:.2} %, {})",
                100.0 * accuracy,
                number(*loss),
                100.0 * guess,
                number(*guess_loss)
            ),
            Self::TooSure { accuracy, guess_accuracy, loss, guess_loss } => write!(
                f,
                "the network is too sure of wrong predictions: accuracy {:.2} % is better than always predicting the \
                 same ({:.2} %), but loss {} is worse ({})",
                100.0 * accuracy,
                100.0 * guess_accuracy,
                number(*loss),
                number(*guess_loss)
            ),
            Self::Chance { loss, guess_loss, .. } => {
                let (loss, guess) = (number(*loss), number(*guess_loss));
                write!(f, "loss {loss} is no better than always predicting the same ({guess})")
            }
            Self::Stuck { layer, activity: LayerActivity { activation, units, stuck } } => {
                let what = match activation {
                    Activation::Relu => "are 0 for every sample (dead)",
                    _ => "are saturated for every sample",
                };
                write!(f, "{stuck} of the {units} {activation} units of hidden layer {layer} {what}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Inputs;
    use crate::embedding::{Block, Embedding};
    use crate::{Loss, Mlp, State};

    fn spec() -> Spec {
        Mlp::new(4).hidden(&[8], Activation::Relu).classes(10)
    }

    /// 1,000 samples of 10 classes, of which `right` are predicted correctly. The errors are spread over all classes.
    fn confusion(right: usize) -> Confusion {
        let mut confusion = Confusion::new(10);
        (0..1000).for_each(|i| confusion.add(i % 10, if i < right { i % 10 } else { (i + 1 + i / 10 % 9) % 10 }));
        confusion
    }

    fn told(confusion: &Confusion, loss: f64, stuck: usize) -> Diagnosis {
        let layer = LayerActivity { activation: Activation::Relu, units: 8, stuck };
        let activity = Activity { layers: vec![layer], samples: 512 };
        Diagnosis::new(confusion, loss, Some(&activity), &spec(), Some(&Training::default()))
    }

    #[test]
    fn units_behind_embedded_inputs_are_judged_by_these() {
        let mut spec = Mlp::new(2).hidden(&[2], Activation::Relu).classes(2);
        let blocks = vec![Block::Plain { features: 1 }, Block::Category { features: 1, size: 1 }];
        spec.input.embedding = Some(Embedding { blocks, scaled: true });
        let mut state = State::initial(&spec, &Training::default()).unwrap();
        // The first unit sees the number times −1, which is never above 0; the second one the vector, 3, times 1.
        state.embedding = vec![vec![3.0], vec![-1.0, 1.0]];
        state.layers[0].weight.values_mut().copy_from_slice(&[1.0, 0.0, 0.0, 1.0]);
        state.layers[0].bias.fill(0.0);
        let inputs = Inputs::F32((0..200).flat_map(|i| [i as f32, 1.0]).collect::<Vec<_>>().into());
        let targets = Targets::Classes { labels: (0..200).map(|i| i % 2).collect(), classes: 2 };
        let data = Dataset::new(inputs, 2, targets).unwrap();
        assert_eq!(Activity::of(&Model::new(spec, state), &data).unwrap().layers[0].stuck, 1);
    }

    #[test]
    fn runs_that_learn_are_told_nothing() {
        // The chapter's network after its first epoch: 19 %, loss 2.2666, where guessing gets 2.3026.
        assert_eq!(told(&confusion(190), 2.2666, 0), Diagnosis::default());
        assert_eq!(told(&confusion(980), 0.07, 3), Diagnosis::default());
        // Confident and often wrong, but not guessing.
        assert_eq!(told(&confusion(600), 5.0, 0), Diagnosis::default());
    }

    #[test]
    fn chance_is_told_with_what_guessing_gets() {
        for (right, loss) in [(100, 2.31), (120, 2.30)] {
            let text = told(&confusion(right), loss, 0).to_string();
            assert!(text.contains("nothing learned so far") && text.contains("(10.00 %, 2.3026)"), "{text}");
            assert!(text.contains("--lr 0.1") && text.contains("--lr 0.001"), "{text}");
        }
    }

    /// A step that is too large makes the loss worse than guessing, although the network has learned something.
    #[test]
    fn a_loss_worse_than_guessing_is_not_nothing_learned_if_the_accuracy_is_better() {
        let found = told(&confusion(304), 2.84, 3);
        assert!(!found.learned_nothing(), "{found}");
        let says = "too sure of wrong predictions: accuracy 30.40 % is better than always predicting the same (10.00 \
                    %), but loss 2.8400 is worse (2.3026)\ntry a smaller learning rate (--lr 0.001)";
        assert!(found.to_string().ends_with(says), "{found}");
        // A loss that is better than guessing is not nothing either, even if the accuracy does not show it yet.
        assert!(told(&confusion(110), 2.28, 0).is_empty());
    }

    #[test]
    fn dead_units_are_the_reason_where_nothing_was_learned() {
        let text = told(&confusion(100), 2.31, 6).to_string();
        assert!(text.contains("6 of the 8 relu units of hidden layer 1 are 0 for every sample (dead)"), "{text}");
        assert!(text.contains("smaller learning rate (--lr 0.001)") && text.contains("he-uniform"), "{text}");
        // Also reported if much was learned.
        let found = told(&confusion(980), 0.07, 8);
        assert!(!found.learned_nothing() && found.to_string().starts_with("8 of the 8 relu units"), "{found}");
    }

    #[test]
    fn one_class_of_a_lopsided_set_is_told_and_a_good_reading_of_it_is_not() {
        let mut confusion = Confusion::new(2);
        (0..1000).for_each(|i| confusion.add(usize::from(i < 10), 0));
        let found = told(&confusion, 0.05, 0);
        assert_eq!(found.findings, [Finding::OneClass { class: 0, given: 1000, samples: 1000 }]);
        let mut confusion = Confusion::new(2);
        (0..1000).for_each(|i| confusion.add(usize::from(i < 10), usize::from(i < 7)));
        assert!(told(&confusion, 0.02, 0).is_empty());
        // With one class there is nothing to tell apart.
        let mut confusion = Confusion::new(2);
        (0..10).for_each(|_| confusion.add(1, 1));
        assert!(told(&confusion, 0.0, 0).is_empty());
    }

    #[test]
    fn weights_that_begin_alike_are_named() {
        let training = Training::default().init(Init::Zeros);
        let text = Diagnosis::new(&confusion(100), 2.303, None, &spec(), Some(&training)).to_string();
        assert!(text.contains("start out equal stay equal (--init zeros)"), "{text}");
    }

    #[test]
    fn values_are_compared_with_a_constant() {
        let values = vec![0.0, 2.0, 4.0, 2.0];
        let data = Inputs::F32(vec![0.0; 4].into());
        let data = Dataset::new(data, 1, Targets::Values { values: values.into(), outputs: 1 }).unwrap();
        let spec = Mlp::new(1).values(1);
        let evaluation = |loss| Evaluation { loss, ..Evaluation::default() };
        let told = |loss| Diagnosis::of(&data, &evaluation(loss), None, &spec, Some(&Training::default()));
        assert!(told(1.0).is_empty());
        assert!(told(2.0).to_string().contains("the same (2.0000)"), "{}", told(2.0));
    }

    /// No other constant is better than the one that is compared with.
    #[test]
    fn the_best_constant_has_the_least_loss() {
        let values = [0.0, 1.0, 3.0, 1.0, 7.0, 2.0, 0.0];
        for loss in ["mse", "mae", "quantile:q=0.8", "poisson", "huber"] {
            let loss: Loss = loss.parse().unwrap();
            let head = if loss == Loss::Poisson { Head::Poisson } else { Head::Regression };
            let judging = loss.judging(head).unwrap();
            let Judging::Each(distance, p) = judging else { panic!("{loss} is of each output") };
            let of = |z: f64| values.iter().fold(0.0, |sum, &t| distance.add(sum, z, t, p)) / values.len() as f64;
            let least = (-4000..8000).map(|i| of(f64::from(i) * 1e-3)).fold(f64::INFINITY, f64::min);
            match constant_value(&values, judging) {
                Some(guess) => assert!((guess - least).abs() < 1e-5, "{loss}: {guess}, {least}"),
                None => assert!(matches!(distance, Distance::Huber)),
            }
        }
        let labels = [0.0, 1.0, 1.0, 1.0];
        for p in [1.0, 3.0] {
            let of = |z: f64| labels.iter().fold(0.0, |sum, &t| Distance::Binary.add(sum, z, t, p)) / 4.0;
            let least = (-8000..8000).map(|i| of(f64::from(i) * 1e-3)).fold(f64::INFINITY, f64::min);
            let guess = constant_value(&labels, Judging::Each(Distance::Binary, p)).unwrap();
            assert!((guess - least).abs() < 1e-5, "{p}: {guess}, {least}");
            assert_eq!(constant_class(&[0.25, 0.75], Judging::Each(Distance::Binary, p)), guess);
        }
        let smoothed = constant_class(&[0.5, 0.5, 0.0], Judging::Classes { smoothing: 0.3 });
        assert!(smoothed > constant_class(&[0.5, 0.5, 0.0], Judging::Classes { smoothing: 0.0 }));
    }
}
