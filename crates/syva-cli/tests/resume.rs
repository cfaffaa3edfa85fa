//! Resuming a run: refused if it would not reach the same bits, and complete whatever happened before.

mod common;

use common::{Place, metrics, wait_for};

#[test]
fn a_resumed_run_is_the_run_that_was_never_stopped() {
    let place = Place::new();
    let whole = place.train("--epochs 3 --json --out whole").succeeds().digest();
    place.finished("run");
    place.run("resume run --epochs 2 --quiet").succeeds();
    assert_eq!(place.run("resume run --epochs 3 --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
    // Resuming a run that is done gives the same again.
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
}

/// Runs that earlier versions began: of the first one, and of one whose networks already had optimisers. Each has two of
/// three epochs.
#[test]
fn runs_of_format_1_go_on_to_the_same_bits() {
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1");
    for (run, digest) in [("sgd", "6492dc1d9fb183c0"), ("adam", "a28ae18358a07d69")] {
        let place = Place::new();
        for file in ["config.toml", "metrics.jsonl", "model.safetensors", "checkpoint/last.safetensors"] {
            place.write(&format!("run/{file}"), std::fs::read(from.join(run).join(file)).unwrap());
        }
        place.run("eval run/model.safetensors --data digits").succeeds();
        place.run("plot run --out plot.png").succeeds();
        let whole = place.run("resume run --epochs 3 --json").succeeds().digest();
        assert_eq!(whole[..16], *digest, "{run}");
        assert!(place.read("run/config.toml").starts_with("format = 2\n"));
        // From now on it is a run of this version.
        assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    }
}

/// Version 1 of the arithmetic contract summed over a batch of more than 128 samples in another order.
#[test]
fn a_run_of_an_older_contract_is_read_but_does_not_go_on_to_other_bits() {
    let place = Place::new();
    place.train("--epochs 2 --quiet --out run").succeeds();
    place.edit("run/config.toml", "contract = 2", "contract = 1");
    let before = place.read("run/config.toml");
    let says = "version 1 of the arithmetic contract, which sums over 4096 samples in another order than version 2";
    let refused = place.run("resume run --epochs 3").fails(1, &[says]);
    assert!(refused.stderr.contains("`syva train --like run`"), "{}", refused.stderr);
    assert_eq!(place.read("run/config.toml"), before);
    place.run("eval run").succeeds();
    place.run("plot run --out plot.png").succeeds();
    place.run("train --like run --epochs 1 --quiet --out anew").succeeds();
    assert!(place.read("anew/config.toml").contains("contract = 2"));
    // A run with smaller batches goes on, and is one of version 2 from then on.
    place.run("train --data digits --hidden none --epochs 1 --quiet --out small").succeeds();
    place.edit("small/config.toml", "contract = 2", "contract = 1");
    place.run("resume small --epochs 2 --quiet").succeeds();
    assert!(place.read("small/config.toml").contains("contract = 2"));
}

#[test]
fn what_holds_weights_back_is_resumed() {
    let place = Place::new();
    let flags = "train --data digits --batch-size 512 --hidden 20,20 --activation silu --optimizer adamw:weight_decay=0.05 \
                 --schedule one-cycle:max=0.003 --dropout 0.2 --clip-norm 1 --ema 0.999 --l1 1e-5 --l2 1e-5 --max-norm 3";
    let whole = place.run(&format!("{flags} --epochs 3 --json --out whole")).succeeds().digest();
    place.run(&format!("{flags} --epochs 3 --out run --threads 1")).succeeds();
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    let text = flags.replace("one-cycle:max=0.003", "one-cycle:max=0.003,epochs=3");
    place.run(&format!("{text} --epochs 1 --out part --quiet")).succeeds();
    assert_eq!(place.run("resume part --epochs 3 --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("part")), metrics(&place.path("whole")));
    // What predicts is the average. It alone is in the model, and the model's accuracy is the reported one.
    let model = std::fs::read(place.path("part/model.safetensors")).unwrap();
    assert!(!String::from_utf8_lossy(&model).contains("average."));
    let judged = &place.run("eval part/model.safetensors --data digits --json").succeeds().json()[0];
    let epochs = metrics(&place.path("part"));
    assert_eq!(judged["accuracy"].as_f64(), epochs[2]["val_acc"].as_f64());
    for (flag, says) in [
        ("--dropout 1", "dropout: 1 is out of range; give a number from 0 (off) to below 1"),
        ("--dropout -0.1", "dropout: -0.1 is out of range"),
        ("--dropout half", "--dropout"),
        ("--ema nan", "ema: NaN is out of range"),
        ("--clip-norm -1", "clip-norm: -1 is out of range; give a number of 0 (off) or more"),
        (
            "--clip-norm 1 --clip-value 1",
            "gradients are clipped by norm or by value, not by both; leave one of them out",
        ),
        ("--l2 inf", "l2: inf is out of range"),
        ("--droput 0.5", "--dropout"),
    ] {
        place.run(&format!("train --data digits --epochs 1 --quiet --out no {flag}")).fails(2, &[says]);
        assert!(!place.path("no").exists(), "{flag}");
    }
}

#[test]
fn a_run_of_a_newer_format_is_refused() {
    let place = Place::new();
    place.finished("run");
    place.edit("run/config.toml", "format = 2", "format = 3");
    let says =
        "run/config.toml (its format): it is 3 (this syva reads 1 to 2); use the version of syva that made the run";
    for command in ["resume run", "eval run", "plot run", "train --like run"] {
        place.run(command).fails(1, &[says]);
    }
}

#[test]
fn what_an_optimiser_remembers_is_resumed() {
    for optimizer in ["adam", "sgd:momentum=0.9,nesterov=true", "nadam:weight_decay=0.01"] {
        let place = Place::new();
        let flags = "train --data digits --batch-size 4096 --hidden 20 --activation silu --optimizer";
        let whole = place.run(&format!("{flags} {optimizer} --epochs 3 --json --out whole")).succeeds().digest();
        place.run(&format!("{flags} {optimizer} --epochs 1 --out run")).succeeds();
        assert_eq!(place.run("resume run --epochs 3 --json").succeeds().digest(), whole, "{optimizer}");
        assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
        // The model holds only what predicting needs, and any engine can use it.
        let model = std::fs::read(place.path("run/model.safetensors")).unwrap();
        assert!(!String::from_utf8_lossy(&model).contains("exp_avg.fc1"), "{optimizer}");
        place.run("eval run").succeeds();
        // Without what the optimiser remembers, the bits would be others.
        place.edit("run/config.toml", &format!("optimizer = \"{}\"", config(optimizer)), "optimizer = \"sgd\"");
        place.run("resume run --epochs 4").fails(1, &["it was trained with optimizer"]);
    }
}

#[test]
fn a_schedule_is_kept_by_a_run_that_is_given_more_epochs() {
    let place = Place::new();
    let flags = "--schedule one-cycle:max=0.1 --optimizer sgd:momentum=0.9";
    let whole = place.train(&format!("{flags} --epochs 3 --json --out whole")).succeeds().digest();
    assert!(place.read("whole/config.toml").contains("schedule = \"one-cycle:max=0.1,epochs=3\""));
    let rates = |run: &str| -> Vec<f64> {
        metrics(&place.path(run)).iter().map(|epoch| epoch["learning_rate"].as_f64().unwrap()).collect()
    };
    let three = rates("whole");
    assert!(three[0] > 0.05 && three[2] < 1e-5, "{three:?}");
    // More epochs go on at the last rate, and do not change what was.
    place.run("resume whole --epochs 4 --quiet").succeeds();
    assert_eq!(rates("whole")[..3], three);
    assert_eq!(rates("whole")[3], three[2]);
    // A run that is like it gets the schedule for its own length.
    let again = place.run("train --like whole --epochs 3 --json --out again").succeeds().digest();
    assert_eq!(place.run("train --like again --json --out like").succeeds().digest(), again);
    assert!(place.read("again/config.toml").contains("epochs=3\""), "{}", place.read("again/config.toml"));
    assert_eq!(again, whole);
    place.run("resume again --schedule cosine").fails(2, &["--schedule cosine: resuming cannot change this setting"]);
    place.edit("again/config.toml", "one-cycle:max=0.1", "one-cycle:max=0.2");
    place.run("resume again --epochs 4").fails(1, &["schedule one-cycle:max=0.1,epochs=3, but config.toml says"]);
    let says = "schedule: pct_start 1 of one-cycle is out of range";
    place.write("settings.toml", "schedule = \"one-cycle:pct_start=1\"");
    place.train("--config settings.toml --out run").fails(2, &["settings.toml (line 1)", says]);
}

/// The rates of a plateau follow from the results, so they must be the same however a run is cut.
#[test]
fn a_rate_that_depends_on_results_is_the_same_however_a_run_is_cut() {
    let place = Place::new();
    let flags = "--lr 20 --schedule plateau:factor=0.5,patience=0,threshold=0.2";
    let whole = place.train(&format!("{flags} --epochs 8 --json --out whole")).succeeds().digest();
    place.train(&format!("{flags} --epochs 3 --quiet --out run")).succeeds();
    assert_eq!(place.run("resume run --epochs 8 --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
    let rates: Vec<f64> =
        metrics(&place.path("run")).iter().map(|epoch| epoch["learning_rate"].as_f64().unwrap()).collect();
    assert!(rates[0] == 20.0 && rates[2] > rates[7], "{rates:?}");
}

/// An optimiser as a run's configuration has it.
fn config(optimizer: &str) -> String {
    optimizer.replace("true", "1")
}

/// What an optimiser remembers, and the weights beside their average, are the checkpoint's, not the model's.
#[test]
fn runs_with_an_average_or_an_optimiser_are_evaluated_finished_or_not() {
    let place = Place::new();
    let run = "train --data digits --hidden 8 --batch-size 4096 --optimizer adam --ema 0.5";
    let digest = place.run(&format!("{run} --epochs 1 --json --out whole")).succeeds().digest();
    for command in ["eval whole --json", "summary whole", "plot whole --what weights --out w.svg", "resume whole"] {
        place.run(command).succeeds();
    }
    assert!(place.run("eval whole --json").succeeds().stdout.contains(&digest));
    assert!(place.run("summary whole").succeeds().stdout.contains("batches of 4096"));
    place.run(&format!("{run} --epochs 50 --for 0.01s --out part")).succeeds();
    for command in ["eval part", "summary part", "report part whole --out r.html"] {
        place.run(command).succeeds();
    }
}

#[test]
fn settings_without_effect_are_refused() {
    let place = Place::new();
    for (flags, says) in [
        ("--decay-schedule cosine", "decay-schedule: there is no weight decay"),
        ("--decay-factors biases=0", "decay-factors: there is no weight decay"),
        ("--lr-factors gains=0.1", "lr-factors: there are no gains"),
        ("--dropout-schedule cosine", "dropout-schedule: there is no dropout"),
        ("--hidden none --dropout 0.2", "dropout: there is no hidden layer"),
        ("--hidden 64 --optimizer muon", "optimizer: muon is for weights between hidden layers"),
        ("--schedule one-cycle:max=0.1 --lr 0.5", "lr: one-cycle:max=0.1"),
        ("--dropout 0.1 --dropout-schedule exponential:gamma=2", "dropout-schedule: exponential:gamma=2"),
        ("--activation prelu:init=1e39", "not a finite 32-bit number"),
    ] {
        let run = place.run(&format!("train --data digits --epochs 1 {flags} --out refused"));
        run.fails(2, &[says]);
        assert!(!place.path("refused").exists(), "{flags}");
    }
}

#[test]
fn an_optimiser_that_cannot_work_is_refused() {
    let place = Place::new();
    for (optimizer, says) in [
        (
            "adma",
            "unknown name (did you mean 'adam'?); use sgd, adam, adamw, amsgrad, nadam, radam, rmsprop, adagrad, lion or muon",
        ),
        (
            "adam:beta=0.9",
            "adam has no parameter 'beta' (did you mean 'beta1'?); use beta1, beta2, eps or weight_decay",
        ),
        ("adam:beta1=1", "beta1 1 of adam is out of range; give a number from 0 to below 1, such as 0.9"),
        ("adam:eps=x", "'x' is not a finite number; write adam:eps=NUMBER"),
        ("sgd:nesterov=true", "Nesterov's step needs a momentum"),
        ("lion:beta1=0.9,beta1=0.8", "beta1 is given twice; give it once"),
    ] {
        place.train(&format!("--optimizer {optimizer} --out run")).fails(2, &[says]);
    }
    place.write("settings.toml", "optimizer = \"adamw:weight_decay=-1\"");
    let says = "optimizer: weight_decay -1 of adamw is out of range; give a number of 0 or more";
    place.train("--config settings.toml --out run").fails(2, &["settings.toml (line 1)", says]);
    assert!(!place.path("run").exists());
}

#[test]
fn a_run_goes_on_in_its_own_precision() {
    let place = Place::new();
    place.finished("run");
    place.edit("run/config.toml", "precision = \"f32\"", "precision = \"tf32\"");
    // The processor computes only in f32, so the error shows that the run's own precision was asked for.
    place.run("resume run --epochs 2").fails(2, &["precision: device cpu does not compute in tf32", "precision f32"]);
    place.run("resume run --epochs 2 --exact").fails(2, &["exact: with precision tf32 nothing is exact"]);
    place.run("resume run --epochs 2 --precision f32").succeeds();
    assert!(place.read("run/config.toml").contains("exact = false\nprecision = \"f32\"\n"));
    // Runs of earlier versions do not have the setting.
    place.edit("run/config.toml", "precision = \"f32\"\n", "");
    place.run("resume run --epochs 3").succeeds();
}

#[test]
fn a_changed_configuration_is_refused_and_named() {
    let place = Place::new();
    place.finished("run");
    let good = place.read("run/config.toml");
    let checkpoint = std::fs::read(place.path("run/checkpoint/last.safetensors")).unwrap();
    let digest = good.lines().find(|line| line.starts_with("digest")).unwrap();
    for (from, to, says) in [
        (digest, "digest = \"00\"", "it was trained on the data e7de759282bc…, but config.toml says 00…"),
        (
            "units = 10",
            "units = 11",
            "(metadata): its network 784-10 is not that of config.toml, 784-11: they differ in the widths;",
        ),
        ("head = \"logits\"", "head = \"log-softmax\"", "they differ in the head;"),
        ("seed = 1", "seed = 2", "it was trained with seed 1, but config.toml says seed 2;"),
        ("learning_rate = 0.01", "learning_rate = 0.02", "learning_rate 0.02"),
        ("batch_size = 4096", "batch_size = 4095", "batch_size 4095"),
        ("batch_size = 4096", "batch_size = 0", "run/config.toml (batch-size): a batch cannot have 0 samples"),
        ("units = 10", "units = 0", "run/config.toml (hidden): layer 1 has 0 units"),
        ("source = \"digits\"", "source = \"cifar\"", "run/config.toml (data.source)"),
        ("seed = 1", "seed = \"one\"", "run/config.toml (line 13)"),
        ("seed = 1", "speed = 1", "run/config.toml (line 13): unknown setting 'training.speed'"),
        ("[training]", "[training", "run/config.toml (line 9)"),
    ] {
        place.edit("run/config.toml", from, to);
        let refused = place.run("resume run --epochs 2").fails(1, &[says]);
        assert!(refused.stderr.contains("; "), "a remedy: {}", refused.stderr);
        place.write("run/config.toml", &good);
    }
    assert_eq!(std::fs::read(place.path("run/checkpoint/last.safetensors")).unwrap(), checkpoint);
    assert_eq!(metrics(&place.path("run")).len(), 1);
    place.run("resume run --epochs 2 --quiet").succeeds();
}

#[test]
fn what_is_no_run_cannot_be_resumed() {
    let place = Place::new();
    place.write("empty/notes", "");
    place.write("file", "");
    for (name, what) in [
        ("empty", "there is no config.toml"),
        ("file", "this is a file, not a run's folder"),
        ("absent", "there is no such folder"),
    ] {
        let says = format!("{name} (the run folder): {what}; name a folder that `syva train` made");
        place.run(&format!("resume {name}")).fails(1, &[&says]);
        place.run(&format!("train --like {name}")).fails(1, &[&says]);
        place.run(&format!("report {name}")).fails(1, &[&says]);
    }
    assert_eq!(place.names("empty"), ["notes"]);
    // One folder above is a common mistake.
    for run in ["runs/b", "runs/a"] {
        place.write(&format!("{run}/config.toml"), "");
    }
    for command in ["resume", "train --like", "eval", "predict"] {
        let file = if command == "predict" { "digit.png" } else { "" };
        let says = "runs (the run folder): this is a folder of runs; name one of them, such as runs/a";
        place.run(&format!("{command} runs {file}")).fails(1, &[says]);
    }
}

#[test]
fn a_checkpoint_that_is_missing_or_damaged_is_named() {
    let place = Place::new();
    place.finished("run");
    let path = place.path("run/checkpoint/last.safetensors");
    let good = std::fs::read(&path).unwrap();
    for (bytes, says) in [
        (&good[..good.len() / 2], "last.safetensors (header): "),
        (&[][..], "last.safetensors (header): "),
        (&std::fs::read(place.path("run/model.safetensors")).unwrap(), "(metadata): it is a model, not a checkpoint"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        place.run("resume run --epochs 2").fails(1, &[says]);
    }
    // A checkpoint whose parts contradict each other.
    let text = String::from_utf8_lossy(&good[8..2000]).into_owned();
    let at = 8 + text.find(r#"\"step_in_epoch\":0"#).unwrap() + r#"\"step_in_epoch\":"#.len();
    let mut lying = good.clone();
    lying[at] = b'9';
    std::fs::write(&path, &lying).unwrap();
    place
        .run("resume run --epochs 2")
        .fails(1, &["last.safetensors (sha256): the file has changed since it was written"]);
    // Without a digest, the contradiction itself is found.
    let key = text.find("sha256").unwrap() + 8;
    lying[key..key + 6].copy_from_slice(b"unsure");
    std::fs::write(&path, lying).unwrap();
    place.run("resume run --epochs 2").fails(1, &["it is from epoch 2, but config.toml ends the run at epoch 1;"]);
    place.edit("run/config.toml", "epochs = 1", "epochs = 2");
    place.run("resume run").fails(1, &["weights after 15 steps are not those of epoch 2, step 9"]);
    std::fs::remove_file(&path).unwrap();
    place
        .run("resume run --epochs 2")
        .fails(1, &["last.safetensors (the checkpoint): it is missing", "start a new run"]);
    std::fs::write(&path, good).unwrap();
    place.run("resume run --epochs 2 --quiet").succeeds();
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_at_the_beginning() {
    let place = Place::new();
    let whole = place.train("--epochs 1 --json --out whole").succeeds().digest();
    std::fs::create_dir_all(place.path("run/checkpoint")).unwrap();
    place.write("run/config.toml", place.read("whole/config.toml"));
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
}

#[test]
fn fewer_epochs_than_done_are_refused_and_lose_nothing() {
    let place = Place::new();
    place.train("--epochs 2 --quiet --out run").succeeds();
    place
        .run("resume run --epochs 1")
        .fails(2, &["epochs: the training has already reached epoch 2", "ask for 2 or more"]);
    place.run("resume run --epochs 0").fails(2, &["epochs: 0 would train nothing"]);
    assert_eq!(metrics(&place.path("run")).len(), 2);
    assert!(place.read("run/config.toml").contains("epochs = 2\n"));
}

/// A flag that a run cannot have, because it would reach other bits, is answered with the command that does it.
#[test]
fn a_run_keeps_its_settings() {
    let place = Place::new();
    place.finished("run");
    for (flags, says) in [
        ("--lr 0.05", "start a new run: `syva train --like run --lr 0.05`"),
        ("--learning-rate=0.05", "--lr 0.05: resuming cannot change this setting of a run"),
        ("--batch-size 64 --seed 2", "`syva train --like run --batch-size 64 --seed 2`"),
        (
            "--hidden 8 --activation relu --init zeros --head logits --optimizer sgd --data digits",
            "resuming cannot change",
        ),
        ("--config s.toml", "resuming cannot change"),
        ("--out other", "resuming cannot change"),
        ("--lr", "`syva train --like run --lr`"),
    ] {
        place.run(&format!("resume run --epochs 2 {flags}")).fails(2, &[says]);
    }
    assert_eq!(metrics(&place.path("run")).len(), 1);
    assert!(!place.run("resume --help").succeeds().stdout.contains("--lr"));
}

/// Data that was moved is found in other places. It is identified by its digest.
#[test]
fn data_that_has_moved_is_looked_for_and_named_as_what_config_toml_says() {
    let place = Place::new();
    place.finished("run");
    place.edit("run/config.toml", "source = \"digits\"", "source = \"mnist\"\ndir = \"gone\"");
    for command in ["resume run --epochs 2", "eval run", "train --like run --out new"] {
        let says =
            "run/config.toml (data.dir): it names gone: there is no such folder; give the new folder with --data-dir";
        place.run(command).fails(1, &[says]);
    }
    // Only the names are looked at. That these are not MNIST is found when they are read.
    for name in
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    {
        place.write(&format!("here/{name}"), "");
    }
    let mut command = place.syva(["eval", "run"]);
    let ran = common::Ran::new(command.env("SYVA_MNIST_DIR", "here").output().unwrap());
    ran.fails(1, &["run/config.toml names gone: there is no such folder; using here instead", "here/train-images"]);
}

#[test]
fn torn_and_repeated_metrics_are_put_right() {
    let place = Place::new();
    place.train("--epochs 3 --quiet --out whole").succeeds();
    place.finished("run");
    let first = place.read("run/metrics.jsonl");
    let later = place.read("whole/metrics.jsonl").lines().nth(1).unwrap().to_string();
    for tail in ["{\"epoch\":2,\"train_lo".to_string(), format!("{later}\n{{"), "\0\0\0".into(), later.clone()] {
        place.write("run/metrics.jsonl", format!("{first}{tail}"));
        place.run("resume run --quiet").succeeds();
        assert_eq!(place.read("run/metrics.jsonl"), first, "after {tail:?}");
    }
    place.write("run/metrics.jsonl", [first.as_bytes(), b"\xff\xfe"].concat());
    place.run("resume run --epochs 3 --quiet").succeeds();
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
    place.write("run/metrics.jsonl", format!("nonsense\n{first}"));
    place.run("plot run").fails(1, &["metrics.jsonl (line 1)", "`syva resume run` writes the file again"]);
    let ran = place.run("resume run --epochs 4").succeeds();
    assert!(ran.stderr.contains("metrics.jsonl lacked 2 epochs, had 1 damaged line; it was written"), "{}", ran.stderr);
    assert_eq!(metrics(&place.path("run")).len(), 4);
}

#[test]
fn scratch_files_of_killed_processes_are_removed() {
    let place = Place::new();
    place.finished("run");
    place.write("run/checkpoint/.syva-x1y2z3.part", "half a checkpoint");
    place.write("run/.syva-a1b2c3.part", "half a model");
    place.run("resume run --epochs 2 --quiet").succeeds();
    assert_eq!(place.names("run/checkpoint"), ["best.safetensors", "last.safetensors"]);
    assert!(!place.names("run").iter().any(|name| name.contains(".part")));
}

#[test]
fn a_run_in_use_is_left_alone() {
    let place = Place::new();
    let args = ["train", "--epochs", "1000000", "--quiet", "--out", "run"];
    let mut running = place.syva(args.into_iter().chain(common::SMALL)).spawn().unwrap();
    wait_for("the first checkpoint", || place.path("run/checkpoint/last.safetensors").exists());
    let says = ["run (the run folder): another syva process is using it", "wait for it"];
    place.run("resume run --epochs 1").fails(1, &says);
    place.train("--epochs 1 --out run --force").fails(1, &says);
    assert!(running.try_wait().unwrap().is_none(), "the first goes on");
    place.run("eval run").succeeds();
    running.kill().unwrap();
    running.wait().unwrap();
    // The lock ends with the process that held it.
    place.train("--epochs 1 --quiet --out run --force").succeeds();
}
