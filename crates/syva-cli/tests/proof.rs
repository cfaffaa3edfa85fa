//! What a run trusts: nothing that someone put into its folder, changed or removed passes for its own record.

mod common;

use std::fs;
use std::time::Duration;

use common::{Place, metrics, wait_for};

/// Of nine epochs, the eighth is the best.
const NINE: &str = "--epochs 9 --lr 20 --quiet";

/// A run that was stopped after half of its epochs, as by a kill. From there, it goes on to the same bits as `whole`.
fn two_epochs_of_four(place: &Place, run: &str) {
    place.train(&format!("--epochs 2 --quiet --out {run}")).succeeds();
    place.edit(&format!("{run}/config.toml"), "epochs = 2", "epochs = 4");
}

fn flip(place: &Place, name: &str, from_end: usize) {
    let mut bytes = fs::read(place.path(name)).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    place.write(name, bytes);
}

/// H1: weights are as they were saved, to the bit.
#[test]
fn a_flipped_bit_of_a_weight_is_refused_wherever_the_file_is_read() {
    let place = Place::new();
    two_epochs_of_four(&place, "run");
    let says = ["last.safetensors (sha256): the file has changed since", "restore an undamaged copy; the run's model"];
    flip(&place, "run/checkpoint/last.safetensors", 1000);
    for command in ["resume run", "eval run", "report run", "plot run", "plot run --what weights", "predict run x.png"]
    {
        place.run(command).fails(1, &says);
    }
    place.finished("done");
    flip(&place, "done/model.safetensors", 20000);
    for command in ["eval done", "summary done", "report done"] {
        let says = ["model.safetensors (sha256): the file has changed since", "`syva resume done` writes the model"];
        place.run(command).fails(1, &says);
    }
    place
        .run("eval done/model.safetensors --data digits")
        .fails(1, &["(sha256): the file has changed since", "use an undamaged copy"]);
    // The checkpoint holds what the run has reached.
    let ran = place.run("resume done").succeeds();
    assert!(
        ran.stderr.contains("model.safetensors does not have the run's final weights; it will be written again"),
        "{}",
        ran.stderr
    );
    place.run("eval done").succeeds();
}

/// H2: the best model of another run of the same network.
#[test]
fn the_best_model_of_another_run_is_refused_and_the_model_stays() {
    let place = Place::new();
    for seed in [5, 6] {
        place.train(&format!("{NINE} --keep best --seed {seed} --out s{seed}")).succeeds();
    }
    let model = fs::read(place.path("s5/model.safetensors")).unwrap();
    fs::copy(place.path("s6/checkpoint/best.safetensors"), place.path("s5/checkpoint/best.safetensors")).unwrap();
    for command in ["resume s5", "resume s5 --epochs 12"] {
        place
            .run(command)
            .fails(1, &["best.safetensors (the best model): its weights", "are not those of the best epoch"]);
        assert_eq!(fs::read(place.path("s5/model.safetensors")).unwrap(), model);
    }
    // The last weights are the run's own.
    place.run("resume s5 --keep last --quiet").succeeds();
}

/// H3: the model of another run of the same network, after as many steps.
#[test]
fn the_model_of_another_run_is_refused_and_made_again() {
    let place = Place::new();
    for keep in ["last", "best"] {
        for seed in [5, 6] {
            place.train(&format!("{NINE} --keep {keep} --seed {seed} --out {keep}{seed}")).succeeds();
        }
        let (ours, theirs) = (format!("{keep}5/model.safetensors"), format!("{keep}6/model.safetensors"));
        let model = fs::read(place.path(&ours)).unwrap();
        fs::copy(place.path(&theirs), place.path(&ours)).unwrap();
        for command in ["eval", "report", "plot --what weights"] {
            let says = ["model.safetensors (the model): its weights", "are not the final weights of the run"];
            place.run(&format!("{command} {keep}5")).fails(1, &says);
        }
        place.run(&format!("resume {keep}5 --quiet")).succeeds();
        assert_eq!(fs::read(place.path(&ours)).unwrap(), model);
    }
}

/// A training that saves often, after it has finished some epochs.
fn at_work(place: &Place, epochs: u32) -> std::process::Child {
    let line = format!(
        "train --data digits --hidden none --batch-size 512 --epochs {epochs} --checkpoint-seconds 0 --no-tensorboard --quiet --out run"
    );
    let child = place.syva(line.split_whitespace()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("epochs", || fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default().lines().count() > 2);
    child
}

fn ended(child: std::process::Child) -> common::Ran {
    common::Ran::new(child.wait_with_output().unwrap())
}

/// H4: two processes in one folder, after the lock of the first was deleted.
#[test]
fn who_deletes_the_lock_of_a_run_at_work_ends_one_of_the_two() {
    let place = Place::new();
    let first = at_work(&place, 60);
    fs::remove_file(place.path("run/.lock")).unwrap();
    // The first creates the lock again when it next saves. Which of the two then has it is a matter of chance.
    let second = place.run("resume run --quiet");
    let first = ended(first);
    let (winner, loser) = if second.code == Some(0) { (second, first) } else { (first, second) };
    winner.succeeds();
    loser.fails(1, &["another syva process"]);
    let numbers: Vec<u64> = metrics(&place.path("run")).iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    let line = "train --data digits --hidden none --batch-size 512 --epochs 60 --quiet --out alone";
    place.run(line).succeeds();
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("alone")));
    place.run("plot run").succeeds();
}

/// H4, after the fact: duplicate lines are refused, and `resume` writes the file again.
#[test]
fn metrics_that_repeat_lack_or_change_epochs_are_refused_and_written_again() {
    let place = Place::new();
    place.train("--epochs 4 --quiet --out run").succeeds();
    let good = place.read("run/metrics.jsonl");
    let lines: Vec<&str> = good.lines().collect();
    let join = |order: &[usize]| order.iter().map(|&i| lines[i].to_string() + "\n").collect::<String>();
    let changed = good.replacen("\"val_loss\":", "\"val_loss\":1", 1);
    for (bad, says, told) in [
        (join(&[0, 1, 1, 2, 3]), "(line 3): epoch 2 occurs twice", Some("repeated 1 epoch")),
        (join(&[0, 2, 1, 3]), "(line 3): epoch 2 follows epoch 3", Some("was not in order")),
        (join(&[0, 3]), "epoch 2 is missing, although", Some("lacked 2 epochs")),
        (join(&[]), "epoch 1 is missing, although", Some("lacked 4 epochs")),
        (changed, "epoch 1 differs from the checkpoint", Some("had other numbers for 1 epoch")),
        (join(&[0]) + "no epoch\n" + &join(&[1, 2, 3]), "(line 2): ", Some("had 1 damaged line")),
        // A line torn by a kill is normal, and is not reported.
        (good.clone() + "{\"epoch\":5,\"tr", "", None),
    ] {
        place.write("run/metrics.jsonl", &bad);
        for command in ["plot run", "report run", "eval run"] {
            let ran = place.run(command);
            if says.is_empty() {
                ran.succeeds();
            } else {
                ran.fails(1, &["metrics.jsonl", says, "`syva resume run`"]);
            }
        }
        let ran = place.run("resume run").succeeds();
        match told {
            Some(told) => assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr),
            None => assert!(!ran.stderr.contains("metrics"), "{}", ran.stderr),
        }
        assert_eq!(place.read("run/metrics.jsonl"), good);
    }
    fs::remove_file(place.path("run/metrics.jsonl")).unwrap();
    place.run("resume run --epochs 5 --quiet").succeeds();
    let after = place.read("run/metrics.jsonl");
    assert!(after.starts_with(&good) && after.lines().count() == 5, "{after}");
}

/// M9 and M10: what is deleted while a run trains is still in the process's memory.
#[test]
fn what_is_deleted_while_a_run_trains_is_written_again_and_said() {
    let place = Place::new();
    let child = at_work(&place, 60);
    fs::remove_dir_all(place.path("run/checkpoint")).unwrap();
    for name in ["metrics.jsonl", "config.toml"] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    let ran = ended(child).succeeds();
    for name in ["checkpoint/", "metrics.jsonl", "config.toml", "written again"] {
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
    }
    assert_eq!(metrics(&place.path("run")).len(), 60);
    assert!(place.path("run/checkpoint/best.safetensors").is_file());
    place.run("resume run --keep best").succeeds();
    place.run("eval run").succeeds();
}

#[test]
fn a_folder_that_was_deleted_while_its_run_trains_is_named_as_such() {
    let place = Place::new();
    let child = at_work(&place, 100_000);
    // The training may write something between two deletions.
    wait_for("the end of the folder", || {
        let _ = fs::remove_dir_all(place.path("run"));
        std::thread::sleep(Duration::from_millis(20));
        !place.path("run").exists()
    });
    let ran = ended(child).fails(1, &["run (the run folder): it was moved or deleted"]);
    assert!(!ran.stderr.contains("the last checkpoint is intact"), "{}", ran.stderr);
}

/// M1: an edited configuration is not what was trained.
#[test]
fn a_configuration_that_was_edited_is_refused_by_all_who_read_it() {
    let place = Place::new();
    place.train("--epochs 2 --quiet --out run").succeeds();
    let good = place.read("run/config.toml");
    let digest = good.split("digest = \"").nth(1).unwrap()[..64].to_string();
    for (from, to, says) in [
        ("seed = 1", "seed = 6", "it was trained with"),
        ("learning_rate = 0.01", "learning_rate = 0.02", "it was trained with"),
        ("batch_size = 4096", "batch_size = 64", "it was trained with"),
        ("epochs = 2", "epochs = 1", "it is from epoch 2, but config.toml ends the run at epoch 1;"),
        (&digest, &"0".repeat(64), "it was trained on the data"),
        ("\"logits\"", "\"log-softmax\"", "they differ in the head;"),
    ] {
        place.edit("run/config.toml", from, to);
        for command in ["resume run", "eval run", "report run", "plot run", "plot run --what confusion"] {
            place.run(command).fails(1, &["last.safetensors (metadata): ", says, "undo the change to config.toml"]);
        }
        place.write("run/config.toml", &good);
    }
    place.run("report run").succeeds();
}

/// A run of a version that stored no digests and no history: its files open, with a note, and it goes on to the same
/// bits.
#[test]
fn files_without_a_digest_still_open_with_a_word() {
    let place = Place::new();
    two_epochs_of_four(&place, "run");
    for name in ["run/checkpoint/last.safetensors", "run/checkpoint/best.safetensors", "run/model.safetensors"] {
        place.write(name, without_digest(&fs::read(place.path(name)).unwrap()));
    }
    for command in ["eval run", "eval run/model.safetensors --data digits"] {
        let ran = place.run(command).succeeds();
        assert!(ran.stderr.contains("has no SHA-256"), "{}", ran.stderr);
    }
    let digest = place.run("resume run --json").succeeds().digest();
    assert_eq!(digest, place.train("--epochs 4 --json --out whole").succeeds().digest());
    assert_eq!(place.run("eval run").succeeds().stderr, "");
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
}

/// The file as it was written before there were digests: no digest, no history, no digest of the best weights or of the
/// data.
fn without_digest(bytes: &[u8]) -> Vec<u8> {
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
    let mut data = &bytes[8 + n..];
    let tensors = header.as_object_mut().unwrap();
    if let Some(history) = tensors.remove("history") {
        let length = history["data_offsets"][1].as_u64().unwrap();
        data = &data[length as usize..];
        for (_, tensor) in tensors.iter_mut().filter(|(name, _)| *name != "__metadata__") {
            for offset in tensor["data_offsets"].as_array_mut().unwrap() {
                *offset = (offset.as_u64().unwrap() - length).into();
            }
        }
    }
    let metadata = tensors["__metadata__"].as_object_mut().unwrap();
    metadata.remove("sha256").unwrap();
    let mut description: serde_json::Value = serde_json::from_str(metadata["syva"].as_str().unwrap()).unwrap();
    for key in ["history", "data"] {
        description.as_object_mut().unwrap().remove(key);
    }
    if let Some(progress) = description.get_mut("progress") {
        progress.as_object_mut().unwrap().remove("best_weights");
    }
    metadata["syva"] = description.to_string().into();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// M11: links in a folder from somewhere else.
#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_that_leaves_the_run() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.write("victim", "precious");
    fs::create_dir(place.path("victims")).unwrap();
    for (name, command) in [
        ("plots/curves.png", "plot run"),
        ("report.html", "report run"),
        ("model.safetensors", "resume run --epochs 2"),
        ("config.toml", "resume run --epochs 2"),
        ("metrics.jsonl", "resume run --epochs 2"),
        ("checkpoint/last.safetensors", "resume run --epochs 2"),
        ("checkpoint/best.safetensors", "resume run --epochs 2"),
        (".lock", "resume run --epochs 2"),
    ] {
        place.train("--epochs 1 --lr 0.1 --quiet --force --out run").succeeds();
        // Files that are read must exist, so the link's target holds the file's own bytes.
        let content = fs::read(place.path("run").join(name)).unwrap_or_default();
        place.write("victim", &content);
        let _ = fs::remove_file(place.path("run").join(name));
        fs::create_dir_all(place.path("run/plots")).unwrap();
        symlink(place.path("victim"), place.path("run").join(name)).unwrap();
        let says = if name == ".lock" { "this is not a regular file" } else { "leads out of the run folder" };
        place.run(command).fails(1, &[name, says, "remove"]);
        assert_eq!(fs::read(place.path("victim")).unwrap(), content, "{name}");
        fs::remove_file(place.path("run").join(name)).unwrap();
        place.write(&format!("run/{name}"), &content);
    }
    for (name, command) in
        [("plots", "plot run"), ("tensorboard", "resume run --epochs 2"), ("checkpoint", "resume run --epochs 2")]
    {
        place.train("--epochs 1 --lr 0.1 --quiet --force --out run").succeeds();
        let (from, to) = (place.path("run").join(name), place.path("victims").join(name));
        fs::create_dir_all(&from).unwrap();
        fs::rename(&from, &to).unwrap();
        symlink(&to, &from).unwrap();
        let before = common::files_with_times(&to);
        let ran = place.run(command);
        // A training can do without a log. It goes on, and says so.
        assert_eq!(ran.code, Some(i32::from(name != "tensorboard")), "{}", ran.stderr);
        assert!(ran.stderr.contains("leads out of the run folder"), "{name}: {}", ran.stderr);
        assert!(common::files_with_times(&to) == before, "{name}");
        fs::remove_file(&from).unwrap();
        fs::remove_dir_all(&to).unwrap();
    }
}

/// The log's folders below its own, and links from one of the run's files to another.
#[cfg(unix)]
#[test]
fn links_inside_a_run_neither_lead_out_nor_write_over_its_other_files() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.train("--epochs 1 --lr 0.1 --quiet --out run").succeeds();
    let series = place.path("run/tensorboard/Loss_train_vs_val_val");
    fs::create_dir(place.path("outside")).unwrap();
    fs::rename(&series, place.path("moved")).unwrap();
    symlink(place.path("outside"), &series).unwrap();
    let ran = place.run("resume run --epochs 2 --quiet").succeeds();
    assert!(ran.stderr.contains("leads out of the run folder"), "{}", ran.stderr);
    assert!(place.names("outside").is_empty());
    fs::create_dir_all(place.path("run/plots")).unwrap();
    for (name, target, command) in [
        ("report.html", "config.toml", "report run"),
        ("plots/curves.png", "../checkpoint/last.safetensors", "plot run"),
        ("model.safetensors", "checkpoint/last.safetensors", "resume run --epochs 4"),
    ] {
        let link = place.path("run").join(name);
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        let read = || fs::read(place.path("run/config.toml")).unwrap();
        let before = read();
        place.run(command).fails(1, &[name, "a link to another of the run's files", "remove the link"]);
        fs::remove_file(&link).unwrap();
        assert!(name == "model.safetensors" || read() == before, "{name}");
        place.run("resume run --quiet").succeeds();
        place.run("eval run").succeeds();
    }
}

/// Reading a pipe in place of a file would wait forever.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_is_named_and_not_waited_for() {
    let place = Place::new();
    for (name, command) in [
        ("model.safetensors", "resume run"),
        ("model.safetensors", "resume run --epochs 2"),
        ("model.safetensors", "eval run"),
        ("metrics.jsonl", "resume run --epochs 2"),
        ("metrics.jsonl", "report run"),
        ("config.toml", "resume run"),
        ("checkpoint/last.safetensors", "resume run --epochs 2"),
        ("checkpoint/best.safetensors", "resume run --epochs 2"),
        (".lock", "resume run"),
        ("report.html", "report run"),
        ("plots/curves.png", "plot run"),
    ] {
        place.train("--epochs 1 --lr 0.1 --quiet --out run").succeeds();
        let _ = fs::remove_file(place.path("run").join(name));
        fs::create_dir_all(place.path("run/plots")).unwrap();
        place.sh(&format!("mkfifo run/{name}")).succeeds();
        let mut child = place.syva(command.split_whitespace()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        wait_for(&format!("the end of `{command}`, {name} being a pipe"), || child.try_wait().unwrap().is_some());
        let ran = ended(child);
        assert_ne!(ran.code, Some(0), "{command}, {name}: {}", ran.stderr);
        fs::remove_dir_all(place.path("run")).unwrap();
    }
}
