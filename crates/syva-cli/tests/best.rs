//! Which weights a run keeps, and what is reported about them.

mod common;

use common::{Place, files_with_times, metrics};
use serde_json::Value;

/// A rate so large that validation gets worse again: of nine epochs, the eighth is the best.
const WORSE: &str = "--epochs 9 --lr 20 --seed 2 --out run";

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

/// The first epoch with the best value of a metric.
fn best_of(place: &Place, run: &str, metric: &str) -> u64 {
    let epochs = metrics(&place.path(run));
    let value = |epoch: &Value| epoch[metric].as_f64().unwrap() * if metric.ends_with("loss") { -1.0 } else { 1.0 };
    let best = epochs.iter().rev().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
    best["epoch"].as_u64().unwrap()
}

#[test]
fn any_metric_can_say_which_epoch_is_the_best() {
    let place = Place::new();
    let json = place
        .train("--epochs 4 --lr 20 --seed 33 --out run --keep best:metric=val_acc --json")
        .succeeds()
        .json()
        .pop()
        .unwrap();
    let best = best_of(&place, "run", "val_acc");
    let lowest = best_of(&place, "run", "val_loss");
    assert!(best != lowest && best < 4, "the test shows nothing");
    assert_eq!((json["model_epoch"].as_u64(), &json["kept"]), (Some(best), &Value::from("best:metric=val_acc")));
    assert!(model(&place).1);
    let text = place.run("resume run").succeeds().stdout;
    assert!(text.contains(&format!("(the weights of epoch {best}, whose val acc is highest)")), "{text}");
    assert_eq!(place.run("eval run").succeeds().stderr, "");
    // The weights of another epoch are gone, and are not made up.
    let before = files_with_times(&place.path("run"));
    let says =
        format!("its weights are those of epoch {best}; those of epoch {lowest}, the best by val loss, were not kept");
    place.run("resume run --keep best").fails(1, &[&says, "--keep last"]);
    assert!(files_with_times(&place.path("run")) == before);
    // A configuration that was changed by hand does not make the model the best one.
    place.edit("run/config.toml", "keep = \"best:metric=val_acc\"", "keep = \"best\"");
    place.run("eval run").fails(1, &[&format!("its weights are not those of epoch {lowest}, the best by val loss")]);
    place.train("--keep best:metric=acc --out other").fails(2, &["write best:metric=val_loss, val_acc"]);
}

#[test]
fn a_training_that_gets_no_better_stops_and_keeps_its_best() {
    let place = Place::new();
    let flags = "--lr 20 --stop patience:2";
    let ran = place.train(&format!("{flags} --epochs 60 --json --out run")).succeeds();
    let json = ran.json().pop().unwrap();
    let epochs = metrics(&place.path("run"));
    let (last, best) = (epochs.len() as u64, best_of(&place, "run", "val_loss"));
    assert!(last < 60 && last == best + 2, "{last} {best}");
    assert_eq!((&json["stopped"], json["model_epoch"].as_u64()), (&Value::from(true), Some(best)));
    assert!(model(&place).1);
    assert_eq!(place.run("eval run").succeeds().stderr, "", "the run is finished");
    // It is finished for resume, too.
    let before = files_with_times(&place.path("run"));
    let ran = place.run("resume run").succeeds();
    let says = "already finished, so nothing is changed (--stop never trains further)";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    let says = format!("stopped after epoch {last} of 60: no gain in val loss for 2 epochs");
    assert!(ran.stdout.contains(&says), "{}", ran.stdout);
    assert!(files_with_times(&place.path("run")) == before);
    // However it is interrupted, it stops at the same epoch, with the same bits.
    place.train(&format!("{flags} --epochs {} --quiet --out parts", best + 1)).succeeds();
    let parts = place.run("resume parts --epochs 60 --json").succeeds();
    assert_eq!((parts.digest(), metrics(&place.path("parts"))), (ran_digest(&json), epochs));
    // Without the rule it goes on.
    place.run(&format!("resume run --stop never --epochs {} --quiet", last + 1)).succeeds();
    assert_eq!(metrics(&place.path("run")).len() as u64, last + 1);
    // What was given wins.
    place.train(&format!("{flags} --epochs 60 --keep last --quiet --out last")).succeeds();
    let last = std::fs::read(place.path("last/model.safetensors")).unwrap();
    assert_ne!(last, std::fs::read(place.path("last/checkpoint/best.safetensors")).unwrap());
    place.train("--stop patience:0 --out other").fails(2, &["a patience of 0 epochs"]);
    place.write("s.toml", "stop = \"patience:metric=val_los\"\n");
    place.train("--config s.toml --out other").fails(2, &["s.toml (line 1)", "did you mean 'val_loss'?"]);
}

fn ran_digest(json: &Value) -> String {
    json["sha256_of_weights"].as_str().unwrap().into()
}

#[test]
fn a_process_can_be_given_a_time() {
    let place = Place::new();
    let ran = place.train("--epochs 1000000 --for 0.3s --json --out run").succeeds();
    assert!(ran.stderr.contains("stopped and saved after the time of --for; continue with `syva resume run`"));
    let ran = place.run("resume run --for 0.3s").succeeds();
    assert!(ran.stderr.contains("after the time of --for"), "{}", ran.stderr);
    assert!(!place.path("run/model.safetensors").exists());
    let epochs = metrics(&place.path("run")).len() + 1;
    let parts = place.run(&format!("resume run --epochs {epochs} --json")).succeeds().digest();
    assert_eq!(place.train(&format!("--epochs {epochs} --json --out whole")).succeeds().digest(), parts);
    place
        .train("--for 10 --out other")
        .fails(2, &["'10' for '--for <TIME>': it has no unit; write a number with its unit"]);
}
