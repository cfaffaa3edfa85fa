//! Panics of decoders over damaged files, which become errors.

use std::cell::Cell;

thread_local! {
    static DECODES: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread calls a decoder whose panics become errors. A panic hook has nothing to report then.
#[must_use]
pub fn catches_panics() -> bool {
    DECODES.get()
}

/// Calls a decoder; `None` if it panics. What it leaves half done must be dropped with the error.
#[cfg(any(feature = "parquet", feature = "images"))]
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let before = DECODES.replace(true);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    DECODES.set(before);
    outcome.ok()
}

#[cfg(all(test, any(feature = "parquet", feature = "images")))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_nothing_and_told_apart_from_others() {
        assert_eq!(caught(catches_panics), Some(true));
        assert_eq!(caught(|| caught(|| ()).map(|()| catches_panics())), Some(Some(true)));
        assert_eq!(caught(|| assert!(!catches_panics())), None);
        assert!(!catches_panics());
    }
}
