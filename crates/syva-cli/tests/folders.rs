//! Run folders: nothing is overwritten, no one else's files are removed, and odd names work.

mod common;

use common::{Place, Ran, SMALL};

#[test]
fn a_run_is_never_overwritten_without_force() {
    let place = Place::new();
    place.finished("run");
    let before = place.read("run/metrics.jsonl");
    place.train("--epochs 1 --seed 2 --out run").fails(1, &["run (the run folder)", "--force", "syva resume"]);
    assert_eq!(place.read("run/metrics.jsonl"), before);
    place.train("--epochs 1 --seed 2 --out run --force").succeeds();
    assert_ne!(place.read("run/metrics.jsonl"), before);
    assert_eq!(place.read("run/metrics.jsonl").lines().count(), 1);
}

#[test]
fn force_leaves_what_is_not_the_runs() {
    let place = Place::new();
    place.finished("run");
    let mine = ["run/notes.txt", "run/plots/mine.png", "run/checkpoint/epoch-1.safetensors", "run/tensorboard/mine.md"];
    for name in mine {
        place.write(name, "mine");
    }
    place.write("run/plots/curves.png", "the old run's");
    place.train("--epochs 1 --no-tensorboard --out run --force").succeeds();
    for name in mine {
        assert_eq!(place.read(name), "mine");
    }
    assert_eq!(place.names("run/plots"), ["mine.png"]);
    assert_eq!(place.names("run/tensorboard"), ["mine.md"]);
}

/// Other programs have a config.toml too, and plots beside it.
#[test]
fn force_refuses_a_folder_that_is_no_run() {
    let place = Place::new();
    place.write("theirs/config.toml", "[server]\nport = 80\n");
    place.write("theirs/plots/mine.png", "art");
    place.write("notes/todo.txt", "buy milk");
    for folder in ["theirs", "notes"] {
        let before = place.names(folder);
        let says = format!("{folder} (the run folder): it exists and is not a run; choose another folder");
        place.train(&format!("--epochs 1 --out {folder} --force")).fails(1, &[&says]);
        assert_eq!(place.names(folder), before, "nothing more, nothing less");
    }
    assert_eq!(place.read("theirs/plots/mine.png"), "art");
}

#[test]
fn a_folder_that_a_killed_start_left_can_be_used() {
    let place = Place::new();
    place.write("run/.lock", "");
    place.write("run/.syva-abc123.part", "half");
    std::fs::create_dir(place.path("run/checkpoint")).unwrap();
    place.train("--epochs 1 --quiet --out run").succeeds();
    assert_eq!(
        place.names("run"),
        [".lock", "checkpoint", "config.toml", "metrics.jsonl", "model.safetensors", "tensorboard"]
    );
}

#[test]
fn an_out_that_cannot_be_a_folder_is_named() {
    let place = Place::new();
    place.write("file", "content");
    place.train("--epochs 1 --out file").fails(1, &["file (the run folder): this is a file, not a folder"]);
    place.train("--epochs 1 --out file --force").fails(1, &["file (the run folder)"]);
    place.train("--epochs 1 --out file/below").fails(1, &["cannot create folder file/below"]);
    assert_eq!(place.read("file"), "content");
    if cfg!(target_os = "linux") {
        place.train("--epochs 1 --out /proc/syva").fails(1, &["cannot create folder /proc/syva"]);
    }
    Ran::new(place.syva(["train", "--out", ""]).output().unwrap()).fails(2, &["--out"]);
    place.write("runs", "a file where the numbered runs go");
    place.train("--epochs 1").fails(1, &["cannot create folder runs"]);
}

#[test]
fn names_with_spaces_and_of_all_scripts_work() {
    let place = Place::new();
    let name = "sy\u{e4} runs/\u{96ea} 1";
    let run = |args: &[&str]| Ran::new(place.syva(args).output().unwrap()).succeeds();
    run(&[&["train", "--epochs", "1", "--quiet", "--out", name], &SMALL[..]].concat());
    run(&["resume", name, "--epochs", "2", "--quiet"]);
    assert!(run(&["eval", name]).stdout.contains(name));
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_unicode_work_or_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = OsStr::from_bytes(b"run\xff");
    let small = SMALL.map(OsStr::new);
    let train = ["train", "--epochs", "1", "--json", "--out"].map(OsStr::new);
    let trained = Ran::new(place.syva(train.iter().chain([&name]).chain(&small)).output().unwrap()).succeeds();
    let judged = Ran::new(place.syva([OsStr::new("eval"), name, OsStr::new("--json")]).output().unwrap()).succeeds();
    assert_eq!(judged.digest(), trained.digest());
    std::fs::create_dir(place.path(name)).unwrap_err();
    let missing = ["train", "--data-dir"].map(OsStr::new);
    Ran::new(place.syva(missing.iter().chain([&name])).output().unwrap()).fails(2, &["--data-dir", "MNIST"]);
}

#[test]
fn two_runs_at_once_get_two_folders() {
    let place = Place::new();
    let start = || place.syva(["train"].into_iter().chain(SMALL).chain(["--epochs", "1", "--quiet"])).spawn().unwrap();
    let runs = [start(), start(), start()];
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    assert_eq!(place.names("runs"), ["digits-001", "digits-002", "digits-003"]);
    for name in place.names("runs") {
        assert_eq!(common::metrics(&place.path(format!("runs/{name}"))).len(), 1);
    }
}

/// What cannot be read is not missing: nothing is told to start anew where a run may well be.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_not_called_missing() {
    let place = Place::new();
    place.finished("run");
    for name in ["config.toml", "metrics.jsonl", "checkpoint/last.safetensors"] {
        let (path, aside) = (place.path("run").join(name), place.path("aside"));
        std::fs::rename(&path, &aside).unwrap();
        // Unlike a file without permissions, root cannot read this either.
        std::os::unix::fs::symlink(path.file_name().unwrap(), &path).unwrap();
        for command in ["resume", "eval", "plot", "report"] {
            place.run(&format!("{command} run")).fails(1, &[&format!("cannot read run/{name}: ")]);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    }
    place.run("eval run").succeeds();
}
