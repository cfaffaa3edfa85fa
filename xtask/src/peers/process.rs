//! A running peer. It is started with the data folder, hidden widths, batch size and seed. It prints
//! `{"ready": true, "versions": "…"}`, then answers each line `epoch` or `steps N` with `{"seconds": …, "loss": …}`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The seconds of a training, and the mean of its batches' mean losses.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub seconds: f64,
    pub loss: f64,
}

/// The running program. It is killed when this is dropped.
pub struct Process {
    child: Child,
    requests: ChildStdin,
    lines: Receiver<String>,
    pub versions: String,
}

impl Process {
    /// Starts the program and waits until it is ready.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let (Some(requests), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the program has no pipes");
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut process = Self { child, requests, lines, versions: String::new() };
        let ready = process.line(Duration::from_mins(2))?;
        if ready["ready"] != true {
            bail!("the program said {ready} instead of being ready");
        }
        process.versions = ready["versions"].as_str().unwrap_or_default().into();
        Ok(process)
    }

    /// Asks for a training.
    pub fn ask(&mut self, request: &str, limit: Duration) -> Result<Answer> {
        writeln!(self.requests, "{request}").context("the program takes no more requests")?;
        let answer = self.line(limit)?;
        match (answer["seconds"].as_f64(), answer["loss"].as_f64()) {
            (Some(seconds), Some(loss)) if seconds > 0.0 => Ok(Answer { seconds, loss }),
            _ => bail!("the program said {answer} instead of seconds and loss"),
        }
    }

    fn line(&mut self, limit: Duration) -> Result<Value> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("the program said {line:?}")),
            Err(RecvTimeoutError::Timeout) => bail!("the program was silent for {} s", limit.as_secs()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("the program was lost")?;
                bail!("the program ended ({status}); what it said stands above")
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
