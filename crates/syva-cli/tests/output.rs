//! What goes to standard output and what to standard error, and readers that stop early.

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
    let summary = place.run("summary run --json").succeeds();
    assert_eq!(summary.json()[0]["network"], "784-10");
    assert_eq!(summary.digest(), trained.digest());
    assert!(place.run("summary run").succeeds().stdout.ends_with(&format!("weights: {}\n", trained.digest())));
    // The last line has the settings, so that a loop over runs does not need the names of folders.
    for (name, value) in [
        ("data", serde_json::json!("digits")),
        ("network", serde_json::json!("784-10")),
        ("hidden", serde_json::json!("none")),
        ("batch_size", serde_json::json!(4096)),
        ("learning_rate", serde_json::json!(0.01)),
        ("seed", serde_json::json!(1)),
        ("device", serde_json::json!("cpu")),
        ("init", serde_json::json!("pytorch")),
        ("precision", serde_json::json!("f32")),
    ] {
        assert_eq!(lines[2][name], value, "{name}");
    }
    assert!(lines[2]["data_sha256"].is_string());
    // If the command fails, there is nothing else either.
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
    // The program goes on if nobody reads its messages.
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
    for command in ["data info --data digits", "completions bash", "summary", "--help", "train --help", "--version"] {
        place.sh(&format!("\"$SYVA\" {command} >/dev/full")).fails(1, &["cannot write standard output"]);
    }
    // A training does not stop because of it.
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

/// No name can control the terminal.
#[test]
fn names_from_outside_are_shown_without_what_steers_a_terminal() {
    let place = Place::new();
    let ran = Ran::new(place.syva(["eval", "z\u{1b}]0;pwned\u{7}"]).output().unwrap()).fails(1, &["]0;pwned"]);
    assert!(!ran.stderr.contains(['\u{1b}', '\u{7}']), "{}", ran.stderr);
}

/// What a terminal with this many columns gets on standard error.
#[cfg(target_os = "linux")]
fn on_terminal(place: &Place, columns: u16, args: &[&str]) -> String {
    let size = nix::pty::Winsize { ws_col: columns, ws_row: 24, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let mut command = place.syva(args);
    command.env("TERM", "xterm").stdout(std::process::Stdio::null()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    // The command's copy of the other side would keep the terminal open.
    drop(command);
    let mut master = std::fs::File::from(terminal.master);
    let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(length @ 1..) = std::io::Read::read(&mut master, &mut piece) {
        all.extend_from_slice(&piece[..length]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(all).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn the_status_line_fits_the_terminal_and_leaves_nothing() {
    let place = Place::new();
    for (columns, out) in [(80, "a"), (40, "b"), (16, "c")] {
        let args =
            ["train", "--epochs", "40", "--batch-size", "256", "--data", "digits", "--hidden", "none", "--out", out];
        let text = on_terminal(&place, columns, &args);
        // Removes control sequences: each begins with ESC and ends with a letter.
        let plain: String = text
            .split('\u{1b}')
            .enumerate()
            .map(
                |(i, part)| {
                    if i == 0 { part } else { part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |p| p.1) }
                },
            )
            .collect();
        let lines: Vec<&str> = plain.split(['\r', '\n']).filter(|line| line.starts_with("epoch ")).collect();
        assert!(!lines.is_empty(), "{text:?}");
        for line in lines {
            assert!(line.trim_end().chars().count() <= usize::from(columns) - 3, "{columns}: '{line}'");
        }
        assert!(text.contains("\u{1b}[2K") || text.contains("\u{1b}[J"), "the line is taken away: {text:?}");
    }
}

#[test]
fn a_run_that_learned_nothing_is_told_so() {
    let place = Place::new();
    let run = |flags: &str| {
        let base = "train --data digits --hidden 16 --epochs 1";
        place.run(&format!("{base} {flags}")).succeeds()
    };
    let told = run("--lr 1e-9 --batch-size 8192 --out slow");
    assert!(told.stderr.contains("syva: nothing learned so far: "), "{}", told.stderr);
    assert!(told.stderr.contains("try a larger learning rate (--lr 1e-8)"), "{}", told.stderr);
    assert!(!told.stdout.contains("val loss was lowest"), "{}", told.stdout);
    let told = run("--init zeros --batch-size 8192 --out alike");
    assert!(told.stderr.contains("units that start out equal stay equal (--init zeros)"), "{}", told.stderr);
    // A rate so large that all units of ReLU are dead after a few steps.
    let told = run("--activation relu --lr 30 --batch-size 1024 --json --out dead");
    let last = told.json().pop().unwrap();
    let warnings = last["warnings"].to_string();
    assert!(last["learned_nothing"] == true, "{last}");
    assert!(warnings.contains("units of hidden layer 1 are 0 for every sample (dead)"), "{warnings}");
    assert!(last["advice"].to_string().contains("a smaller learning rate (--lr 0.1)"), "{last}");
    let judged = place.run("eval dead --json").succeeds().json().pop().unwrap();
    assert_eq!(judged["warnings"], last["warnings"]);
    assert!(place.run("eval dead").succeeds().stderr.contains("nothing learned so far"));
}

/// A rate far too large, after which the network still classifies more than the most frequent class.
#[test]
fn a_high_loss_alone_is_not_nothing_learned() {
    let place = Place::new();
    let run = "train --data digits --hidden 10 --lr 35 --epochs 1 --json --out run";
    let last = place.run(run).succeeds().json().pop().unwrap();
    let (accuracy, loss) = (last["val_acc"].as_f64().unwrap(), last["val_loss"].as_f64().unwrap());
    assert!(accuracy > 0.15 && loss > 2.31, "{last}");
    assert!(last["learned_nothing"] == false, "{last}");
    assert!(last["warnings"].to_string().contains("too sure of wrong predictions"), "{last}");
}

#[test]
fn runs_that_learn_are_told_nothing() {
    let place = Place::new();
    for (flags, out) in [
        ("--hidden none", "a"),
        ("--hidden 32", "b"),
        ("--hidden 64,32 --activation relu --lr 0.1", "c"),
        ("--hidden 16 --activation tanh --lr 0.1", "d"),
    ] {
        let ran = place.run(&format!("train --data digits --batch-size 128 --epochs 1 {flags} --json --out {out}"));
        let last = ran.succeeds().json().pop().unwrap();
        assert!(last["learned_nothing"] == false && last["warnings"] == serde_json::json!([]), "{flags}: {last}");
    }
}
