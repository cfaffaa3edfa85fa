//! What goes to standard output and what to standard error, and readers that do not wait for the end.

mod common;

use common::{Place, Ran, SMALL};

#[test]
fn quiet_prints_nothing() {
    let place = Place::new();
    for line in ["train --epochs 1 --quiet --out run", "resume run -q --epochs 2"] {
        let mut args: Vec<_> = line.split(' ').collect();
        if args[0] == "train" {
            args.extend(SMALL);
        }
        let ran = Ran::new(place.syva(args).output().unwrap()).succeeds();
        assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()), "{line}");
    }
}

#[test]
fn json_is_all_there_is_on_standard_output() {
    let place = Place::new();
    let trained = place.train("--epochs 2 --json --out run").succeeds();
    let lines = trained.json();
    let epochs: Vec<_> = lines.iter().map(|line| line["epoch"].as_u64()).collect();
    assert_eq!(epochs, [Some(1), Some(2), None]);
    assert_eq!(lines[2]["epochs"], 2);
    assert_eq!(trained.stderr, "");
    let judged = place.run("eval run --json").succeeds();
    assert_eq!(judged.json().len(), 1);
    assert_eq!(judged.digest(), trained.digest());
    assert_eq!(judged.json()[0]["loss"], lines[1]["val_loss"], "the same model on the same data");
    assert_eq!(place.run("summary run --json").succeeds().json()[0]["network"], "784-10");
    // Also where it fails there is nothing else.
    assert_eq!(place.run("resume run --json --epochs 1").fails(2, &["epochs"]).json().len(), 0);
    place.run("train --json --quiet").fails(2, &["--json"]);
}

#[test]
fn without_a_terminal_there_is_a_line_an_epoch_or_every_ten_of_many() {
    let place = Place::new();
    let args = ["train", "--data", "digits", "--hidden", "none", "--batch-size", "60000"];
    let ran = place.syva(args.into_iter().chain(["--epochs", "22", "--out", "run"])).output().unwrap();
    let ran = Ran::new(ran).succeeds();
    let numbers = |text: &str| -> Vec<u32> {
        let epochs = text.lines().filter_map(|line| line.strip_prefix("epoch "));
        epochs.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(numbers(&ran.stdout), [1, 10, 20, 22]);
    let few = place.run("resume run --epochs 26").succeeds();
    assert_eq!(numbers(&few.stdout), [23, 24, 25, 26]);
    assert!(!ran.stdout.contains('\r') && !ran.stderr.contains('\r') && !ran.stdout.contains('\x1b'));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    for command in ["data info --data digits", "completions zsh", "summary", "devices", "--help"] {
        let script = format!("{{ \"$SYVA\" {command}; echo $? >code; }} | true");
        let ran = place.sh(&script);
        assert_eq!((place.read("code").trim(), ran.stderr.as_str()), ("0", ""), "{command}");
    }
    // The program goes on when nobody reads what it says of itself.
    let train = |out| format!("\"$SYVA\" train {} --epochs 1 --out {out}", SMALL.join(" "));
    place.sh(&format!("{{ {}; echo $? >code; }} 2>&1 | true", train("piped")));
    assert_eq!(place.read("code").trim(), "0");
    assert!(place.path("piped/model.safetensors").exists());
    place.sh(&format!("{} >&- 2>&-", train("closed"))).succeeds();
    assert!(place.path("closed/model.safetensors").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_a_full_disk_swallowed_is_an_error() {
    let place = Place::new();
    for command in ["data info --data digits", "completions bash", "summary"] {
        place.sh(&format!("\"$SYVA\" {command} >/dev/full")).fails(1, &["cannot write standard output"]);
    }
    // But no reason to stop a training.
    let train = format!("\"$SYVA\" train {} --epochs 1 --out run >/dev/full", SMALL.join(" "));
    place.sh(&train).fails(1, &["cannot write standard output"]);
    assert!(place.path("run/model.safetensors").exists());
}

#[test]
fn completions_are_scripts_that_the_shell_accepts() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.run(&format!("completions {shell}")).succeeds().stdout;
        assert!(script.contains("checkpoint-seconds"), "{shell}");
        place.write(shell, script);
        let checks = ["bash", "zsh", "fish"].contains(&shell);
        match checks.then(|| place.command(shell).args(["-n", shell]).output()) {
            Some(Ok(output)) => assert!(output.status.success(), "{shell}: {output:?}"),
            _ => println!("{shell} is not here, so its script was not checked"),
        }
    }
    place.run("completions cmd").fails(2, &["bash, elvish, fish, powershell, zsh"]);
}

#[test]
fn without_a_home_folder_what_needs_none_works() {
    let place = Place::new();
    let mut command = place.syva(["data", "info", "--data", "digits"]);
    Ran::new(command.env_remove("HOME").env_remove("XDG_CACHE_HOME").output().unwrap()).succeeds();
}
