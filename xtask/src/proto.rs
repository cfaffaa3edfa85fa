//! `cargo xtask proto`: generates Rust code for TensorBoard's messages from the crate's `.proto` files. Needs no
//! protoc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost_types::FileDescriptorSet;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/syva-tensorboard")
}

/// The messages.
pub fn compile() -> Result<FileDescriptorSet> {
    let files = ["tensorboard.proto", "hparams.proto"];
    protox::compile(files, [folder().join("proto")]).context("the .proto files do not compile")
}

pub fn run() -> Result<()> {
    let out = folder().join("src/proto");
    prost_build::Config::new()
        .btree_map(["."])
        .out_dir(&out)
        .format(true)
        .compile_fds(compile()?)
        .context("no code could be made")?;
    for name in ["tensorboard.rs", "tensorboard.hparams.rs"] {
        let path = out.join(name);
        println!("wrote {} ({} lines)", path.display(), fs::read_to_string(&path)?.lines().count());
    }
    Ok(())
}
