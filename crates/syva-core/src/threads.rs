//! Threads for short work: up to as many as asked for, or fewer if the system refuses some.

/// The number of cores that this process may use: those of the machine, less those that its affinity or its control
/// group's quota withholds. 1 if the system does not say.
#[must_use]
pub fn cores() -> usize {
    #[cfg(feature = "threads")]
    return std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(not(feature = "threads"))]
    1
}

/// Calls `work` once for each item, on at most `threads` threads, including the caller's. A thread that is free takes
/// the next item. If the system refuses threads, the others do the work. Panics if a call has panicked.
///
/// Without the feature `threads`, the calling thread does all the work.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let sum = AtomicUsize::new(0);
/// syva_core::threads::share(2, 0..100, |item| { sum.fetch_add(item, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 4950);
/// ```
pub fn share<T>(threads: usize, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    #[cfg(feature = "threads")]
    if threads > 1 {
        use std::sync::{Mutex, PoisonError};
        let items = Mutex::new(items);
        // A separate function, so that the lock is not held during the work.
        let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work_through = || std::iter::from_fn(next).for_each(&work);
        std::thread::scope(|scope| {
            let start = |_| std::thread::Builder::new().name("syva".into()).spawn_scoped(scope, work_through).is_ok();
            let _ = (1..threads).all(start);
            work_through();
        });
        return;
    }
    let _ = threads;
    items.for_each(work);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_item_is_worked_on_once_by_at_most_so_many_threads() {
        for threads in [0, 1, 2, 5] {
            let (done, workers) = (Mutex::new(Vec::new()), Mutex::new(HashSet::new()));
            share(threads, 0..50, |item| {
                workers.lock().unwrap().insert(std::thread::current().id());
                std::thread::sleep(std::time::Duration::from_millis(1));
                done.lock().unwrap().push(item);
            });
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..50).collect::<Vec<_>>());
            let workers = workers.into_inner().unwrap().len();
            assert!((1..=threads.max(1)).contains(&workers), "{workers} of {threads} threads");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let run = || share(3, 0..20, |item| assert_ne!(item, 7, "item seven"));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
