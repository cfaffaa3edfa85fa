//! `cargo xtask kernels`: compiles the CUDA kernels' sources to PTX with NVRTC from PyPI, and packs the PTX. The readable
//! texts stay in `target/kernels`. It can also report what `ptxas` compiles them to: registers, spills and shared memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use syva::ops;

use crate::pack::{Pack, packed};
use crate::python::{said, sh, venv};

/// Drivers from 550 on read PTX 8.4. Newer compilers write versions that these drivers reject.
const PACKAGES: [&str; 2] = ["nvidia-cuda-nvrtc-cu12==12.4.127", "nvidia-cuda-nvcc-cu12==12.4.131"];

/// No operation is contracted or approximated, and no subnormal is flushed: see `kernels/arithmetic.cuh`.
const OPTIONS: [&str; 5] = ["--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"];

/// A PTX file and its source.
struct Kernels {
    ptx: &'static str,
    source: &'static str,
    /// The oldest architecture that it runs on, and its definitions.
    options: &'static [&'static str],
}

/// The kernels, for Turing and later. Those with tf32 and bf16 need Ampere's tensor cores, and that of a cluster needs
/// Hopper.
const KERNELS: [Kernels; 11] = [
    Kernels { ptx: "layers_16.ptx", source: "layers.cu", options: &["-arch=compute_75", "-DTILE=16"] },
    Kernels { ptx: "layers_64.ptx", source: "layers.cu", options: &["-arch=compute_75", "-DTILE=64"] },
    Kernels { ptx: "layers_128.ptx", source: "layers.cu", options: &["-arch=compute_75", "-DTILE=128"] },
    Kernels { ptx: "layers_tf32_64.ptx", source: "layers.cu", options: &["-arch=compute_80", "-DTILE=64", "-DTF32"] },
    Kernels { ptx: "layers_tf32_128.ptx", source: "layers.cu", options: &["-arch=compute_80", "-DTILE=128", "-DTF32"] },
    Kernels { ptx: "layers_bf16_64.ptx", source: "layers.cu", options: &["-arch=compute_80", "-DTILE=64", "-DBF16"] },
    Kernels { ptx: "layers_bf16_128.ptx", source: "layers.cu", options: &["-arch=compute_80", "-DTILE=128", "-DBF16"] },
    Kernels { ptx: "head.ptx", source: "head.cu", options: &["-arch=compute_75"] },
    Kernels { ptx: "stored.ptx", source: "stored.cu", options: &["-arch=compute_75"] },
    Kernels { ptx: "persistent.ptx", source: "persistent.cu", options: &["-arch=compute_75", "-DTILE=16"] },
    Kernels { ptx: "cluster.ptx", source: "cluster.cu", options: &["-arch=compute_90", "-DTILE=32"] },
];

/// What to do with the PTX.
#[derive(clap::Args)]
pub struct Args {
    /// Only compare the texts with those in the pack that is checked in
    #[arg(long)]
    check: bool,
    /// Also print registers, spills and shared memory of each kernel on these architectures, such as sm_75 sm_90
    #[arg(long, value_name = "ARCH", num_args = 1..)]
    registers: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let (sources, work) = (root.join("crates/syva-cuda/kernels"), root.join("target/kernels"));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    generated(&sources.join("generated.cuh"), args.check)?;
    let python = venv(&work.join("venv"), &PACKAGES)?;
    let mut modules = Vec::new();
    for Kernels { ptx, source, options } in KERNELS {
        let made = work.join(ptx);
        let mut nvrtc = Command::new(&python);
        nvrtc.arg(root.join("xtask/kernels/nvrtc.py")).arg(sources.join(source)).arg(&made);
        sh(nvrtc.arg(format!("-I{}", sources.display())).args(OPTIONS).args(options))?;
        modules.push((ptx, fs::read_to_string(&made).with_context(|| format!("cannot read {}", made.display()))?));
        println!("{ptx}: {} lines", modules[modules.len() - 1].1.lines().count());
        for architecture in &args.registers {
            if number(architecture) < number(options[0]) {
                println!("  {architecture} is older than what {ptx} is for");
            } else {
                print!("{}", registers(&ptxas(&python)?, &made, architecture)?);
            }
        }
    }
    let kept = sources.join("ptx.pack");
    if args.check {
        let pack = fs::read(&kept).with_context(|| format!("cannot read {}", kept.display()))?;
        if let Err(problem) = compare(&pack, &modules) {
            bail!("{} {problem}; run `cargo xtask kernels`", kept.display());
        }
        println!("{} is what the sources give", kept.display());
    } else {
        let pack = packed(&modules)?;
        fs::write(&kept, &pack).with_context(|| format!("cannot write {}", kept.display()))?;
        println!("{}: {} KB; the texts are in {}", kept.display(), pack.len() / 1000, work.display());
    }
    Ok(())
}

/// Writes the functions that the kernels take from syva-core, or compares the file with them.
fn generated(path: &Path, check: bool) -> Result<()> {
    let text = ops::cuda();
    if !check {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    } else if fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))? != text {
        bail!("{} is not what syva-core gives; run `cargo xtask kernels`", path.display());
    }
    println!("generated.cuh: {}", if check { "as checked in" } else { "written" });
    Ok(())
}

/// Compares the modules of a pack with what they should be. Its bytes may differ from those that [`packed`] gives,
/// because another version of the compressor may have written them.
fn compare(pack: &[u8], modules: &[(&str, String)]) -> Result<(), String> {
    let pack = Pack::open(pack).map_err(|problem| format!("is damaged ({problem})"))?;
    let differing = modules.iter().filter(|(name, ptx)| pack.ptx(name).as_ref() != Ok(ptx));
    let differing: Vec<&str> = differing.map(|(name, _)| *name).collect();
    let modules_there = pack.modules().count();
    if !differing.is_empty() {
        Err(format!("is not what the sources give: {}", differing.join(", ")))
    } else if modules_there != modules.len() {
        Err(format!("has {modules_there} modules, and the sources give {}", modules.len()))
    } else {
        Ok(())
    }
}

fn ptxas(python: &Path) -> Result<PathBuf> {
    let ask = "import nvidia.cuda_nvcc as n; print(list(n.__path__)[0])";
    let folder = said(Command::new(python).args(["-c", ask]))?;
    Ok(Path::new(folder.trim()).join("bin/ptxas"))
}

/// The number of an architecture, 90 of `sm_90a` and `-arch=compute_90`.
fn number(architecture: &str) -> Option<u32> {
    architecture.split_once('_')?.1.trim_end_matches(char::is_alphabetic).parse().ok()
}

/// The registers and spills of each kernel, one line per kernel.
fn registers(ptxas: &Path, ptx: &Path, architecture: &str) -> Result<String> {
    let mut command = Command::new(ptxas);
    command.arg("-v").arg(format!("-arch={architecture}")).arg(ptx).arg("-o").arg(ptx.with_extension("cubin"));
    let output = command.output().with_context(|| format!("cannot start {}", ptxas.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("ptxas refuses {}: {told}", ptx.display());
    }
    let mut lines = String::new();
    for line in told.lines() {
        if let Some(kernel) = line.split('\'').nth(1).filter(|_| line.contains("Compiling")) {
            lines += &format!("  {architecture} {kernel:<24}");
        } else if let Some(spills) = line.trim().strip_suffix("spill loads").filter(|_| lines.ends_with(' ')) {
            lines += &format!(" {}", spills.trim());
        } else if let Some((_, used)) = line.split_once("Used ") {
            lines += &format!("; {}\n", used.split(", ").take(2).collect::<Vec<_>>().join(", "));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_names_what_differs() {
        let module = |name, ptx: &str| (name, ptx.to_string());
        let pack = |modules: &[_]| packed(modules).expect("can be packed");
        let [one, two, other] =
            [module("one.ptx", "mov %r1"), module("two.ptx", "mov %r1"), module("two.ptx", "mov %r2")];
        let sources = [one.clone(), two];
        assert_eq!(compare(&pack(&sources), &sources), Ok(()));
        let told = |pack: &[u8]| compare(pack, &sources).expect_err("differs");
        assert_eq!(told(&pack(&[one.clone(), other])), "is not what the sources give: two.ptx");
        assert_eq!(told(&pack(&[one])), "is not what the sources give: two.ptx");
        assert_eq!(
            told(&pack(&[sources.to_vec(), vec![module("three.ptx", "")]].concat())),
            "has 3 modules, and the sources give 2"
        );
        assert!(told(b"no pack").starts_with("is damaged ("));
    }
}
