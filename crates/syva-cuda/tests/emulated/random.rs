//! Random rounds of the kit on random cards. After each call, the session's results and state must equal the reference's, to
//! the bit.
//!
//! Each seed is a round, and a card: its processors, its memory, the stream that goes ahead, possibly a forced method of taking
//! steps. By default there are a few rounds. The environment variables [`FIRST`] and [`ROUNDS`] set the first seed and the
//! number of rounds. If a round fails, its seed is the last one printed.

use syva_core::conformance;
use syva_core::random::{Random, Stream};
use syva_cuda::CudaEngine;

use super::{Outcome, card};

/// The environment variable with the first seed.
const FIRST: &str = "SYVA_RANDOM_SEED";
/// The environment variable with the number of rounds.
const ROUNDS: &str = "SYVA_RANDOM_ROUNDS";

pub fn calls() -> Outcome {
    let number = |name, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (first, rounds) = (number(FIRST, 0)?, number(ROUNDS, 40)?);
    let (mut whole, mut small) = (0, 0);
    for seed in first..first + rounds {
        eprintln!("{FIRST}={seed}");
        let scarce = draw_card(seed);
        let play = || conformance::random(&CudaEngine::new(), &card(), seed, &mut |line| eprintln!("{line}"));
        let played = play().or_else(|failed| {
            // Not every method knows every network and training.
            if !failed.contains("SYVA_CUDA") {
                return Err(failed);
            }
            eprintln!("  {failed}");
            // SAFETY: the process has one thread.
            unsafe { std::env::remove_var("SYVA_CUDA") };
            play()
        });
        match played {
            Ok(()) => whole += 1,
            Err(failed) if scarce && (failed.contains("the card's memory") || failed.contains("fit on the card")) => {
                eprintln!("  {failed}");
                small += 1;
            }
            Err(failed) => return Err(failed.into()),
        }
    }
    println!("{whole} rounds, and {small} that a small card ended");
    if 4 * small > whole { Err("most cards are too small".into()) } else { Ok(()) }
}

/// Sets what the emulated card is like. Returns whether it is so small that it may refuse.
fn draw_card(seed: u32) -> bool {
    let mut random = Random::new(seed, Stream::Augmentation, 79);
    let mut below = |n: usize| random.below(n as u64) as usize;
    let scarce = below(6) == 0;
    let memory = if scarce { 1_500_000 + below(4_000_000) } else { 1 << 30 };
    let method = ["", "", "graph", "persistent", "cluster"][below(5)];
    let settings = [
        ("EMULATED_PROCESSORS", [1, 4, 132, 1000][below(4)]),
        ("EMULATED_AHEAD", below(2)),
        ("EMULATED_CLUSTER", [16, 16, 8, 0][below(4)]),
        ("EMULATED_REFUSE", usize::from(method.is_empty() && below(4) == 0)),
        ("EMULATED_MEMORY", memory),
    ];
    // SAFETY: the process has one thread.
    unsafe {
        for (name, value) in settings {
            std::env::set_var(name, value.to_string());
        }
        std::env::set_var("SYVA_CUDA", method);
        if method.is_empty() {
            std::env::remove_var("SYVA_CUDA");
        }
    }
    eprintln!("  {settings:?} {method}");
    scarce
}
