//! Signals, numbers that are not finite, and full disks: a training stops, says how to go on, and loses nothing.
#![cfg(unix)]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Ran, SMALL, metrics, wait_for};

/// An endless training in `run` that has finished an epoch.
fn endless(place: &Place) -> Child {
    let args = ["train", "--epochs", "1000000", "--out", "run"];
    let mut command = place.syva(args.into_iter().chain(SMALL));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the first epoch", || place.path("run/metrics.jsonl").exists());
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn ended(mut child: Child) -> Ran {
    // What it prints until then fits into a pipe. If it does not end, it is killed.
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ran::new(child.wait_with_output().unwrap())
}

/// Epoch and step in the line `epoch 2 of 9: step 3 of 15`.
fn stopped_at(text: &str) -> (u64, u64) {
    let line = text.lines().find_map(|line| line.strip_prefix("epoch ")?.split_once(": step "));
    let Some((epoch, step)) = line else { return (0, 0) };
    let first = |words: &str| words.split(' ').next().unwrap().parse().unwrap();
    assert!(step.starts_with("15 ") == step.ends_with(" of 15, not yet evaluated"), "{step}");
    (first(epoch), first(step))
}

#[test]
fn an_interrupted_run_is_saved_and_goes_on_to_the_same_bits() {
    // Not HUP, which is rightly ignored if the tests themselves run under nohup.
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let child = endless(&place);
        signal(&child, name);
        let ran = ended(child).fails(code, &["stopped and saved; continue with `syva resume run`"]);
        let (epoch, step) = stopped_at(&ran.stdout);
        let done = metrics(&place.path("run")).len();
        let saved = place.run("eval run --json").succeeds().json()[0]["steps"].as_u64().unwrap();
        assert!(saved >= 15 * done as u64, "{saved} steps are saved after {done} epochs of 15");
        // At the end of an epoch there is no such line.
        let begun = saved - 15 * done as u64;
        assert_eq!((epoch, step), if begun > 0 { (done as u64 + 1, begun) } else { (0, 0) }, "{}", ran.stdout);
        let epochs = done + 1;
        let resumed = place.run(&format!("resume run --json --epochs {epochs}")).succeeds().digest();
        let whole = place.train(&format!("--json --epochs {epochs} --out whole")).succeeds().digest();
        assert_eq!(resumed, whole, "{name}");
        assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
    }
}

/// Batch systems warn before they kill: SLURM with the signal that it is told to use, SGE with USR1 and USR2, limits of
/// processor time with XCPU.
#[cfg(target_os = "linux")]
#[test]
fn warnings_of_batch_systems_stop_and_save() {
    for (name, code) in [("USR1", 138), ("USR2", 140), ("XCPU", 152), ("ALRM", 142)] {
        let place = Place::new();
        let child = endless(&place);
        signal(&child, name);
        ended(child).fails(code, &["stopped and saved; continue with `syva resume run`"]);
        place.run("eval run --json").succeeds();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn before_it_has_begun_a_signal_ends_it_with_the_same_code_and_leaves_nothing() {
    let place = Place::new();
    let mut command = place.syva(["train", "--data", "digits", "--out", "run"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Drawing the data takes long enough for the signal to arrive before the training begins.
    wait_for("the handler", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (15 - 1) & 1 == 1
    });
    signal(&child, "TERM");
    ended(child).fails(143, &["stopped by SIGTERM before the training began; nothing was written"]);
    assert!(place.names("").is_empty());
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let place = Place::new();
    // The reference takes many seconds for such a step.
    let args = ["train", "--data", "digits", "--device", "reference", "--hidden", "512", "--batch-size", "60000"];
    let mut command = place.syva(args.into_iter().chain(["--out", "run"]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the first checkpoint", || place.path("run/checkpoint/last.safetensors").exists());
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    signal(&child, "INT");
    let ran = ended(child);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(ran.code, Some(130));
    assert!(!ran.stderr.contains("stopped and saved"), "the first was to be finished after the second: {}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let place = Place::new();
    let script = format!(
        "trap '' HUP; \"$SYVA\" train {} --epochs 1000000 --quiet --out run & pid=$!
         lines() {{ cat run/metrics.jsonl 2>/dev/null | wc -l; }}
         wait_for() {{ for i in $(seq 1000); do [ \"$(lines)\" -lt $1 ] || return 0; sleep 0.02; done; kill -9 $pid; }}
         wait_for 1; kill -HUP $pid; wait_for $(($(lines) + 3)); kill -TERM $pid; wait $pid",
        SMALL.join(" ")
    );
    place.sh(&script).fails(143, &["stopped and saved"]);
}

/// The terminal is not the process's controlling terminal, so there is no hang-up. As under nohup, only the dashboard
/// ends.
#[cfg(target_os = "linux")]
#[test]
fn a_dashboard_whose_terminal_is_closed_stops_no_training() {
    let place = Place::new();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let side = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = place.syva(["train", "--epochs", "60", "--tui", "--out", "run"].into_iter().chain(SMALL));
    command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
    // The training waits until what it draws is read.
    let mut reader = std::fs::File::from(terminal.master.try_clone().unwrap());
    let mut drawn = vec![0; 1 << 16];
    let mut child = command.spawn().unwrap();
    while !place.path("run/metrics.jsonl").exists() {
        assert!(std::io::Read::read(&mut reader, &mut drawn).unwrap() > 0);
    }
    drop((reader, terminal));
    wait_for("the end", || child.try_wait().unwrap().is_some());
    assert_eq!(metrics(&place.path("run")).len(), 60);
    assert!(place.path("run/model.safetensors").exists());
}

/// A dashboard on a terminal of this size (columns, rows), and what it has drawn so far.
#[cfg(target_os = "linux")]
fn dashboard(place: &Place, size: (u16, u16)) -> (Child, std::fs::File, String) {
    let size = nix::pty::Winsize { ws_col: size.0, ws_row: size.1, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let side = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = place.syva(["train", "--epochs", "1000000", "--tui", "--out", "run"].into_iter().chain(SMALL));
    command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
    let mut master = std::fs::File::from(terminal.master.try_clone().unwrap());
    let child = command.spawn().unwrap();
    let (mut drawn, mut piece) = (String::new(), vec![0; 1 << 16]);
    while !place.path("run/metrics.jsonl").exists() || !drawn.contains("epoch") {
        let length = std::io::Read::read(&mut master, &mut piece).unwrap();
        drawn += &String::from_utf8_lossy(&piece[..length]);
    }
    (child, master, drawn)
}

#[cfg(target_os = "linux")]
#[test]
fn q_in_the_dashboard_stops_and_saves_as_ctrl_c_does() {
    let place = Place::new();
    let (mut child, mut master, drawn) = dashboard(&place, (30, 8));
    // The dashboard moves the cursor over spaces, so only single words appear whole.
    assert!(["stops", "and", "saves"].iter().all(|word| drawn.contains(word)), "{drawn}");
    std::io::Write::write_all(&mut master, b"?xq").unwrap();
    let reader = std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        // Reading fails once the other side is closed.
        while let Ok(length @ 1..) = std::io::Read::read(&mut master, &mut piece) {
            all.extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    wait_for("the end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let text = reader.join().unwrap();
    assert!(text.contains("stopped and saved; continue with `syva resume run`"), "{text}");
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state() {
    let place = Place::new();
    let run = "train --data digits --hidden 8 --activation relu --lr 1e30 --batch-size 4096 --epochs 2 --out run";
    let says =
        ["the loss is not finite at epoch 1, step ", "(learning rate 1e30)", "try a learning rate of 0.1 or less"];
    place.run(run).fails(1, &says).fails(1, &["run/checkpoint", "`syva resume` would reach the same", "--force"]);
    place.run("eval run").succeeds();
    // Nothing says that resuming would help.
    let otherwise = "if its loss was not finite, start a new run with a lower --lr";
    place.run("plot run").fails(1, &["it has not finished an epoch", otherwise]);
    place.run("report run").fails(1, &["it has not finished an epoch", otherwise]);
    // Resuming fails in the same way, as the message says.
    place.run("resume run").fails(1, &says);
    place.run("eval run").succeeds();
}

/// A step can leave a finite loss, but weights that are not finite. Such a state must not become a checkpoint.
#[test]
fn a_weight_that_is_not_finite_does_not_replace_the_last_good_state() {
    let place = Place::new();
    let run = "train --data digits --hidden 8 --activation identity --init constant:1000 --lr 3e38 --batch-size 4096 \
               --checkpoint-seconds 0 --epochs 2 --out run";
    place.run(run).fails(1, &["a weight is not finite at epoch 1, step 1", "run/checkpoint"]);
    place.run("eval run").succeeds();
}

/// Every file is limited to 16 KiB, less than a checkpoint, so that writing fails half-way, as on a full disk.
#[test]
fn a_disk_that_fills_up_costs_nothing_that_was_saved() {
    let place = Place::new();
    let whole = place.train("--epochs 3 --json --out whole").succeeds().digest();
    place.finished("run");
    let last = place.path("run/checkpoint/last.safetensors");
    let before = std::fs::read(&last).unwrap();
    // SIGXFSZ is not ignored here. Without a handler, it would end the process without a message.
    let full = place.sh("ulimit -f 32; \"$SYVA\" resume run --epochs 3");
    let says = ["cannot write run/checkpoint/", "the last checkpoint is intact", "continue with `syva resume run`"];
    full.fails(1, &says);
    assert_eq!(std::fs::read(&last).unwrap(), before);
    let no_scratch = place.names("run/checkpoint").iter().all(|name| !name.contains(".part"));
    assert!(no_scratch, "{:?}", place.names("run/checkpoint"));
    place.run("eval run").succeeds();
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
}

/// The same from the first byte on. The run can be started again in its own folder.
#[test]
fn a_disk_that_is_full_from_the_beginning_leaves_a_run_that_can_go_on() {
    let place = Place::new();
    let whole = place.train("--epochs 1 --json --out whole").succeeds().digest();
    let train = format!("trap '' XFSZ; ulimit -f 32; \"$SYVA\" train {} --epochs 1 --out run", SMALL.join(" "));
    let says = ["cannot write run/checkpoint/last.safetensors", "nothing was saved yet", "with `syva resume run`"];
    place.sh(&train).fails(1, &says);
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
}
