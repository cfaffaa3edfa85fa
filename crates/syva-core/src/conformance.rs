//! The conformance kit: compares any engine with the reference, bit by bit.
//!
//! An engine's tests call [`run`] for each of [`cases`], [`loss_cases`], [`optimizer_cases`], [`regularised_cases`] and
//! [`learned_cases`]. The first cover awkward widths and batches, every activation, head, kind of input and normalisation, many
//! outputs, batches of several blocks, and smaller last batches. A case predicts into poisoned memory, trains one step at a time, trains the same steps in one span, evaluates, asks for gradients, goes on from there or stops,
//! and predicts again. It compares every number by its bits.
//!
//! The tests also call [`operands`], which finds multiply-adds that are rounded twice, and [`activations`], which runs many
//! values through every activation. An engine that is only close is
//! checked by [`measure`]. [`mutants`] are engines that are wrong on purpose, each in one way that is an easy mistake.
//! A kit that passes one of them is broken.

mod activations;
mod cases;
mod close;
mod mutants;
mod operands;
mod random;
mod tables;
pub(crate) mod triples;

use crate::data::Split;
use crate::engine::{DeviceId, Engine, Evaluation, Flow, Report, Session, Span};
use crate::random::permutation;
use crate::reference::Reference;
use crate::schedule::Schedule;
use crate::state::{Matrix, State};
use crate::{Error, Result};

pub use activations::activations;
pub use cases::{Case, cases, learned_cases, loss_cases, optimizer_cases, regularised_cases};
pub use close::{CLOSE, Deviation, close_share, measure, smooth};
pub use mutants::{Fault, IGNORED, Mutant, mutants};
pub use operands::operands;
pub use random::random;
pub use tables::{losses, rules};

/// Runs a case on a device and on the reference. `Err` names the first number that differs.
pub fn run(engine: &dyn Engine, device: &DeviceId, case: &Case) -> std::result::Result<(), String> {
    let initial = State::initial(&case.spec, &case.training).map_err(|error| format!("{}: {error}", case.name))?;
    run_from(engine, device, case, &initial)
}

/// Runs a case from a given state.
fn run_from(engine: &dyn Engine, device: &DeviceId, case: &Case, initial: &State) -> std::result::Result<(), String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let open = |engine: &dyn Engine| -> Result<Box<dyn Session>> {
        let mut session = engine.open(device, &case.spec, &case.training)?;
        session.load(Split::Train, &case.train)?;
        session.load(Split::Validation, &case.validation)?;
        session.set_state(initial)?;
        Ok(session)
    };
    let mut reference = open(&Reference).map_err(fail)?;
    let mut single = open(engine).map_err(fail)?;
    same_predictions("before training", case, reference.as_mut(), single.as_mut())?;
    let order = permutation(case.training.seed, 0, case.train.samples());
    let rates: Vec<f32> =
        order.chunks(case.training.batch_size).enumerate().map(|(i, _)| 0.1 / (i as f32 + 1.0)).collect();
    let factors = |schedule: &Schedule| -> Vec<f32> {
        let all = if *schedule == Schedule::CONSTANT { 0 } else { rates.len() };
        (0..all).map(|step| schedule.rate(1.0, step as u64, rates.len())).collect()
    };
    let (decay, dropout) = (factors(&case.training.decay_schedule), factors(&case.training.dropout_schedule));
    let of = |factors: &'_ [f32], step: usize| if factors.is_empty() { 0..0 } else { step..step + 1 };

    // One step at a time, comparing the state and the report after each.
    for (step, samples) in order.chunks(case.training.batch_size).enumerate() {
        let span = Span {
            first_step: step as u64,
            order: samples,
            batch_size: case.training.batch_size,
            learning_rate: &rates[step..=step],
            decay: &decay[of(&decay, step)],
            dropout: &dropout[of(&dropout, step)],
        };
        let wanted = reference.train(&span).map_err(fail)?;
        let found = single.train(&span).map_err(fail)?;
        let place = format!("{}: step {step}", case.name);
        same_report(&place, &wanted, &found)?;
        same_state(&place, &reference.state().map_err(fail)?, &single.state().map_err(fail)?)?;
    }

    // All steps in one span, on a fresh session. Then the same session is used again from another state.
    let mut whole = open(engine).map_err(fail)?;
    let span = Span {
        first_step: 0,
        order: &order,
        batch_size: case.training.batch_size,
        learning_rate: &rates,
        decay: &decay,
        dropout: &dropout,
    };
    for round in 1..=2 {
        whole.set_state(initial).map_err(fail)?;
        whole.train(&span).map_err(fail)?;
        let place = format!("{}: one span, round {round}", case.name);
        same_state(&place, &reference.state().map_err(fail)?, &whole.state().map_err(fail)?)?;
    }

    for split in [Split::Train, Split::Validation] {
        let wanted = reference.evaluate(split).map_err(fail)?;
        let found = whole.evaluate(split).map_err(fail)?;
        same_evaluation(&format!("{}: evaluate {split:?}", case.name), &wanted, &found)?;
    }
    same_gradients(case, &order, reference.as_mut(), whole.as_mut())?;
    same_turns(case, &span, reference.as_mut(), whole.as_mut())?;
    same_predictions("at last", case, reference.as_mut(), whole.as_mut())
}

/// Compares the gradients over a batch. They leave the state as it is.
fn same_gradients(
    case: &Case,
    order: &[u32],
    reference: &mut dyn Session,
    session: &mut dyn Session,
) -> std::result::Result<(), String> {
    let fail = |error: Error| format!("{}: gradient: {error}", case.name);
    let samples = &order[..case.training.batch_size];
    let [wanted, found] = [reference.gradient(samples).map_err(fail)?, session.gradient(samples).map_err(fail)?];
    let place = format!("{}: gradient", case.name);
    let state = |layers| State { step: 0, embedding: Vec::new(), layers, slots: Vec::new() };
    same_state(&place, &state(wanted), &state(found))?;
    same_state(&place, &reference.state().map_err(fail)?, &session.state().map_err(fail)?)
}

/// Evaluates and trains in one call, three times in a row: the callback says stop, says continue, and fails.
fn same_turns(
    case: &Case,
    span: &Span<'_>,
    reference: &mut dyn Session,
    session: &mut dyn Session,
) -> std::result::Result<(), String> {
    let fail = |error: Error| format!("{}: {error}", case.name);
    let failure = || Error::mismatch("the span is not wanted", "leave it out");
    for (turn, flow) in [Ok(Flow::Stop), Ok(Flow::Continue), Err(())].into_iter().enumerate() {
        let place = format!("{}: turn {turn}", case.name);
        let before = reference.state().map_err(fail)?;
        let span = Span { first_step: before.step, ..*span };
        let wanted = reference.evaluate(Split::Validation).map_err(fail)?;
        let mut judged = None;
        let found = session.evaluate_then_train(Split::Validation, &span, &mut |evaluation, state| {
            judged = Some((evaluation, state()?));
            flow.map_err(|()| failure())
        });
        let (evaluation, state) = judged.ok_or_else(|| format!("{place}: the callback was not called"))?;
        same_evaluation(&place, &wanted, &evaluation)?;
        same_state(&format!("{place}, judged"), &before, &state)?;
        match (flow, found) {
            (Ok(Flow::Continue), Ok(Some(found))) => {
                same_report(&place, &reference.train(&span).map_err(fail)?, &found)?;
            }
            (Ok(Flow::Stop), Ok(None)) => {}
            (Err(()), Err(error)) if error.to_string() == failure().to_string() => {}
            (_, found) => return Err(format!("{place}: {found:?} when told {flow:?}")),
        }
        same_state(&place, &reference.state().map_err(fail)?, &session.state().map_err(fail)?)?;
    }
    Ok(())
}

/// Predicts 1, then 7 samples into memory poisoned with NaN.
fn same_predictions(
    when: &str,
    case: &Case,
    reference: &mut dyn Session,
    session: &mut dyn Session,
) -> std::result::Result<(), String> {
    let features = case.spec.input.features;
    let poison = |rows| {
        let outputs = case.spec.outputs();
        Matrix::new(rows, outputs, vec![f32::from_bits(0x7fc0_dead); rows * outputs])
    };
    for rows in [1, 7] {
        let rows = rows.min(case.validation.samples());
        let values = (0..rows * features).map(|i| case.validation.inputs().get(i)).collect();
        let compute = |session: &mut dyn Session| -> Result<Matrix> {
            let mut outputs = poison(rows)?;
            session.predict(&Vec::clone(&values).into(), &mut outputs)?;
            Ok(outputs)
        };
        let place = format!("{}: prediction of {rows} {when}", case.name);
        let fail = |error: Error| format!("{place}: {error}");
        let (wanted, found) = (compute(reference).map_err(fail)?, compute(session).map_err(fail)?);
        same_bits(&place, wanted.values(), found.values())?;
    }
    Ok(())
}

/// `Ok` when all bits agree and no value is NaN.
fn same_bits(place: &str, wanted: &[f32], found: &[f32]) -> std::result::Result<(), String> {
    if wanted.len() != found.len() {
        return Err(format!("{place}: {} values instead of {}", found.len(), wanted.len()));
    }
    for (i, (w, f)) in wanted.iter().zip(found).enumerate() {
        if w.to_bits() != f.to_bits() || f.is_nan() {
            return Err(format!(
                "{place}, value {i}: {f:?} ({:#x}) instead of {w:?} ({:#x})",
                f.to_bits(),
                w.to_bits()
            ));
        }
    }
    Ok(())
}

/// `Ok` when two states are equal to the bit.
pub fn same_state(place: &str, wanted: &State, found: &State) -> std::result::Result<(), String> {
    if wanted.step != found.step || wanted.layers.len() != found.layers.len() {
        return Err(format!("{place}: at step {} instead of {}", found.step, wanted.step));
    }
    for (l, (w, f)) in wanted.layers.iter().zip(&found.layers).enumerate() {
        same_bits(&format!("{place}, layer {l} weight"), w.weight.values(), f.weight.values())?;
        same_bits(&format!("{place}, layer {l} bias"), &w.bias, &f.bias)?;
        same_bits(&format!("{place}, layer {l} gains"), &w.gain, &f.gain)?;
    }
    let same_tensors = |what: &str, wanted: &[Vec<f32>], found: &[Vec<f32>]| {
        let mut tensors = wanted.iter().zip(found).enumerate();
        tensors.try_for_each(|(t, (w, f))| same_bits(&format!("{place}{what}, tensor {t} of the embedding"), w, f))
    };
    same_tensors("", &wanted.embedding, &found.embedding)?;
    let names = |state: &State| state.slots.iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
    if names(wanted) != names(found) {
        return Err(format!("{place}: slots {:?} instead of {:?}", names(found), names(wanted)));
    }
    for (wanted, found) in wanted.slots.iter().zip(&found.slots) {
        same_tensors(&format!(", {}", wanted.name), &wanted.embedding, &found.embedding)?;
        for (l, (w, f)) in wanted.layers.iter().zip(&found.layers).enumerate() {
            let place = format!("{place}, {} of layer {l}", wanted.name);
            same_bits(&place, w.weight.values(), f.weight.values())?;
            same_bits(&place, &w.bias, &f.bias)?;
            same_bits(&place, &w.gain, &f.gain)?;
        }
    }
    Ok(())
}

fn same_report(place: &str, wanted: &Report, found: &Report) -> std::result::Result<(), String> {
    let bits = |report: &Report| report.losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
    if bits(wanted) != bits(found) || wanted.losses.iter().any(|loss| loss.is_nan()) {
        return Err(format!("{place}: losses {:?} instead of {:?}", found.losses, wanted.losses));
    }
    let rest = |report: &Report| (report.hits.clone(), report.tally.clone(), report.first_non_finite);
    if rest(wanted) != rest(found) {
        return Err(format!("{place}: {found:?} instead of {wanted:?}"));
    }
    Ok(())
}

fn same_evaluation(place: &str, wanted: &Evaluation, found: &Evaluation) -> std::result::Result<(), String> {
    if wanted.loss.to_bits() != found.loss.to_bits() || found.loss.is_nan() {
        return Err(format!("{place}: loss {:?} instead of {:?}", found.loss, wanted.loss));
    }
    if wanted.confusion != found.confusion {
        return Err(format!("{place}: {:?} instead of {:?}", found.confusion, wanted.confusion));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::close::apart;
    use super::*;
    use crate::engine::Precision;
    use crate::ops::{Activation, Judging};
    use crate::reference::BLOCK;
    use crate::weighting::ClassWeights;

    fn device() -> DeviceId {
        DeviceId { engine: "reference".into(), index: 0 }
    }

    #[test]
    fn the_reference_conforms_to_itself() {
        for case in cases().iter().filter(|case| case.spec.parameters() < 20_000) {
            run(&Reference, &device(), case).unwrap();
        }
    }

    #[test]
    fn operands_tell_who_rounds_twice() {
        operands(&Reference, &device()).unwrap();
        let said = operands(&Mutant(Fault::RoundedTwice), &device()).unwrap_err();
        assert!(said.contains("in the first layer"), "{said}");
        // Only the steps on tiny numbers have sums whose order shows.
        let said = operands(&Mutant(Fault::SwappedOrder), &device()).unwrap_err();
        assert!(said.contains("on tiny numbers"), "{said}");
    }

    #[test]
    fn what_is_close_is_told_from_what_is_wrong() {
        for case in cases().iter().filter(|case| case.training.batch_size == 96 && case.spec.parameters() < 20_000) {
            let of = |engine: &dyn Engine| measure(engine, &device(), case, Precision::F32);
            assert_eq!(of(&Reference).unwrap().ulp, 0.0);
            assert!(of(&Mutant(Fault::NotANumber)).is_err());
            // Another order of the same sums still counts as close.
            assert!(of(&Mutant(Fault::SwappedOrder)).is_ok());
            let alive = case.spec.layers[0].activation != Activation::Relu || case.spec.layers[0].units > 10;
            if alive {
                assert!(of(&Mutant(Fault::FlippedSign)).is_err(), "{}", case.name);
            }
            // An engine that rounds factors is allowed more, but not this.
            let rounded = |engine: &dyn Engine| measure(engine, &device(), case, Precision::Bf16);
            assert_eq!(rounded(&Reference).unwrap().share, 0.0);
            assert!(rounded(&Mutant(Fault::NotANumber)).is_err());
            assert!(!alive || rounded(&Mutant(Fault::FlippedSign)).is_err(), "{}", case.name);
        }
        let ulp = |wanted: &[f32], found: &[f32]| apart(wanted, found, &[0.0, 0.0]).ulp;
        assert!(ulp(&[1.0, 2.0], &[f32::NAN, 2.0]).is_nan() && ulp(&[1.0], &[]).is_nan());
        assert_eq!(ulp(&[-2.0, 1.0], &[-2.0, 1.0_f32.next_up()]), 0.5);
        assert_eq!(apart(&[4.0, 1.0], &[4.0, 1.5], &[2.0, 1.0]).share, 0.25);
        assert_eq!(apart(&[4.0, 1.0], &[4.0, 1.0], &[4.0, 1.0]).share, 0.0);
    }

    #[test]
    fn the_reference_conforms_to_itself_with_every_loss() {
        for case in loss_cases() {
            run(&Reference, &device(), &case).unwrap();
        }
    }

    #[test]
    fn mutants_that_ignore_a_loss_or_weights_are_rejected() {
        for case in loss_cases() {
            let own = case.training.loss.judging(case.spec.head).unwrap() == Judging::own(case.spec.head);
            let of_classes = case.training.class_weights != ClassWeights::None;
            // Weights of the classes are those of one sample, which cancel in a batch of one.
            let weighs = case.train.weights().is_some() || of_classes && case.training.batch_size > 1;
            for (fault, shows) in [(Fault::OtherLoss, !own), (Fault::NoWeights, weighs)] {
                let said = run(&Mutant(fault), &device(), &case);
                assert_eq!(said.is_err(), shows, "{fault:?}: {} {said:?}", case.name);
            }
        }
    }

    #[test]
    fn mutants_that_ignore_a_setting_are_rejected() {
        let cases: Vec<Case> = [optimizer_cases(), regularised_cases(), learned_cases()].concat();
        let small = || cases.iter().filter(|case| case.spec.parameters() < 20_000);
        for (setting, (name, reset)) in IGNORED.iter().enumerate() {
            let mut rejected = 0;
            for case in small() {
                let mut training = case.training.clone();
                reset(&mut training);
                // Some bounds are never reached, and without decay its factors do not matter.
                let can_show = match *name {
                    "clip_norm" => case.training.clip_norm < 1e6,
                    "decay_factors" => case.training.optimizer.to_string().contains("decay"),
                    "parametrization" => case.spec.layers.len() > 1,
                    _ => true,
                };
                if training != case.training && can_show {
                    assert!(run(&Mutant(Fault::Ignores(setting)), &device(), case).is_err(), "{name}: {}", case.name);
                    rejected += 1;
                }
            }
            assert!(rejected > 0, "no case shows {name}");
        }
        let scheduled = |case: &&Case| case.training.dropout_schedule != Schedule::CONSTANT;
        let mut shown = small().filter(scheduled).map(|case| run(&Mutant(Fault::NoFactors), &device(), case).is_err());
        assert!(shown.next().is_some_and(|rejected| rejected) && shown.all(|rejected| rejected));
    }

    #[test]
    fn every_mutant_is_rejected_wherever_its_fault_can_show() {
        for mutant in mutants() {
            for case in cases().iter().filter(|case| case.spec.parameters() < 20_000) {
                let can_show = match mutant.0 {
                    // A sum of one or two terms has only one order, and a handful of sums may agree by chance.
                    Fault::SwappedOrder => case.training.batch_size > 3 && case.spec.parameters() > 20,
                    Fault::OneChain => case.training.batch_size > BLOCK,
                    // Up to three blocks, the tree is the sequence.
                    Fault::BlocksInSequence => case.training.batch_size > 3 * BLOCK,
                    Fault::UpdateBeforeInputGradient => case.spec.layers.len() > 1,
                    _ => true,
                };
                // A network whose ReLUs are all dead has no gradient to get wrong.
                let alive = case.spec.layers[0].activation != Activation::Relu || case.spec.layers[0].units > 10;
                if can_show && alive {
                    assert!(run(&mutant, &device(), case).is_err(), "{:?} passed {}", mutant.0, case.name);
                }
            }
        }
    }
}
