//! A run that is killed at random moments and resumed until it is done reaches the bits of one that was left alone.
//! `scripts/kill-resume.sh` does the same at length.

mod common;

use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Place, metrics, wait_for};

/// Everything that a run must remember, or find again from its step.
const RUN: &str = "--data digits --hidden 64,48,32 --activation parametric-silu --optimizer muon --schedule one-cycle \
                   --dropout 0.2 --dropout-schedule flat-cos --decay-schedule cosine --input-noise 0.1 --input-dropout 0.05 \
                   --lr-factors biases=0.1,gains=0.1 --clip-norm 1 --ema 0.9 --batch-size 16 --accumulate 2 --epochs 4";
const KILLS: u32 = 4;

/// Starts the run, or goes on with it if there is one. If it saves often, it is killed while it saves. If it saves
/// seldom, it loses epochs whose metrics are already written.
fn start(place: &Place, checkpoint_seconds: u32) -> Child {
    let run =
        if place.path("run/config.toml").exists() { "resume run".into() } else { format!("train {RUN} --out run") };
    let line = format!("{run} --quiet --checkpoint-seconds {checkpoint_seconds}");
    place.syva(line.split_whitespace()).spawn().unwrap()
}

/// Waits until the process has saved (or has finished an epoch, if it saves seldom), or has ended.
fn wait_for_work(place: &Place, child: &mut Child, saves_seldom: bool) {
    let checkpoint = place.path("run/checkpoint/last.safetensors");
    let saved = || checkpoint.metadata().and_then(|file| file.modified()).ok();
    let epochs = || std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default().lines().count();
    let (before, mut least) = (saved(), epochs());
    wait_for("work", || {
        // Resuming removes epochs before it adds any.
        least = least.min(epochs());
        let worked = if saves_seldom { epochs() > least } else { saved() != before };
        worked || child.try_wait().unwrap().is_some()
    });
}

#[test]
fn a_run_killed_at_random_moments_comes_to_the_same_bits() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("SYVA_KILL_SEED").map_or(u64::from(clock.subsec_nanos()), |seed| seed.parse().unwrap());
    println!("SYVA_KILL_SEED={seed}");
    let place = Place::new();
    let whole = place.run(&format!("train {RUN} --json --out whole")).succeeds().digest();
    let mut random = seed;
    let mut kills = 0;
    for kill in 0..KILLS {
        let saves_seldom = kill % 2 == 1;
        let mut child = start(&place, if saves_seldom { 10 } else { 0 });
        // The first process is killed wherever it is by then, the others while they train.
        if kill > 0 {
            wait_for_work(&place, &mut child, saves_seldom);
        }
        // Knuth's MMIX generator.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((random >> 33) % 250));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    println!("{kills} kills");
    assert!(kills > 0);
    assert!(start(&place, 0).wait().unwrap().success());
    assert_eq!(place.run("resume run --json").succeeds().digest(), whole);
    assert_eq!(metrics(&place.path("run")), metrics(&place.path("whole")));
}
