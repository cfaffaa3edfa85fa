//! Chores for developers: `cargo xtask --help`.

mod exports;
mod kernels;
mod pack;
mod peers;
mod proto;
mod python;
mod verify;
mod wheel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores for developers.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compares Syvä's speed with other frameworks', each in turn, on the same data; writes bench/results/CPU.md.
    Peers(peers::Args),
    /// Regenerates the Rust code of TensorBoard's messages from crates/syva-tensorboard/proto.
    Proto,
    /// Recompiles the CUDA kernels to crates/syva-cuda/kernels/ptx.pack, and to target/kernels/*.ptx for reading; needs
    /// Python, but no card and no toolkit.
    Kernels(kernels::Args),
    /// Builds the Python package's wheel, installs it, and tests it beside the libraries that it works with.
    Python(wheel::Args),
    /// Lets TensorBoard, PyTorch, ONNX Runtime, scikit-learn and torchmetrics read what we write.
    Verify,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Peers(args) => peers::run(&args),
        Task::Kernels(args) => kernels::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Python(args) => wheel::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Verify => verify::run().map(|()| ExitCode::SUCCESS),
        Task::Proto => proto::run().map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
