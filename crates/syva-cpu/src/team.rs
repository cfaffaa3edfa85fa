//! A team of threads that stays alive between regions of work, so that a region costs microseconds.
//!
//! [`Team::run`] gives each thread a share of the task numbers 0..n. The share is the same for each similar region, so
//! a thread finds the data of its tasks in its cache. A thread that is done with its share helps the others, so a
//! thread that the system holds up takes fewer tasks.
//!
//! The caller works, too. Once no task is left, it shuts the region's gate, and waits for the workers that have come
//! in. It never waits for a worker that the system holds up outside. Between regions, workers spin for a while, then
//! park, so that an idle session costs nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{mem, process};

use syva_core::{Error, Result};

/// Turns of spinning before a waiting worker parks, or a waiting caller yields. They take about 20 µs. More would keep
/// the core from other programs.
const SPINS: u32 = 2_000;

/// The largest region, in multiply-adds, that one thread runs alone. It takes about a microsecond, so sharing it is not
/// worthwhile.
const ALONE: usize = 1 << 16;

/// A region of work: a closure, and the number of its tasks.
struct Job<'a> {
    work: &'a (dyn Fn(usize, usize) + Sync),
    tasks: usize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The number of tasks that have been taken of a thread's share. It has a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Taken(AtomicUsize);

impl Job<'_> {
    /// Runs tasks until none is left, first those of thread `me`'s share, then those of the others. After a panic, the
    /// remaining tasks are dropped, and the panic is kept for the caller.
    fn work_through(&self, shares: &[Taken], me: usize) {
        let bound = |share: usize| share * self.tasks / shares.len();
        let result = catch_unwind(AssertUnwindSafe(|| {
            for share in (0..shares.len()).map(|i| (me + i) % shares.len()) {
                loop {
                    let task = bound(share) + shares[share].0.fetch_add(1, Ordering::Relaxed);
                    if task >= bound(share + 1) {
                        break;
                    }
                    (self.work)(me, task);
                }
            }
        }));
        if let Err(panic) = result {
            for share in shares {
                share.0.store(self.tasks, Ordering::Relaxed);
            }
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

/// The gate is one word: the region's number, whether the gate is open, and how many workers have come in.
///
/// ```text
/// bits 63 … 17   16     15 … 0
/// region         open   workers inside
/// ```
const OPEN: u64 = 1 << 16;
const REGION: u64 = 1 << 17;

struct State {
    /// The current region. It is valid for workers that came in through the gate, until they leave.
    job: AtomicPtr<Job<'static>>,
    gate: AtomicU64,
    /// The number of workers that have left the current region.
    left: AtomicU64,
    stop: AtomicBool,
    asleep: Vec<AtomicBool>,
    /// The share of each thread, the caller's first. Set to 0 before the gate opens.
    shares: Vec<Taken>,
}

/// Threads that work together.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let mut team = syva_cpu::team::Team::new(3)?;
/// let sum = AtomicUsize::new(0);
/// team.run(100, &|_, task| { sum.fetch_add(task, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 4950);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub struct Team {
    state: Arc<State>,
    workers: Vec<JoinHandle<()>>,
    /// The process that has the workers. A fork of it has the caller alone, which then takes all tasks.
    process: u32,
}

impl Team {
    /// Makes a team of `threads` threads, including the caller's. An error if the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        let count = threads.max(1) - 1;
        let state = Arc::new(State {
            job: AtomicPtr::new(std::ptr::null_mut()),
            gate: AtomicU64::new(0),
            left: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            shares: (0..=count).map(|_| Taken::default()).collect(),
        });
        // Filled one by one. If a thread is refused, `drop` ends those that did start.
        let mut team = Self { state, workers: Vec::new(), process: process::id() };
        for me in 0..count {
            let state = Arc::clone(&team.state);
            let worker = thread::Builder::new().name(format!("syva-{}", me + 1)).spawn(move || serve(&state, me));
            team.workers.push(worker.map_err(|error| {
                let problem = format!("the system refused thread {} of {threads} ({error})", me + 2);
                Error::resource("threads", problem, "ask for fewer (--threads)")
            })?);
        }
        Ok(team)
    }

    /// The number of threads in the team, including the caller's.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Whether there are no other threads, or so little work that they would come too late.
    pub(crate) fn alone(&self, multiply_adds: usize) -> bool {
        multiply_adds <= ALONE || self.workers.is_empty()
    }

    /// Like [`Team::run`], but the caller runs all tasks alone if there is so little work that other threads would come
    /// too late.
    pub(crate) fn share(&mut self, tasks: usize, multiply_adds: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        if self.alone(multiply_adds) {
            (0..tasks).for_each(|task| work(0, task));
        } else {
            self.run(tasks, work);
        }
    }

    /// Calls `work` once for each task of 0..tasks, on all threads, with the thread's number and the task's number.
    /// Returns after all calls have returned. Panics if one of them has panicked.
    pub fn run(&mut self, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let job = Job { work, tasks, panic: Mutex::new(None) };
        let state = &*self.state;
        state.shares.iter().for_each(|share| share.0.store(0, Ordering::Relaxed));
        if !self.workers.is_empty() && tasks > 1 {
            // The pointer's type claims a longer lifetime than the job has. But a worker uses it only between coming in
            // and leaving, and this function does not return before all workers that came in have left.
            state.job.store((&raw const job).cast_mut().cast(), Ordering::Relaxed);
            state.left.store(0, Ordering::Relaxed);
            // The previous region is shut and empty, so no worker changes the word now.
            let region = (state.gate.load(Ordering::Relaxed) / REGION + 1) * REGION;
            state.gate.store(region | OPEN, Ordering::SeqCst);
            for (asleep, worker) in state.asleep.iter().zip(&self.workers) {
                if asleep.load(Ordering::SeqCst) {
                    worker.thread().unpark();
                }
            }
            job.work_through(&state.shares, 0);
            let inside = state.gate.fetch_and(!OPEN, Ordering::AcqRel) % OPEN;
            let mut spins = 0;
            while state.left.load(Ordering::Acquire) < inside {
                spins += 1;
                if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
            }
        } else {
            job.work_through(&state.shares, 0);
        }
        if let Some(panic) = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}

/// A worker's life: wait for a region, come in if its gate is still open, work through it, leave.
fn serve(state: &State, me: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while state.gate.load(Ordering::Acquire) / REGION == seen {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                // The flag is set before the gate is read again, and the caller reads it after it has changed the gate.
                // All four accesses are sequentially consistent. So a change is either seen here or followed by an
                // unpark.
                state.asleep[me].store(true, Ordering::SeqCst);
                if state.gate.load(Ordering::SeqCst) / REGION == seen {
                    thread::park();
                }
                state.asleep[me].store(false, Ordering::SeqCst);
            }
        }
        if state.stop.load(Ordering::Relaxed) {
            return;
        }
        let come_in = |gate: u64| (gate & OPEN != 0).then_some(gate + 1);
        // This also returns the region's number: the gate may have moved on since it was read.
        let entered = state.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, come_in);
        seen = entered.unwrap_or_else(|shut| shut) / REGION;
        if entered.is_ok() {
            // SAFETY: the job was stored before its gate was opened (released there, acquired by `fetch_update`). `run`
            // keeps it alive until every worker that came in has left, and this one leaves below.
            let job = unsafe { &*state.job.load(Ordering::Relaxed) };
            job.work_through(&state.shares, me + 1);
            state.left.fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if self.process != process::id() {
            // There is nobody to wait for, and `join` would panic.
            mem::forget(mem::take(&mut self.workers));
            return;
        }
        self.state.stop.store(true, Ordering::Relaxed);
        self.state.gate.fetch_add(REGION, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches panics of the work, so it ends normally.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_over_many_regions_and_after_sleep() {
        let mut team = Team::new(4).unwrap();
        for region in 0..2000 {
            let calls: Vec<AtomicUsize> = (0..region % 17).map(|_| AtomicUsize::new(0)).collect();
            team.run(calls.len(), &|_, task| {
                calls[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
            if region % 500 == 0 {
                thread::sleep(std::time::Duration::from_millis(30)); // long enough for all to park
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let mut team = Team::new(3).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| team.run(50, &|_, task| assert_ne!(task, 7, "task seven"))));
        assert!(result.is_err());
        let done = AtomicUsize::new(0);
        team.run(50, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 50);
    }
}
