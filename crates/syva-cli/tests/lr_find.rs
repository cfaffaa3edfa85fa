//! `syva lr-find`: the test for a learning rate.

mod common;

use common::Place;

/// What the test names is a rate at which a short training learns more than at a twentieth of it, and does not explode.
#[test]
fn the_rate_that_is_named_trains() {
    let place = Place::new();
    let common = "--data digits --hidden 32 --activation relu --batch-size 512";
    for optimizer in ["sgd", "adam"] {
        let found = place.run(&format!("lr-find {common} --optimizer {optimizer} --json")).succeeds();
        let found = &found.json()[0];
        let rate = found["rate"].as_f64().expect("a rate");
        let (steepest, tenth) = (found["steepest"].as_f64().unwrap(), found["tenth_of_lowest"].as_f64().unwrap());
        assert_eq!(rate, steepest.min(tenth));
        let (least, most) = if optimizer == "sgd" { (0.005, 2.0) } else { (0.0002, 0.1) };
        assert!((least..most).contains(&rate), "{optimizer}: {rate}");
        let loss = |rate: f64| {
            let flags =
                format!("train {common} --optimizer {optimizer} --lr {rate} --epochs 1 --json --no-tensorboard");
            place.run(&flags).succeeds().json().pop().unwrap()["val_loss"].as_f64().unwrap()
        };
        assert!(loss(rate) < loss(rate / 20.0), "{optimizer}: {rate}");
    }
}

#[test]
fn a_test_of_rates_leaves_no_trace() {
    let place = Place::new();
    place.finished("run");
    let before = common::files_with_times(&place.path("."));
    let ran = place.run("lr-find --like run --steps 100").succeeds();
    assert!(ran.stdout.contains("learning rate") && ran.stdout.contains("try --lr "), "{}", ran.stdout);
    assert!(common::files_with_times(&place.path(".")) == before);
    place.run("lr-find --like run --steps 100 --plot rates.svg").succeeds();
    assert!(place.read("rates.svg").contains("loss by learning rate"));
    place.run("lr-find --data digits --from 1 --to 0.1").fails(2, &["from: 1 to 0.1 is not a range of learning rates"]);
    place.run("lr-find --data digits --steps 3").fails(2, &["steps: 3 steps show too little; give 20 or more"]);
    place.run("lr-find --data digits --plot rates.txt").fails(2, &["plot"]);
    let nothing = place.run("lr-find --like run --from 1e-9 --to 1e-8").succeeds();
    assert!(nothing.stdout.contains("the loss did not fall, so no rate can be named"), "{}", nothing.stdout);
}
