//! Every score, held against scikit-learn's: `golden/scores.py` computes them there, and writes down the predictions too.

use serde_json::Value;
use syva_core::arithmetic::Number;
use syva_core::data::{Dataset, Inputs, Targets};
use syva_core::reference::Reference;
use syva_core::{Criterion, Engine, Mlp, Predictions, QuantileScores, State, ThresholdScores, Training, ValueScores};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/scores.json")).unwrap()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Checks that a score is the golden one to 12 digits.
#[track_caller]
fn check(found: f64, golden: &Value, name: &str) {
    let wanted = golden[name].as_f64().unwrap();
    assert!((found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{name} is {found} instead of {wanted}");
}

fn predictions(golden: &Value, classes: usize) -> Predictions {
    let labels = list(&golden["labels"]).into_iter().map(|label| label as u32).collect();
    Predictions::new(classes, list(&golden["probabilities"]), labels).unwrap()
}

#[test]
fn scores_of_classes_are_those_of_scikit_learn() {
    for (name, classes) in [("two", 2), ("five", 5)] {
        let golden = &golden()[name];
        let found = predictions(golden, classes);
        let confusion = found.confusion();
        check(confusion.accuracy(), golden, "accuracy");
        check(confusion.balanced_accuracy(), golden, "balanced_accuracy");
        check(confusion.report().macro_average.f1, golden, "f1_macro");
        check(found.log_loss(), golden, "log_loss");
        check(found.brier_score(), golden, "brier");
        check(found.calibration_error(15), golden, "calibration_error");
        let auroc: Vec<f64> = (0..classes).map(|class| found.auroc(class).unwrap()).collect();
        for (found, wanted) in auroc.iter().zip(list(&golden["auroc"])) {
            assert!((found - wanted).abs() <= 1e-12, "{found} instead of {wanted}");
        }
        check(auroc.iter().sum::<f64>() / classes as f64, golden, "auroc_macro");
        for (class, wanted) in list(&golden["average_precision"]).into_iter().enumerate() {
            let found = found.average_precision(class).unwrap();
            assert!((found - wanted).abs() <= 1e-12, "{found} instead of {wanted}");
        }
    }
}

/// Rare labels with equal probabilities, through the network that would give them.
#[test]
fn scores_of_labels_are_those_of_scikit_learn() {
    let golden = &golden()["labels"];
    let rows = |name: &str| golden[name].as_array().unwrap().iter().map(list).collect::<Vec<_>>();
    let (p, truth) = (rows("probabilities"), rows("labels"));
    let labels = p[0].len();
    // The identity network, on logits.
    let spec = Mlp::new(labels).labels(labels);
    let mut state = State::initial(&spec, &Training::default()).unwrap();
    state.layers[0].bias.fill(0.0);
    for row in 0..labels {
        state.layers[0]
            .weight
            .row_mut(row)
            .iter_mut()
            .enumerate()
            .for_each(|(k, w)| *w = f32::from(u8::from(k == row)));
    }
    let logits = p.iter().flatten().map(|&p| Number::log(p / (1.0 - p)) as f32).collect::<Vec<_>>();
    let values = truth.iter().flatten().map(|&label| label as f32).collect::<Vec<_>>();
    let targets = Targets::Values { values: values.into(), outputs: labels };
    let data = Dataset::new(Inputs::F32(logits.into()), labels, targets).unwrap();
    let device = Reference.devices().remove(0).id;
    let mut session = Reference.open(&device, &spec, &Training::default()).unwrap();
    session.set_state(&state).unwrap();
    let found = Predictions::of_labels(session.as_mut(), &spec, &data).unwrap();
    for (k, (name, found)) in found.iter().enumerate() {
        assert_eq!(*name, format!("target_{}", k + 1));
        let pairs = [("auroc", found.auroc(1)), ("average_precision", found.average_precision(1))];
        for (score, found) in pairs {
            let wanted = golden[score][k].as_f64().unwrap();
            assert!((found.unwrap() - wanted).abs() <= 1e-12, "{score} of {name}: {found:?} instead of {wanted}");
        }
    }
    let classes = Mlp::new(labels).classes(2);
    assert!(Predictions::of_labels(session.as_mut(), &classes, &data).is_err());
}

#[test]
fn scores_of_numbers_are_those_of_scikit_learn() {
    let golden = &golden()["numbers"];
    let (truth, predicted) = (list(&golden["truth"]), list(&golden["predicted"]));
    let found = ValueScores::of(&truth, &predicted).unwrap();
    check(found.mse, golden, "mse");
    check(found.rmse, golden, "rmse");
    check(found.mae, golden, "mae");
    check(found.median_absolute_error, golden, "median_absolute_error");
    check(found.r2.unwrap(), golden, "r2");
    let found = QuantileScores::of(0.9, &truth, &predicted).unwrap();
    check(found.pinball_loss, golden, "pinball_loss");
    check(found.coverage, golden, "coverage");
    assert!(QuantileScores::of(0.9, &truth, &[]).is_err());
}

#[test]
fn temperature_is_that_of_scipys_minimiser() {
    for (name, classes) in [("two", 2), ("five", 5)] {
        let golden = &golden()[name];
        let found = predictions(golden, classes);
        let (temperature, wanted) = (found.temperature(), golden["temperature"].as_f64().unwrap());
        // A minimum is only known to the root of the precision of its value.
        assert!((temperature / wanted - 1.0).abs() < 1e-6, "{temperature} instead of {wanted}");
        check(found.at_temperature(temperature).log_loss(), golden, "cooled_log_loss");
    }
}

#[test]
fn a_temperature_stays_within_bounds() {
    let right = Predictions::new(2, vec![0.9, 0.1, 0.2, 0.8], vec![0, 1]).unwrap();
    assert_eq!(right.temperature(), 1.0 / 64.0);
    let wrong = Predictions::new(2, vec![0.9, 0.1, 0.2, 0.8], vec![1, 0]).unwrap();
    assert_eq!(wrong.temperature(), 64.0);
    // A probability of 0 stays a number.
    let sure = Predictions::new(2, vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0], vec![0, 1, 1]).unwrap();
    assert!(sure.at_temperature(sure.temperature()).log_loss().is_finite());
}

#[test]
fn thresholds_are_those_of_scikit_learns_curves() {
    let golden = &golden()["two"];
    let found = predictions(golden, 2);
    let threshold = |text: &str| text.parse::<Criterion>().unwrap().threshold(&found).unwrap();
    check(threshold("f1"), golden, "by_f1");
    check(threshold("youden"), golden, "by_youden");
    check(threshold("cost:fp=1,fn=5"), golden, "by_cost");
    for golden in golden["scores"].as_array().unwrap() {
        let scores = ThresholdScores::at(golden["threshold"].as_f64().unwrap(), &found).unwrap();
        check(scores.accuracy, golden, "accuracy");
        check(scores.precision, golden, "precision");
        check(scores.recall, golden, "recall");
        check(scores.specificity, golden, "specificity");
        check(scores.f1, golden, "f1");
    }
    assert_eq!(threshold("0.3"), 0.3);
}

#[test]
fn a_threshold_may_take_none_or_all() {
    let found = Predictions::new(2, vec![0.6, 0.4, 0.1, 0.9], vec![1, 0]).unwrap();
    let at = |text: &str| {
        let threshold = text.parse::<Criterion>().unwrap().threshold(&found).unwrap();
        ThresholdScores::at(threshold, &found).unwrap()
    };
    let none = at("cost:fp=9,fn=1");
    assert_eq!((none.true_negatives, none.false_negatives, none.precision, none.f1), (1, 1, 0.0, 0.0));
    assert!(none.threshold > 0.9 && none.threshold < 0.91);
    let all = at("cost:fp=1,fn=9");
    assert_eq!((all.threshold, all.true_positives, all.false_positives, all.specificity), (0.4, 1, 1, 0.0));
}

#[test]
fn what_is_no_threshold_is_refused() {
    for text in ["", "f2", "1.5", "-0.1", "nan", "cost:", "cost:fp=1", "cost:fp=1,fn=-1", "cost:fp=0,fn=0", "cost:tp=1"]
    {
        let error = text.parse::<Criterion>().unwrap_err().to_string();
        assert!(error.contains("cost:fp=1,fn=5"), "{text}: {error}");
    }
    for text in ["f1", "youden", "cost:fp=1,fn=5", "0.3"] {
        assert_eq!(text.parse::<Criterion>().unwrap().to_string(), text);
    }
    let one = Predictions::new(2, vec![0.5, 0.5], vec![0]).unwrap();
    assert!(Criterion::F1.threshold(&one).unwrap_err().to_string().contains("all of one class"));
    let three = Predictions::new(3, vec![0.2, 0.3, 0.5], vec![0]).unwrap();
    assert!(Criterion::Fixed(0.5).threshold(&three).unwrap_err().to_string().contains("two classes"));
}
