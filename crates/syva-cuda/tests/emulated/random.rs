//! The kit's random rounds, on random cards.
//!
//! Each seed is a round, and a card: its processors, its memory, the stream that goes ahead, possibly a forced method of
//! taking steps. By default there are a few rounds. The environment variables [`FIRST`] and [`ROUNDS`] set the first seed and
//! the number of rounds. If a round fails, its seed is the last one printed.

use libtest_mimic::Failed;
use syva_core::conformance::random;
use syva_core::random::{Random, Stream};
use syva_cuda::CudaEngine;

use super::{Outcome, card};

/// The environment variable with the first seed.
const FIRST: &str = "SYVA_RANDOM_SEED";
/// The environment variable with the number of rounds.
const ROUNDS: &str = "SYVA_RANDOM_ROUNDS";

pub fn calls() -> Outcome {
    let number = |name, otherwise| std::env::var(name).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (first, rounds) = (number(FIRST, 0)?, number(ROUNDS, 24)?);
    for seed in first..first + rounds {
        eprintln!("{FIRST}={seed}");
        play(seed)?;
    }
    Ok(())
}

fn play(seed: u32) -> Outcome {
    let mut dice = Random::new(seed, Stream::Augmentation, 79);
    let mut pick = |from: &[u64]| from[dice.below(from.len() as u64) as usize];
    // One card in six is so small that it may refuse.
    let scarce = pick(&[0, 0, 0, 0, 0, 1]) == 1;
    let memory = if scarce { pick(&[1_500_000, 2_500_000, 3_500_000, 5_000_000]) } else { 1 << 30 };
    let method = ["", "graph", "persistent", "cluster"][pick(&[0, 0, 1, 2, 3]) as usize];
    let settings = [
        ("EMULATED_PROCESSORS", pick(&[1, 4, 132, 1000])),
        ("EMULATED_AHEAD", pick(&[0, 1])),
        ("EMULATED_CLUSTER", pick(&[16, 16, 8, 0])),
        ("EMULATED_REFUSE", if method.is_empty() { pick(&[0, 0, 0, 1]) } else { 0 }),
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
    let round = || random(&CudaEngine::new(), &card(), seed, &mut |line| eprintln!("{line}"));
    let mut played = round();
    if let Err(said) = &played
        && said.contains("SYVA_CUDA")
    {
        eprintln!("  {said}");
        // SAFETY: as above.
        unsafe { std::env::remove_var("SYVA_CUDA") };
        played = round();
    }
    match played {
        // A small card may refuse if it gives the reason.
        Err(said) if scarce && (said.contains("the card's memory") || said.contains("fit on the card")) => {
            eprintln!("  {said}");
            Ok(())
        }
        played => played.map_err(Failed::from),
    }
}
