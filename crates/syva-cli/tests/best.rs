//! Which weights a run keeps, and what is reported about them.

mod common;

use common::{Place, files_with_times, metrics};
use serde_json::Value;

/// A rate so large that validation gets worse again: of nine epochs, the eighth is the best.
const WORSE: &str = "--epochs 9 --lr 20 --out run";

/// The bytes of the model, and whether its weights are those of the best epoch.
fn model(place: &Place) -> (Vec<u8>, bool) {
    let read = |name: &str| std::fs::read(place.path(name)).unwrap();
    let model = read("run/model.safetensors");
    let best = model == read("run/checkpoint/best.safetensors");
    (model, best)
}

fn epoch(place: &Place, number: u64) -> Value {
    metrics(&place.path("run")).into_iter().find(|epoch| epoch["epoch"] == number).unwrap()
}

#[test]
fn the_best_weights_can_be_kept_and_it_is_said_which_they_are() {
    let place = Place::new();
    let text = place.train(&format!("{WORSE} --keep best")).succeeds().stdout;
    assert!(model(&place).1);
    let best = epoch(&place, 8);
    let val = |epoch: &Value| format!("val accuracy {:.2} %", 100.0 * epoch["val_acc"].as_f64().unwrap());
    assert!(text.contains(&format!("the model (epoch 8): {}", val(&best))), "{text}");
    assert!(text.contains(&format!("the last epoch (9): {}", val(&epoch(&place, 9)))), "{text}");
    assert!(text.contains("(the weights of epoch 8, whose val loss is lowest)"), "{text}");
    let json = place.run("resume run --json").succeeds().json().pop().unwrap();
    let wanted = (&Value::from(8), &best["val_acc"], &best["val_loss"], &Value::from("best"));
    assert_eq!((&json["model_epoch"], &json["model_val_acc"], &json["model_val_loss"], &json["kept"]), wanted);
    let eval = place.run("eval run --json").succeeds();
    assert_eq!((&eval.json()[0]["loss"], eval.stderr.as_str()), (&best["val_loss"], ""));
}

#[test]
fn to_resume_what_is_done_changes_no_file() {
    let place = Place::new();
    place.train(&format!("{WORSE} --keep best --quiet")).succeeds();
    let before = files_with_times(&place.path("run"));
    let text = place.run("resume run").succeeds().stderr;
    assert!(text.contains("already finished, so nothing is changed"), "{text}");
    assert!(files_with_times(&place.path("run")) == before);
    // If other weights are asked for, they become the model. The choice holds until it is changed again.
    place.run("resume run --keep last --quiet").succeeds();
    assert!(!model(&place).1);
    place.run("resume run --epochs 10 --quiet").succeeds();
    assert!(!model(&place).1);
    place.run("resume run --keep best --quiet").succeeds();
    assert!(model(&place).1);
}

#[test]
fn what_to_keep_is_a_setting_that_resume_inherits() {
    let place = Place::new();
    place.write("s.toml", "keep = \"best\"\n");
    place.train(&format!("{WORSE} --config s.toml --quiet")).succeeds();
    assert!(place.read("run/config.toml").contains("keep = \"best\""));
    let before = model(&place);
    place.run("resume run --epochs 10 --quiet").succeeds();
    assert_eq!(model(&place), before, "epoch 10 is no better");
    // Runs that were started before this setting existed keep the last weights.
    place.edit("run/config.toml", "keep = \"best\"\n", "");
    place.run("resume run --epochs 12 --quiet").succeeds();
    assert!(!model(&place).1);
    place.write("s.toml", "keep = \"worst\"\n");
    place.train("--config s.toml --out other").fails(2, &["s.toml (line 1): keep: unknown name 'worst'"]);
    place.train("--keep worst --out other").fails(2, &["use last or best"]);
}

/// A model of another network is not taken for the best one.
#[test]
fn a_best_model_that_is_missing_or_foreign_is_named_and_the_model_stays() {
    let place = Place::new();
    place.finished("run");
    let before = model(&place).0;
    place.run("train --data digits --hidden 3 --batch-size 8192 --epochs 1 --quiet --out other").succeeds();
    std::fs::copy(place.path("other/model.safetensors"), place.path("run/checkpoint/best.safetensors")).unwrap();
    place.run("resume run --keep best").fails(1, &["best.safetensors (metadata): its network 784-3-10", "--keep last"]);
    std::fs::remove_file(place.path("run/checkpoint/best.safetensors")).unwrap();
    place.run("resume run --keep best").fails(1, &["best.safetensors (the best model): it is missing"]);
    assert_eq!(std::fs::read(place.path("run/model.safetensors")).unwrap(), before);
}

/// If a run goes on beyond its end, its old final model no longer counts.
#[test]
fn a_run_that_goes_on_is_judged_by_its_last_checkpoint() {
    let place = Place::new();
    place.finished("run");
    assert_eq!(place.run("eval run").succeeds().stderr, "");
    place.edit("run/config.toml", "epochs = 1", "epochs = 3");
    let ran = place.run("eval run --json").succeeds();
    assert!(ran.stderr.contains("is not finished: using the weights of epoch 1 of 3"), "{}", ran.stderr);
    assert!(ran.json()[0]["model"].as_str().unwrap().ends_with("last.safetensors"));
}
