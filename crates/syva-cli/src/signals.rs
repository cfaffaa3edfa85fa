//! Signals that ask a training to end. Before it begins, a signal ends the process at once. After that, the first
//! signal stops the training at the current step and saves it, and the second ends the process at once. The exit code
//! is 128 plus the signal's number, as shells report it for processes that a signal ended: 130 for Ctrl-C (and q), 143
//! for TERM, 129 for a hang-up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::Code;
use crate::{output, tui};

/// Ctrl-C, on every system.
const INTERRUPT: i32 = 2;

/// The first signal that was received; 0 if there was none.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// Until there is something to save: the message for a signal that ends the process.
static WAITING: Mutex<Option<&'static str>> = Mutex::new(None);

/// A signal that was received when no thread could be started to answer it.
#[cfg(unix)]
static NOTED: std::sync::OnceLock<std::sync::Arc<std::sync::atomic::AtomicUsize>> = std::sync::OnceLock::new();

/// Starts to listen for signals. Until [`begin`] is called, they end the process with the message `before`.
pub fn catch(before: &'static str) {
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = Some(before);
    }
    listen();
}

/// From now on, the first signal is only recorded, for [`received`].
pub fn begin() {
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = None;
    }
}

/// Acts as if Ctrl-C had been pressed.
pub fn interrupt() {
    let _ = FIRST.compare_exchange(0, INTERRUPT, Ordering::SeqCst, Ordering::SeqCst);
}

/// Whether a signal has asked this process to end.
pub fn received() -> bool {
    #[cfg(unix)]
    if let Some(signal) = NOTED.get().map(|noted| noted.load(Ordering::SeqCst) as i32).filter(|&signal| signal > 0) {
        let _ = FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    }
    FIRST.load(Ordering::SeqCst) != 0
}

/// The exit code after a signal.
pub fn exit_code() -> Code {
    code(FIRST.load(Ordering::SeqCst))
}

fn code(signal: i32) -> u8 {
    128 | u8::try_from(signal).unwrap_or(0)
}

/// Answers a signal. Runs on a thread of its own, so it may print.
fn answer(signal: i32) {
    // The lock is held while the process ends, so that no training begins meanwhile.
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

/// Starts to listen for signals.
#[cfg(unix)]
pub fn listen() {
    use signal_hook::consts::signal::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    // These include the signals by which batch systems warn before they kill: SLURM's --signal, SGE's -notify (USR1,
    // USR2), limits of processor time (XCPU).
    let ignored = ignored();
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend([SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM].iter().filter(|&&signal| !ignored(signal)));
    let Ok(mut caught) = signal_hook::iterator::Signals::new(signals) else { return };
    let listen = move || caught.forever().for_each(answer);
    if std::thread::Builder::new().name("signals".into()).spawn(listen).is_err() {
        // The system has no thread left. The handler records the signal, and the training checks for it between steps.
        let noted = NOTED.get_or_init(std::sync::Arc::default);
        for signal in [SIGINT, SIGTERM] {
            let _ = signal_hook::flag::register_usize(signal, std::sync::Arc::clone(noted), signal as usize);
        }
    }
}

/// `nohup` makes a process ignore hang-ups, so that a training outlives its terminal. Catching them would undo that.
/// Only Linux tells which signals are ignored.
#[cfg(unix)]
fn ignored() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    move |signal| ignored >> (signal - 1) & 1 == 1
}

/// A file that would grow beyond its limit (`ulimit -f`) ends the process, unless the signal is caught. If it is
/// caught, writing fails, and the error says which file.
pub fn let_writing_fail() {
    #[cfg(unix)]
    {
        let nobody_asks = std::sync::Arc::default();
        let _ = signal_hook::flag::register(signal_hook::consts::signal::SIGXFSZ, nobody_asks);
    }
}

/// Starts to listen for Ctrl-C.
#[cfg(not(unix))]
pub fn listen() {
    // Without a handler Ctrl-C still ends the process, and a run resumes from its last checkpoint.
    let _ = ctrlc::set_handler(|| answer(INTERRUPT));
}
