//! The peers and how their programs are built: Python scripts in a virtual environment, and Rust programs that each
//! have a workspace of their own, all under `target/peers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Shape;

/// Another framework, or Syvä itself.
pub struct Peer {
    pub name: &'static str,
    /// How it trains.
    pub what: &'static str,
    pub ours: bool,
    /// Part of `--quick`, and of the sweep.
    pub quick: bool,
    program: Program,
}

enum Program {
    /// A script in `bench/peers`, and its variant.
    Python(&'static str, Option<&'static str>),
    /// A package in `bench/peers`, and its environment variables.
    Rust(&'static str, &'static [(&'static str, &'static str)]),
}

use Program::{Python, Rust};

const fn peer(name: &'static str, what: &'static str, quick: bool, program: Program) -> Peer {
    Peer { name, what, ours: false, quick, program }
}

/// All peers, Syvä first, in the order in which they are asked.
pub const PEERS: [Peer; 10] = [
    Peer { ours: true, ..peer("syva", "as it is", false, Rust("syva", &[])) },
    Peer { ours: true, ..peer("syva-dense", "SYVA_KERNEL=dense", false, Rust("syva", &[("SYVA_KERNEL", "dense")])) },
    peer("jax", "jit and scan over an epoch", true, Python("jax_scan.py", None)),
    peer("pytorch", "eager, data in memory", true, Python("pytorch_memory.py", None)),
    peer("pytorch-compiled", "torch.compile, data in memory", false, Python("pytorch_memory.py", Some("compile"))),
    peer(
        "pytorch-notebook",
        "DataLoader, image by image, as in the chapter",
        false,
        Python("pytorch_notebook.py", None),
    ),
    peer("scikit-learn", "MLPClassifier.partial_fit", false, Python("sklearn_mlp.py", None)),
    peer("burn", "the flex backend", false, Rust("burn", &[])),
    peer("candle", "CPU", false, Rust("candle", &[])),
    peer("fastnn", "CPU", false, Rust("fastnn", &[])),
];

/// The peers on a graphics card, and Syvä's CPU engine.
pub const GPU_PEERS: [Peer; 6] = [
    Peer { ours: true, ..peer("syva-cuda", "as it is", false, Rust("syva", &[("SYVA_PEER_DEVICE", "cuda")])) },
    Peer { ours: true, ..peer("syva", "CPU", false, Rust("syva", &[])) },
    peer("jax-cuda", "jit and scan over an epoch, f32", true, Python("jax_scan.py", Some("cuda"))),
    peer("pytorch-cuda-graph", "data on the card, a graph a step", true, Python("pytorch_cuda.py", Some("graph"))),
    peer("pytorch-cuda", "eager, data on the card", true, Python("pytorch_cuda.py", None)),
    peer(
        "pytorch-cuda-notebook",
        "DataLoader, image by image, as in the chapter",
        false,
        Python("pytorch_notebook.py", Some("cuda")),
    ),
];

/// The peers that train with Adam, in PyTorch's fused form and optax's.
pub const ADAM_PEERS: [Peer; 3] = [
    Peer { ours: true, ..peer("syva", "as it is", false, Rust("syva", &[("SYVA_PEER_OPTIMIZER", "adam")])) },
    peer("jax", "optax.adam, jit and scan over an epoch", true, Python("jax_scan.py", Some("adam"))),
    peer("pytorch", "Adam(fused=True), eager, data in memory", true, Python("pytorch_memory.py", Some("adam"))),
];

/// Builds and starts the programs.
pub struct Workshop {
    sources: PathBuf,
    target: PathBuf,
    /// An interpreter to use instead of the virtual environment's.
    python: Option<PathBuf>,
    /// Whether AVX-512 is left aside.
    avx2: bool,
}

/// How programs are held to AVX2: syva, PyTorch's own kernels, MKL, oneDNN, and XLA (see also `jax_scan.py`).
const AVX2: [(&str, &str); 5] = [
    ("SYVA_ISA", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("XLA_FLAGS", "--xla_cpu_max_isa=AVX2"),
];

impl Workshop {
    pub fn new(python: Option<PathBuf>, avx2: bool) -> Result<Self> {
        let root = root()?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Ok(Self { sources: root.join("bench/peers"), target: target.join("peers"), python, avx2 })
    }

    fn python(&self) -> PathBuf {
        let venv = if cfg!(windows) { "venv/Scripts/python.exe" } else { "venv/bin/python" };
        self.python.clone().unwrap_or_else(|| self.target.join(venv))
    }

    /// Builds and installs what the peers need.
    pub fn prepare(&self, peers: &[&Peer]) -> Result<()> {
        std::fs::create_dir_all(&self.target)?;
        if self.python.is_none() && peers.iter().any(|peer| matches!(peer.program, Python(..))) {
            self.install()?;
        }
        let mut packages: Vec<&str> = Vec::new();
        for peer in peers {
            match peer.program {
                Rust(package, _) if !packages.contains(&package) => packages.push(package),
                _ => {}
            }
        }
        for package in packages {
            let manifest = self.sources.join(package).join("Cargo.toml");
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
            cargo.arg("--target-dir").arg(self.target.join("rust"));
            succeed(&mut cargo).with_context(|| format!("building the peer {package}"))?;
        }
        Ok(())
    }

    /// The virtual environment with the versions that `requirements.txt` pins. It is made once for these versions.
    fn install(&self) -> Result<()> {
        let requirements = self.sources.join("requirements.txt");
        let (wanted, mark) = (std::fs::read(&requirements)?, self.target.join("venv/installed.txt"));
        if std::fs::read(&mark).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let python = if cfg!(windows) { "python" } else { "python3" };
        succeed(Command::new(python).args(["-m", "venv"]).arg(self.target.join("venv")))
            .context("making a virtual environment (it takes Python 3.10 or newer with its venv module)")?;
        let mut pip = Command::new(self.python());
        succeed(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements))
            .context("installing the Python peers")?;
        Ok(std::fs::write(mark, wanted)?)
    }

    /// The command that starts a peer.
    pub fn command(&self, peer: &Peer, data: &Path, shape: &Shape) -> Command {
        let (mut command, variant) = match peer.program {
            Python(script, variant) => {
                let mut python = Command::new(self.python());
                python.arg(self.sources.join(script));
                (python, variant)
            }
            Rust(package, variables) => {
                let program = format!("peer-{package}{}", std::env::consts::EXE_SUFFIX);
                let mut program = Command::new(self.target.join("rust/release").join(program));
                program.envs(variables.iter().copied());
                (program, None)
            }
        };
        command.envs(AVX2.into_iter().filter(|_| self.avx2));
        command.arg(data).arg(shape.hidden()).arg(shape.batch.to_string()).arg("1").args(variant);
        command
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// The repository: the place where this program was built or, if it was copied to another machine, where it runs.
pub fn root() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?;
    let root = if built.join("bench/peers").is_dir() { built } else { &here };
    if !root.join("bench/peers").is_dir() {
        bail!("there is no bench/peers in {}; run this in the repository", root.display());
    }
    Ok(root.to_path_buf())
}
