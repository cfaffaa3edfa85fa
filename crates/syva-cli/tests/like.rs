//! `--like RUN` repeats a run, except for what flags change.

mod common;

use common::{Place, metrics};

/// A run with no setting at its default.
const ODD: &str = "train --data digits --hidden 3 --activation relu --head log-softmax --init he-normal --lr 0.3 \
                   --batch-size 4096 --loss cross-entropy:smoothing=0.1 --class-weights balanced --epochs 2 \
                   --seed 4 --keep best --device cpu --json --out a";

#[test]
fn a_run_that_is_repeated_comes_to_the_same_bits() {
    let place = Place::new();
    let digest = place.run(ODD).succeeds().digest();
    assert_eq!(place.run("train --like a --json --out b").succeeds().digest(), digest);
    assert_eq!(place.read("a/config.toml"), place.read("b/config.toml"));
    assert_eq!(metrics(&place.path("a")), metrics(&place.path("b")));
    // The run's folder is not one of the settings.
    assert_eq!(place.run("train --like a --json").succeeds().digest(), digest);
    assert_eq!(place.names("runs"), ["digits-001"]);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_run() {
    let place = Place::new();
    place.run(ODD).succeeds();
    place.write("s.toml", "seed = 5\nlr = 0.2\n");
    place.run("train --like a --config s.toml --lr 0.1 --hidden 5 --quiet --out b").succeeds();
    let config = place.read("b/config.toml");
    for line in ["learning_rate = 0.1\n", "seed = 5\n", "units = 5\n", "batch_size = 4096\n", "epochs = 2\n"] {
        assert!(config.contains(line), "{line} in {config}");
    }
    for line in ["activation = \"relu\"", "init = \"he-normal\"", "head = \"log-softmax\"", "keep = \"best\""] {
        assert!(config.contains(line), "{line} in {config}");
    }
}

/// Flags can set one activation for all hidden layers, but a run can have several.
#[test]
fn a_network_that_no_flags_can_tell_is_repeated_as_it_is() {
    let place = Place::new();
    place.run(&ODD.replace("--hidden 3", "--hidden 3,3")).succeeds();
    place.edit("a/config.toml", "activation = \"relu\"", "activation = \"tanh\"");
    place.run("train --like a --seed 9 --quiet --out b").succeeds();
    let network = |name: &str| place.read(name).split_once("[network").unwrap().1.to_string();
    assert_eq!(network("a/config.toml"), network("b/config.toml"));
    place
        .run("train --like a --hidden 8 --out c")
        .fails(2, &["like: the hidden layers of a have different activations"]);
    place.run("train --like a --hidden 8 --activation tanh --quiet --out c").succeeds();
}

#[test]
fn what_is_no_run_cannot_be_repeated() {
    let place = Place::new();
    place.run("train --like absent").fails(1, &["absent (the run folder): there is no such folder"]);
    place.run(ODD).succeeds();
    place.edit("a/config.toml", "source = \"digits\"", "source = \"cifar\"");
    place.run("train --like a --out b").fails(1, &["a/config.toml (data.source)"]);
    let config = place.run("train --config a/config.toml --out b").fails(2, &["`syva train --like RUN` repeats a run"]);
    assert_eq!(config.stdout, "");
    assert_eq!(place.names(""), ["a"]);
}
