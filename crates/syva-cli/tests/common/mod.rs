//! Runs the built program in a temporary folder, with nothing of the user's around it.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

/// A training that takes a fraction of a second: 15 steps per epoch of the smallest network.
pub const SMALL: [&str; 6] = ["--data", "digits", "--hidden", "none", "--batch-size", "4096"];

/// A temporary folder to run the program in.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces text in a file. The text must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no '{from}': {text}");
        self.write(name, text.replacen(from, to, 1));
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A command in this folder, with the user's environment kept out.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
            .env_remove("SYVA_MNIST_DIR")
            .env_remove("SYVA_FASHION_MNIST_DIR")
            .env_remove("SYVA_ISA")
            .env_remove("RUST_BACKTRACE");
        command.env("HOME", self.path("home")).env("XDG_CACHE_HOME", self.path("home/cache"));
        // Mesa's drivers complain if there is no desktop.
        command.env("XDG_RUNTIME_DIR", self.folder.path()).env("MESA_SHADER_CACHE_DISABLE", "true");
        command
    }

    /// `syva` with these arguments.
    pub fn syva<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_syva"));
        command.args(args);
        command
    }

    /// `syva` with the arguments in a text, run to its end.
    pub fn run(&self, line: &str) -> Ran {
        Ran::new(self.syva(line.split_whitespace()).output().unwrap())
    }

    /// `syva train` of the small network with more arguments, run to its end.
    pub fn train(&self, more: &str) -> Ran {
        Ran::new(self.syva(["train"].into_iter().chain(SMALL).chain(more.split_whitespace())).output().unwrap())
    }

    /// A finished run of one epoch in `name`.
    pub fn finished(&self, name: &str) {
        self.train(&format!("--epochs 1 --quiet --out {name}")).succeeds();
    }

    /// Runs a script of `sh`, in which the program is `$SYVA`.
    #[cfg(unix)]
    pub fn sh(&self, script: &str) -> Ran {
        let mut command = self.command("sh");
        Ran::new(command.env("SYVA", env!("CARGO_BIN_EXE_syva")).args(["-c", script]).output().unwrap())
    }
}

/// The result of a finished command.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Checks that it ended with this code and with an error that contains all of these texts, and did not panic.
    #[track_caller]
    pub fn fails(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for text in says {
            assert!(self.stderr.contains(text), "'{text}' is missing in: {}", self.stderr);
        }
        self
    }

    /// All of standard output as JSON lines.
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The digest in the last line of `--json`.
    pub fn digest(&self) -> String {
        let lines = self.json();
        lines.last().and_then(|line| line["sha256_of_weights"].as_str()).expect("a digest").to_string()
    }
}

/// Waits until the condition holds. Panics after a minute.
#[track_caller]
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < Duration::from_mins(1), "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Each file in a folder and its subfolders, with its bytes and the time of its last change.
pub fn files_with_times(folder: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_with_times(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()));
        }
    }
    files.sort();
    files
}

/// The lines of a run's `metrics.jsonl`, without the times.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        for clock in ["train_seconds", "eval_seconds"] {
            value.as_object_mut().unwrap().remove(clock).expect("a time");
        }
        value
    };
    text.lines().map(timeless).collect()
}
