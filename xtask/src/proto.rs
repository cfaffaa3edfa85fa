//! `cargo xtask proto`: Rust code for TensorBoard's messages, from the crate's `.proto` files; needs no protoc.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/syva-tensorboard");
    let files = ["tensorboard.proto", "hparams.proto"];
    let descriptors = protox::compile(files, [root.join("proto")]).context("the .proto files do not compile")?;
    let out = root.join("src/proto");
    prost_build::Config::new()
        .btree_map(["."])
        .out_dir(&out)
        .format(true)
        .compile_fds(descriptors)
        .context("no code could be made")?;
    for name in ["tensorboard.rs", "tensorboard.hparams.rs"] {
        let path = out.join(name);
        println!("wrote {} ({} lines)", path.display(), fs::read_to_string(&path)?.lines().count());
    }
    Ok(())
}
