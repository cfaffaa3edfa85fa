//! Several networks that predict together: the mean of what they predict.

use std::sync::Arc;

use crate::arithmetic::Number;
use crate::data::{Dataset, Inputs, Split};
use crate::engine::{DeviceId, Engine, Evaluation, Report, Session, Span};
use crate::model::Model;
use crate::predictions::probabilities;
use crate::reference::Network;
use crate::spec::{Head, Spec};
use crate::state::{Matrix, Parameters, State};
use crate::training::Training;
use crate::weighting::Weighting;
use crate::{Error, Result};

impl Model {
    /// A session with the model's weights, to predict and to evaluate. A model of several networks is one session.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open(&self, engine: &dyn Engine, device: &DeviceId, training: &Training) -> Result<Box<dyn Session>> {
        let mut session = engine.open(device, &self.spec, training)?;
        session.set_state(&self.state)?;
        if self.members.is_empty() {
            return Ok(session);
        }
        let states = [&self.state].into_iter().chain(&self.members).cloned().collect();
        let (spec, training) = (self.spec.clone(), training.clone());
        Ok(Box::new(Committee { session, spec, training, states, data: [None, None] }))
    }

    /// A model of several networks of one kind, whose predictions are averaged: probabilities of classes and labels, numbers,
    /// rates.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
    /// let spec = Mlp::new(4).hidden(&[8], Relu).classes(3);
    /// let of = |seed| Ok::<_, syva_core::Error>(Model::new(spec.clone(), State::initial(&spec, &Training::default().seed(seed))?));
    /// let model = Model::of_several([of(1)?, of(2)?])?;
    /// assert_eq!(model.members.len(), 1);
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are none, if they differ in more than their weights, or if they predict distributions.
    pub fn of_several(models: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut models = models.into_iter();
        let Some(mut first) = models.next() else {
            return Err(Error::mismatch("there are no networks", "give at least one"));
        };
        if first.spec.head == Head::Gaussian {
            let problem = "predicted distributions cannot be averaged";
            return Err(Error::mismatch(problem, "use another head, or a single network"));
        }
        for model in models {
            if model.spec != first.spec {
                let problem = "the networks differ in more than their weights";
                return Err(Error::mismatch(problem, "take networks of the same settings and the same data"));
            }
            first.members.push(model.state);
            first.members.extend(model.members);
        }
        Ok(first)
    }
}

/// The outputs of several networks for the same samples, as [`Session::predict`] leaves them, made one: outputs whose
/// predictions are the means of theirs.
///
/// # Panics
/// If there are none, or they are not of one size.
#[must_use]
pub fn averaged_outputs(head: Head, outputs: &[&[f32]], each: usize) -> Vec<f32> {
    let count = outputs.len() as f64;
    let mut averaged = Vec::with_capacity(outputs[0].len());
    for row in 0..outputs[0].len() / each {
        let rows = || outputs.iter().map(|outputs| &outputs[row * each..(row + 1) * each]);
        match head {
            Head::Regression | Head::Poisson | Head::Gaussian => {
                let mean = |k: usize| rows().map(|row| f64::from(row[k])).sum::<f64>() / count;
                averaged.extend((0..each).map(|k| mean(k) as f32));
            }
            Head::Binary | Head::MultiLabel => {
                for k in 0..each {
                    let one = |row: &[f32]| 1.0 / (1.0 + Number::exp(-f64::from(row[k])));
                    let p = rows().map(one).sum::<f64>() / count;
                    averaged.push((Number::log(p) - Number::log(1.0 - p)) as f32);
                }
            }
            Head::Logits | Head::LogSoftmax => {
                let mut sums = vec![0.0; each];
                for row in rows() {
                    sums.iter_mut().zip(probabilities(head, row)).for_each(|(sum, p)| *sum += p);
                }
                // The logarithms of probabilities are logits of these, and no longer too small for 32 bits.
                averaged.extend(sums.iter().map(|&sum| Number::log((sum / count).max(f64::MIN_POSITIVE)) as f32));
            }
        }
    }
    // A label that every network is sure of.
    for z in &mut averaged {
        *z = z.clamp(f32::MIN, f32::MAX);
    }
    averaged
}

/// Several networks as one session.
struct Committee {
    /// In which one after the other predicts.
    session: Box<dyn Session>,
    spec: Spec,
    training: Training,
    states: Vec<State>,
    data: [Option<Arc<Dataset>>; 2],
}

impl Committee {
    fn cannot<T>() -> Result<T> {
        let problem = "a model of several networks only predicts";
        Err(Error::mismatch(problem, "train its networks one by one"))
    }
}

impl Session for Committee {
    fn load(&mut self, split: Split, data: &Dataset) -> Result<()> {
        data.check(&self.spec)?;
        self.data[split as usize] = Some(Arc::new(data.clone()));
        Ok(())
    }

    fn set_state(&mut self, _: &State) -> Result<()> {
        Self::cannot()
    }

    fn state(&mut self) -> Result<State> {
        Self::cannot()
    }

    fn train(&mut self, _: &Span<'_>) -> Result<Report> {
        Self::cannot()
    }

    fn gradient(&mut self, _: &[u32]) -> Result<Vec<Parameters>> {
        Self::cannot()
    }

    fn evaluate(&mut self, split: Split) -> Result<Evaluation> {
        let Some(data) = self.data[split as usize].clone() else {
            return Err(Error::mismatch("the session has no data", "call load first"));
        };
        // Losses are those of the networks' common outputs, as rule 7 has them.
        let judge = Network::<f32>::new(&self.spec, &self.training, &self.states[0]);
        let weighting = Weighting::of_evaluation(&data);
        let (samples, each) = (data.samples(), self.spec.outputs());
        let mut confusion = self.spec.confusion();
        let mut sum = 0.0;
        let mut z = Matrix::zeros(samples, each);
        self.predict(data.inputs(), &mut z)?;
        if self.spec.head == Head::Poisson {
            z.values_mut().iter_mut().for_each(|rate| *rate = Number::log(*rate));
        }
        for (block, z) in z.values().chunks(512 * each).enumerate() {
            let first = 512 * block;
            let of_rows: Vec<u32> = (first as u32..(first + z.len() / each) as u32).collect();
            let judged = judge.judge(z, data.targets(), &of_rows, &Weighting::default());
            sum = weighting.add(sum, &judged.losses, first);
            confusion.tally(data.targets(), of_rows.iter().map(|&sample| sample as usize).zip(judged.guesses));
        }
        Ok(Evaluation { loss: sum / weighting.total(samples), confusion })
    }

    fn predict(&mut self, inputs: &Inputs, outputs: &mut Matrix) -> Result<()> {
        let mut found = Vec::new();
        for state in &self.states {
            self.session.set_state(state)?;
            self.session.predict(inputs, outputs)?;
            found.push(outputs.values().to_vec());
        }
        let of_all: Vec<&[f32]> = found.iter().map(Vec::as_slice).collect();
        let averaged = averaged_outputs(self.spec.head, &of_all, self.spec.outputs());
        outputs.values_mut().copy_from_slice(&averaged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;
    use crate::random::{Random, Stream};
    use crate::reference::Reference;
    use crate::{Activation, Mlp};

    fn several(spec: &Spec) -> Vec<Model> {
        let of = |seed| Model::new(spec.clone(), State::initial(spec, &Training::default().seed(seed)).unwrap());
        [1, 2, 3].map(of).into()
    }

    #[test]
    fn predictions_of_several_are_the_mean_of_theirs() {
        let mlp = || Mlp::new(3).hidden(&[6], Activation::Tanh);
        let mut random = Random::new(5, Stream::Augmentation, 0);
        let inputs: Vec<f32> = (0..30).map(|_| random.uniform(-2.0, 2.0)).collect();
        for spec in [
            mlp().classes(4),
            Spec { head: Head::LogSoftmax, ..mlp().classes(3) },
            mlp().binary(),
            mlp().labels(2),
            mlp().values(2),
            mlp().counts(1),
        ] {
            let (head, each) = (spec.head, spec.outputs());
            let models = several(&spec);
            let together = Model::of_several(models.clone()).unwrap();
            let again = Model::from_bytes(&together.to_bytes().unwrap(), "m").unwrap();
            assert_eq!(again.digest(), together.digest());
            assert_ne!(again.digest(), models[0].digest());
            let predicted = |model: &Model| {
                let device = &Reference.devices()[0].id;
                let mut session = model.open(&Reference, device, &Training::default()).unwrap();
                let mut outputs = Matrix::zeros(10, each);
                session.predict(&inputs.clone().into(), &mut outputs).unwrap();
                let read = |row: usize| match head {
                    Head::Regression | Head::Poisson | Head::Gaussian => {
                        outputs.row(row).iter().map(|&y| f64::from(y)).collect()
                    }
                    _ => probabilities(head, outputs.row(row)),
                };
                (0..10).flat_map(read).collect::<Vec<f64>>()
            };
            let found = predicted(&again);
            let of_each: Vec<Vec<f64>> = models.iter().map(predicted).collect();
            for (i, found) in found.into_iter().enumerate() {
                let mean = of_each.iter().map(|of| of[i]).sum::<f64>() / 3.0;
                assert!((found - mean).abs() < 1e-6, "{head}, value {i}: {found}, {mean}");
            }
        }
    }

    #[test]
    fn the_loss_of_several_is_that_of_their_common_probabilities() {
        let spec = Mlp::new(2).hidden(&[5], Activation::Relu).classes(2);
        let together = Model::of_several(several(&spec)).unwrap();
        let inputs: Vec<f32> = (0..1200).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let labels: Vec<u32> = (0..600).map(|i| (i % 3 == 0).into()).collect();
        let targets = Targets::Classes { labels: labels.clone().into(), classes: 2 };
        let data = Dataset::new(Inputs::F32(inputs.into()), 2, targets).unwrap();
        let mut session = together.open(&Reference, &Reference.devices()[0].id, &Training::default()).unwrap();
        session.load(Split::Validation, &data).unwrap();
        let evaluation = session.evaluate(Split::Validation).unwrap();
        let predictions = crate::Predictions::of(session.as_mut(), &spec, &data).unwrap();
        let wanted =
            (0..600).map(|i| -Number::log(predictions.probabilities(i)[labels[i] as usize])).sum::<f64>() / 600.0;
        assert!((evaluation.loss - wanted).abs() < 1e-6, "{} {wanted}", evaluation.loss);
        assert_eq!(evaluation.confusion, predictions.confusion());
        assert!(session.train(&Span::default()).is_err());
    }

    #[test]
    fn networks_that_differ_are_refused() {
        let of = |units| several(&Mlp::new(2).hidden(&[units], Activation::Relu).classes(2)).swap_remove(0);
        let error = Model::of_several([of(3), of(4)]).unwrap_err().to_string();
        assert!(error.contains("differ in more than their weights"), "{error}");
        assert!(Model::of_several([]).is_err());
        let gaussian = several(&Mlp::new(2).gaussian(1));
        assert!(Model::of_several(gaussian).unwrap_err().to_string().contains("distributions"));
    }
}
