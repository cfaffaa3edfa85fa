//! Signals that ask a training to end. Before it has begun they end the process at once; after that the first stops it at
//! the step at hand and saves, and the second ends the process at once. The exit code is 128 and the signal's number, as
//! shells have it of processes that a signal ended: 130 for Ctrl-C (and q), 143 for TERM, 129 for a hang-up.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::{output, tui};

/// Ctrl-C, on every system.
const INTERRUPT: i32 = 2;

/// The first signal that came; 0 until then.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// Whether there is something to save; until then, what is said where a signal ends the process.
static WAITING: Mutex<Option<&'static str>> = Mutex::new(None);

/// A signal that came where no thread could be had to answer it.
#[cfg(unix)]
static NOTED: std::sync::OnceLock<std::sync::Arc<std::sync::atomic::AtomicUsize>> = std::sync::OnceLock::new();

/// From now on signals are listened to. Until [`begin`] they end the process with the words `before`.
pub fn catch(before: &'static str) {
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = Some(before);
    }
    listen();
}

/// From now on the first signal is left to who asks for it ([`received`]).
pub fn begin() {
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = None;
    }
}

/// As if Ctrl-C had been pressed.
pub fn interrupt() {
    let _ = FIRST.compare_exchange(0, INTERRUPT, Ordering::SeqCst, Ordering::SeqCst);
}

/// Whether somebody wants this process to end.
pub fn received() -> bool {
    #[cfg(unix)]
    if let Some(signal) = NOTED.get().map(|noted| noted.load(Ordering::SeqCst) as i32).filter(|&signal| signal > 0) {
        let _ = FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    }
    FIRST.load(Ordering::SeqCst) != 0
}

/// The exit code of what a signal stopped.
pub fn exit_code() -> ExitCode {
    ExitCode::from(code(FIRST.load(Ordering::SeqCst)))
}

fn code(signal: i32) -> u8 {
    128 | u8::try_from(signal).unwrap_or(0)
}

/// Answers a signal; on a thread of its own, so that it may print.
fn answer(signal: i32) {
    // Held while it ends the process, so that nothing begins meanwhile.
    if let Ok(waiting) = WAITING.lock()
        && let Some(before) = *waiting
    {
        output::note(format_args!("syva: stopped by {} before the training began; {before}", name(signal)));
        std::process::exit(code(signal).into());
    }
    if FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        output::clear_status();
        tui::give_back();
        std::process::exit(code(signal).into());
    }
}

#[cfg(unix)]
fn name(signal: i32) -> &'static str {
    signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
}

#[cfg(not(unix))]
fn name(_: i32) -> &'static str {
    "Ctrl-C"
}

/// From now on signals are listened to.
#[cfg(unix)]
pub fn listen() {
    use signal_hook::consts::signal::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    // What batch systems warn with before they kill is among them: SLURM's --signal, SGE's -notify (USR1, USR2), limits
    // of processor time (XCPU).
    let ignored = ignored();
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend([SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM].iter().filter(|&&signal| !ignored(signal)));
    let Ok(mut caught) = signal_hook::iterator::Signals::new(signals) else { return };
    let listen = move || caught.forever().for_each(answer);
    if std::thread::Builder::new().name("signals".into()).spawn(listen).is_err() {
        // A system that has no thread left: the signal is noted in its handler, and looked for between steps.
        let noted = NOTED.get_or_init(std::sync::Arc::default);
        for signal in [SIGINT, SIGTERM] {
            let _ = signal_hook::flag::register_usize(signal, std::sync::Arc::clone(noted), signal as usize);
        }
    }
}

/// `nohup` has hang-ups ignored, so that a training outlives its terminal; catching them would take that back. Only Linux
/// tells what is ignored.
#[cfg(unix)]
fn ignored() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| ignored >> (signal - 1) & 1 == 1
}

/// A file that would grow beyond its limit (`ulimit -f`) ends the process, unless the signal is caught: then writing
/// fails, and the error says which file.
pub fn let_writing_fail() {
    #[cfg(unix)]
    {
        let nobody_asks = std::sync::Arc::default();
        let _ = signal_hook::flag::register(signal_hook::consts::signal::SIGXFSZ, nobody_asks);
    }
}

/// From now on Ctrl-C is listened to.
#[cfg(not(unix))]
pub fn listen() {
    // Without a handler Ctrl-C still ends the process, and a run resumes from its last checkpoint.
    let _ = ctrlc::set_handler(|| answer(INTERRUPT));
}
