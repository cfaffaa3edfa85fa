//! Settings that make no sense are refused with the setting's name and a remedy, before anything is written.

mod common;

use common::{Place, metrics};

#[test]
fn flags_without_sense_are_refused_and_leave_nothing() {
    let place = Place::new();
    for (flags, says) in [
        ("--hidden 0", "positive numbers separated by commas"),
        ("--hidden 8,0", "positive numbers separated by commas"),
        ("--hidden 3-3", "invalid value '3-3' for '--hidden <WIDTHS>': it is not a list of widths; write positive"),
        ("--hidden 8,,8", "positive numbers separated by commas"),
        ("--batch-size 0", "batch-size: a batch cannot have 0 samples; give 1 or more"),
        ("--batch-size 18446744073709551616", "--batch-size"),
        ("--lr nan", "lr: NaN is not a learning rate; give a positive number"),
        ("--lr inf", "lr: inf is not a learning rate"),
        ("--lr 0", "lr: 0 is not a learning rate"),
        ("--lr -1", "lr: -1 is not a learning rate"),
        ("--lr 1e-60", "lr: 0 is not a learning rate"),
        ("--lr fast", "invalid value 'fast' for '--lr <RATE>': it is not a number; write one such as 0.01"),
        ("--lr 0,01", "it is not a number; write 0.01"),
        ("--learning-rate 1/4", "it is not a number; write 0.25"),
        ("--epochs 1e3", "it is not written in plain digits; write 1000"),
        ("--epochs 2.5", "it is not a whole number; write 2 or 3"),
        ("--seed 1,2,3", "it is a list; give a single whole number"),
        ("--batch-size 60,000", "write 60000 if you mean that"),
        ("--threads -2", "it is below 0; did you mean 2?"),
        ("--epochs 0", "epochs: 0 would train nothing; give 1 or more"),
        ("--epochs -1", "--epochs"),
        ("--seed 4294967296", "--seed"),
        ("--activation swish", "unknown name; use identity, relu, sigmoid, tanh, leaky-relu, elu"),
        ("--head softmax", "use regression, poisson, gaussian, binary, multi-label, logits or log-softmax"),
        ("--head regression", "head: the data has 10 classes, and regression is for values; use logits or log-softmax"),
        ("--head poisson", "head: the data has 10 classes, and poisson is for values"),
        ("--head binary", "head: the data has 10 classes, and binary is for 2"),
        ("--loss mse", "loss: mse does not fit the head logits; use auto or cross-entropy, or another head"),
        ("--loss l1", "'l1' for '--loss <NAME>': unknown name; use auto, mse, mae"),
        ("--loss cross-entropy:smoothing=1", "smoothing 1 is not from 0 to below 1; give a share such as 0.1"),
        ("--loss binary-cross-entropy:pos_weight=-3", "pos_weight -3 is not above 0"),
        ("--class-weights balance", "it is not a number; write balanced, none, or one number per class"),
        ("--class-weights 1,-2", "the weight of class 1 is -2; give finite numbers from 0 on"),
        ("--class-weights 1,2", "class-weights: 2 weights for 10 classes; give one per class"),
        ("--init magic", "use pytorch, xavier-uniform"),
        ("--init constant:nan", "'nan' is not a finite number; write constant:value=NUMBER"),
        ("--init xavier-unifrom", "unknown name (did you mean 'xavier-uniform'?)"),
        ("--optimizer lbfgs", "'lbfgs' for '--optimizer <NAME>': unknown name; use sgd, adam, adamw"),
        ("--data cifar", "use auto, mnist, fashion-mnist or digits"),
        ("--data minst", "did you mean 'mnist'?"),
        ("--device mps", "Metal (mps) is called gpu here; use auto, cpu"),
        ("--device abacus", "device: there is no device 'abacus' here; use auto, cpu"),
        ("--device cpu:9", "device: there is no device 'cpu:9' here"),
        ("--precision fp16", "unknown name; use f32, tf32 or bf16"),
        ("--precision tf32", "precision: device cpu does not compute in tf32, only NVIDIA's cards do; use "),
        ("--precision bf16 --device reference", "precision: device reference does not compute in bf16"),
        ("--precision bf16 --device cuda:99", "device: there is no device 'cuda:99' here"),
        ("--precision bf16 --exact", "exact: with precision bf16 nothing is exact; leave it out, or use precision f32"),
        ("--threads 0", "threads: 0 threads cannot work; give 1 to"),
        ("--data-dir here", "data-dir: digits are drawn, not read; leave it out"),
        ("--checkpoint-seconds -1", "--checkpoint-seconds"),
        ("--hidden 100000,100000", "hidden: 10079600010 parameters are more than 2^31; use fewer or narrower"),
        // The sum of the products exceeds 128 bits.
        ("--hidden 18446744073709551615,18446744073709551615", "parameters are more than 2^31"),
    ] {
        let mut args = vec!["train", "--out", "run"];
        if !flags.contains("--data ") {
            args.extend(["--data", "digits"]);
        }
        args.extend(flags.split(' '));
        common::Ran::new(place.syva(&args).output().unwrap()).fails(2, &[says]);
        assert!(place.names("").is_empty(), "{flags} left {:?}", place.names(""));
    }
}

#[test]
fn the_extremes_that_make_sense_work() {
    let place = Place::new();
    let digest = |out: &str, batch: &str| {
        let args = ["train", "--data", "digits", "--hidden", "none", "--epochs", "1", "--json"];
        let run = place.syva(args.into_iter().chain(["--batch-size", batch, "--out", out])).output().unwrap();
        common::Ran::new(run).succeeds().digest()
    };
    let whole = digest("whole", "60000");
    assert_eq!(digest("large", "60001"), whole, "a batch larger than the data is all of it");
    assert_eq!(digest("huge", "18446744073709551615"), whole);
    // A run that was started with such a number can be read back.
    place.run("resume huge --epochs 2 --quiet").succeeds();
    let narrow = "train --data digits --hidden 1,1,1,1,1,1,1,1,1,1 --epochs 1 --batch-size 8192 --quiet --out narrow";
    place.run(narrow).succeeds();
}

#[cfg(unix)]
#[test]
fn epochs_without_end_do_not_overflow() {
    let place = Place::new();
    let ran = place.sh(
        "\"$SYVA\" train --data digits --hidden none --batch-size 4096 --epochs 18446744073709551615 --out run & pid=$!
         for i in $(seq 1000); do [ -e run/checkpoint/last.safetensors ] && break; sleep 0.02; done
         kill $pid; wait $pid",
    );
    ran.fails(143, &["18,446,744,073,709,551,615 epochs", "syva resume run"]);
}

#[test]
fn a_configuration_file_that_is_wrong_is_named_with_its_line() {
    let place = Place::new();
    for (text, says) in [
        ("lr = 0.1\nepochs = \n", "bad.toml (line 2): epochs has no value; write one, or leave the line out"),
        ("seed = 1\nlr = 0,1\n", "bad.toml (line 2): 0,1 is not a number; write 0.1"),
        ("activation = relu # a comment\n", "bad.toml (line 1): relu is not in quotes; write activation = \"relu\""),
        ("out = runs/a b\n", "bad.toml (line 1): runs/a b is not in quotes; write out = \"runs/a b\""),
        ("exact = \"yes\"\n", "bad.toml (line 1): exact cannot be \"yes\"; write true or false, without quotes"),
        ("exact = True\n", "bad.toml (line 1): exact cannot be True; write true or false, without quotes"),
        ("device = 3\n", "bad.toml (line 1): 3 is not text; put it in quotes"),
        ("out = 3\n", "bad.toml (line 1): 3 is not text; put it in quotes"),
        ("\n\nepoch = 3\n", "bad.toml (line 3): unknown setting `epoch`; use the names of the flags"),
        ("lr = 0.1\n\nepochs = \"x\"\n", "bad.toml (line 3): 'x': it is not a whole number"),
        ("lr = \"0,01\"\n", "bad.toml (line 1): '0,01': it is not a number; write 0.01"),
        ("epochs = 1e3\n", "bad.toml (line 1): '1000.0': it is not written in plain digits; write 1000"),
        (
            "seed = 9999999999999999999\n",
            "bad.toml (line 1): it is out of range; give a whole number from 0 to 4294967295",
        ),
        (
            "seed = 99999999999999999999\n",
            "bad.toml (line 1): it is out of range; give a whole number from 0 to 4294967295",
        ),
        (
            "batch-size = 18446744073709551615\n",
            "bad.toml (line 1): it is out of range for an integer; give one from 0 to 9223372036854775807, or put it in",
        ),
        ("[train]\nepochs = 1\n", "bad.toml (line 1): unknown setting `train`"),
        ("activation = \"swish\"\n", "bad.toml (line 1): activation: unknown name 'swish'; use identity"),
        ("lr = 1\ndata = \"cifar\"\n", "bad.toml (line 2): data: unknown name 'cifar'; use auto"),
        ("hidden = [8, 0]\n", "bad.toml (line 1): hidden: '8,0' is not a list of widths"),
        ("hidden = 1.5\n", "bad.toml (line 1): hidden: '1.5' is not a list of widths"),
        ("batch-size = 0\n", "bad.toml (batch-size): a batch cannot have 0 samples; give 1 or more"),
        ("lr = nan\n", "bad.toml (lr): NaN is not a learning rate"),
        ("precision = \"fp16\"\n", "bad.toml (line 1): precision: unknown name 'fp16'"),
        ("out = \"\"\n", "bad.toml (out): the folder's name is empty"),
        ("data-dir = \"\"\n", "bad.toml (data-dir): the folder's name is empty"),
    ] {
        place.write("bad.toml", text);
        // This is wrong usage, like a flag with that value.
        place.run("train --config bad.toml --out run").fails(2, &[says]);
    }
    place.write("bad.toml", b"\xff\xfe");
    place.run("train --config bad.toml --out run").fails(2, &["bad.toml (byte 0): it is not UTF-8 text"]);
    place.write("bad.toml", "#".repeat(1 << 21));
    place.run("train --config bad.toml --out run").fails(2, &["bad.toml (its size)"]);
    place.run("train --config absent.toml --out run").fails(1, &["cannot read absent.toml"]);
    assert_eq!(place.names(""), ["bad.toml"]);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let place = Place::new();
    place.write("s.toml", "data = \"digits\"\nhidden = [3]\nlr = 0.5\nepochs = 7\nbatch-size = 8192\nseed = 9\n");
    place.run("train --config s.toml --epochs 1 --seed 4 --quiet --out run").succeeds();
    let config = place.read("run/config.toml");
    for line in ["epochs = 1\n", "seed = 4\n", "learning_rate = 0.5\n", "batch_size = 8192\n", "units = 3\n"] {
        assert!(config.contains(line), "{line} in {config}");
    }
}

#[test]
fn names_and_flags_are_taken_as_people_write_them() {
    let place = Place::new();
    let flags = "--data Digits --hidden None --activation ReLU --init XavierUniform --head Log_Softmax --keep BEST \
                 --device CPU --learning-rate 0.1 --batch-size 8192 --epochs 1 --quiet";
    place.run(&format!("train {flags} --out a")).succeeds();
    place.write("s.toml", "data = \"DIGITS\"\nhidden = \"none\"\nactivation = \"Relu\"\ninit = \"xavier_uniform\"\nhead = \"LogSoftmax\"\nkeep = \"Best\"\nlearning_rate = 0.1\nbatch_size = 8192\nepochs = 1\n");
    place.run("train --config s.toml --quiet --out b").succeeds();
    assert_eq!(place.read("a/config.toml"), place.read("b/config.toml"));
    place.run("data grid --data digits --split Train --rows 1 --out grid.png").succeeds();
}

#[test]
fn wrong_values_in_the_environment_are_wrong_usage() {
    let place = Place::new();
    for variable in ["SYVA_ISA", "SYVA_KERNEL"] {
        let mut command = place.syva(["train", "--out", "run"].into_iter().chain(common::SMALL));
        let ran = command.env(variable, "abacus").output().unwrap();
        common::Ran::new(ran).fails(2, &[&format!("{variable}: unknown name 'abacus'")]);
    }
}

#[test]
fn a_file_may_name_the_precision() {
    let place = Place::new();
    place
        .write("s.toml", "data = \"digits\"\nhidden = \"none\"\nepochs = 1\nbatch-size = 8192\nprecision = \"bf16\"\n");
    place.run("train --config s.toml --out run").fails(2, &["precision: device cpu does not compute in bf16"]);
    place.run("train --config s.toml --precision f32 --quiet --out run").succeeds();
    assert!(place.read("run/config.toml").contains("precision = \"f32\"\n"));
}

#[test]
fn a_file_may_name_widths_as_the_flag_does() {
    let place = Place::new();
    for (i, hidden) in ["\"none\"", "[]", "\"4,3\"", "[4, 3]"].iter().enumerate() {
        place.write("s.toml", format!("data = \"digits\"\nhidden = {hidden}\nepochs = 1\nbatch-size = 8192\n"));
        place.run(&format!("train --config s.toml --quiet --out run{i}")).succeeds();
    }
    assert_eq!(place.read("run0/config.toml"), place.read("run1/config.toml"));
    assert_eq!(place.read("run2/config.toml"), place.read("run3/config.toml"));
    assert!(place.read("run2/config.toml").contains("units = 4\n"));
}

#[test]
fn summaries_of_absurd_sizes_are_numbers_or_errors() {
    let place = Place::new();
    place.run("summary --batch-size 18446744073709551615").succeeds();
    place.run("summary --batch-size 0").fails(2, &["batch-size: a batch cannot have 0 samples"]);
    place.run("summary --inputs 0").fails(2, &["input: 0 features"]);
    place.run("summary --outputs 0").fails(2, &["0 units"]);
    place.run("summary --hidden 18446744073709551615,18446744073709551615").fails(2, &["more than 2^31"]);
    place.run("summary --uniform 18446744073709551615 --neurons 10").fails(2, &["depth: ", "ask for fewer"]);
    place.run("summary --uniform 1000000000 --neurons 10000000000").fails(2, &["depth: ", "ask for fewer"]);
    place.run("summary --funnel 3 --parameters 2").fails(2, &["budget: ", "allow at least"]);
    place.run("summary --neurons 10").fails(2, &["--uniform"]);
}

/// If the system refuses memory, that is an error and not an abort.
#[cfg(target_os = "linux")]
#[test]
fn a_network_beyond_the_memory_is_refused() {
    let place = Place::new();
    let ran = place.sh("ulimit -v 4000000; \"$SYVA\" train --data digits --hidden 20000,20000 --epochs 1 --out run");
    ran.fails(1, &["memory: 415920010 parameters in batches of 128 need 7.8 GiB", "use fewer or narrower layers"]);
    assert!(place.names("").is_empty());
}

/// The same with less memory, from what the program itself takes to what a training needs.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_for_the_data_is_refused() {
    let place = Place::new();
    let starts = |kilobytes: &u32| place.sh(&format!("ulimit -v {kilobytes}; \"$SYVA\" --version")).code == Some(0);
    let least = (20_000..2_000_000).step_by(10_000).find(starts).unwrap();
    let mut refused = 0;
    for kilobytes in (1..20).map(|more| least + 10_000 * more) {
        let train = "\"$SYVA\" train --data digits --hidden 8 --epochs 1 --quiet --out run";
        let ran = place.sh(&format!("ulimit -v {kilobytes}; {train}"));
        if !place.names("").is_empty() {
            ran.succeeds();
            break;
        }
        ran.fails(1, &["memory: ", " need ", "more than is available"]);
        refused += 1;
    }
    assert!((1..19).contains(&refused), "{refused} refused, from {least} kB on");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_without_an_end_is_no_settings() {
    let place = Place::new();
    place
        .run("train --config /dev/zero --out run")
        .fails(2, &["/dev/zero (its size): a settings file has at most 1 MiB"]);
    // A pipe is read to its end.
    place.sh("(echo 'lr = -1'; sleep 0.1; echo) | \"$SYVA\" train --config /dev/stdin --out run").fails(2, &["(lr): "]);
    assert!(place.names("").is_empty());
}

#[test]
fn more_threads_than_cores_are_told_of() {
    let place = Place::new();
    let train = "train --data digits --hidden none --epochs 1 --batch-size 8192 --threads 1000";
    let ran = place.run(&format!("{train} --out told")).succeeds();
    assert!(ran.stderr.contains("1000 threads are more than"), "{}", ran.stderr);
    let ran = place.run(&format!("{train} --quiet --out quiet")).succeeds();
    assert_eq!(ran.stderr, "");
    assert_eq!(place.read("told/metrics.jsonl").lines().count(), 1);
}

/// The loss that a run minimises is the one that every command tells of its model.
#[test]
fn a_run_is_judged_by_its_own_loss() {
    let place = Place::new();
    let loss = |run: &str| place.run(&format!("eval {run} --json")).succeeds().json()[0]["loss"].as_f64().unwrap();
    let last = |run: &str| metrics(&place.path(run)).last().unwrap()["val_loss"].as_f64().unwrap();
    place.train("--epochs 2 --out a").succeeds();
    place.train("--epochs 2 --loss cross-entropy:smoothing=0.2 --class-weights 1,1,1,1,1,1,1,1,1,2 --out b").succeeds();
    for run in ["a", "b"] {
        assert!((loss(run) - last(run)).abs() < 1e-12, "{run}");
    }
    assert!(last("b") > last("a") + 0.1, "the smoothed loss is higher");
    let config = place.read("b/config.toml");
    assert!(config.contains("loss = \"cross-entropy:smoothing=0.2\""), "{config}");
    assert!(config.contains("class_weights = \"1,1,1,1,1,1,1,1,1,2\""), "{config}");
    // It resumes to the same bits, and is repeated with the same loss.
    place.train("--epochs 3 --loss cross-entropy:smoothing=0.2 --class-weights 1,1,1,1,1,1,1,1,1,2 --out c").succeeds();
    place.run("resume b --epochs 3 --quiet").succeeds();
    place.run("train --like b --quiet --out d").succeeds();
    let digest = |run: &str| place.run(&format!("eval {run} --json")).succeeds().json()[0]["sha256_of_weights"].clone();
    assert_eq!(digest("b"), digest("c"));
    assert_eq!(digest("b"), digest("d"));
    place.run("report a b --out r.html").succeeds();
    assert!(place.read("r.html").contains("cross-entropy:smoothing=0.2"));
    // In a settings file.
    place.write("s.toml", "loss = \"cross-entropy:smoothing=0.2\"\nclass-weights = \"balanced\"\n");
    place.train("--epochs 1 --config s.toml --out e").succeeds();
    assert!(place.read("e/config.toml").contains("class_weights = \"balanced\""));
}

#[test]
fn a_part_of_the_training_data_can_validate() {
    let place = Place::new();
    let flags = "--validation 0.1 --epochs 2 --json";
    let ran = place.train(&format!("{flags} --out run")).succeeds();
    let digest = ran.digest();
    assert_eq!(ran.json().pop().unwrap()["validation"], "0.1");
    assert!(place.read("run/config.toml").contains("validation = \"0.1\""));
    // The part is the run's own, whoever reads it.
    let loss = |split: &str| place.run(&format!("eval run --json {split}")).succeeds().json()[0].clone();
    let (val, test, own) = (loss("--split val"), loss("--split test"), loss(""));
    assert_eq!((&val["samples"], &val["split"]), (&6000.into(), &"val".into()));
    assert_eq!(val["loss"], metrics(&place.path("run"))[1]["val_loss"]);
    assert_eq!((&test["samples"], &test["split"]), (&10_000.into(), &"test".into()));
    assert_eq!(own, test, "a run that was validated by a part is judged by the data that it never saw");
    assert!(place.run("eval run").succeeds().stdout.contains("on 10,000 test samples of digits"));
    // It goes on, and is repeated, with the same part; more seeds are judged by the same samples.
    place.train("--validation 6000 --epochs 1 --quiet --out parts").succeeds();
    place.edit("parts/config.toml", "validation = \"6000\"", "validation = \"0.1\"");
    place.run("resume parts --epochs 2").fails(1, &["is not the data of the run"]);
    place.train("--validation 0.1 --epochs 1 --quiet --out half").succeeds();
    assert_eq!(place.run("resume half --epochs 2 --json").succeeds().digest(), digest);
    let like = place.run("train --like run --seed 2 --quiet --out like").succeeds();
    assert_eq!(like.stderr, "");
    assert_eq!(place.run("eval like --split val --json").succeeds().json()[0]["samples"], 6000);
    place.run("resume run --validation 0.2").fails(2, &["--validation 0.2: resuming cannot change this setting"]);
    place.run("report run --out report.html").succeeds();
    // Without it nothing has changed.
    place.train("--epochs 1 --quiet --out plain").succeeds();
    let plain = place.run("eval plain --json").succeeds().json()[0].clone();
    assert_eq!((&plain["samples"], &plain["split"]), (&10_000.into(), &"val".into()));
    for (size, says) in [("1.5", "neither a share nor"), ("60000", "leaves a part empty"), ("0", "0 is neither")] {
        place.train(&format!("--validation {size} --out other")).fails(2, &[says]);
    }
}

#[test]
fn a_recipe_is_a_set_of_settings_over_which_flags_win() {
    let place = Place::new();
    let config = |flags: &str| {
        place.train(&format!("--epochs 1 --quiet --force --out run {flags}")).succeeds();
        let lines: Vec<String> = place.read("run/config.toml").lines().map(String::from).collect();
        let line = |name: &str| lines.iter().find(|line| line.starts_with(name)).cloned().unwrap();
        (line("init = "), line("bias_init = "))
    };
    let pair = |init: &str, bias: &str| (format!("init = \"{init}\""), format!("bias_init = \"{bias}\""));
    assert_eq!(config(""), pair("pytorch", "auto"));
    assert_eq!(config("--recipe today"), pair("pytorch", "auto"));
    assert_eq!(config("--recipe chapter-2026"), pair("xavier-uniform", "zeros"));
    assert_eq!(config("--recipe chapter-2026 --init he-normal"), pair("he-normal", "zeros"));
    assert_eq!(
        config("--init orthogonal:gain=auto --bias-init constant:0.1"),
        pair("orthogonal:gain=auto", "constant:value=0.1")
    );
    place.write("s.toml", "recipe = \"chapter-2026\"\nbias-init = \"pytorch\"\n");
    assert_eq!(config("--config s.toml"), pair("xavier-uniform", "pytorch"));
    place.train("--recipe chapter-2025 --out other").fails(2, &["did you mean 'chapter-2026'?"]);
}
