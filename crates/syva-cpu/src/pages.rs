//! Large arrays in huge pages.
//!
//! A processor remembers where some thousand pages are, and looks up all others in memory. An epoch reads the samples in
//! a random order, so that almost each one of a large data set is on a page that has to be looked up. A huge page is
//! one page for 2 MiB. Linux has them, and gives them to those who ask, or to all.

use syva_core::data::Dataset;
#[cfg(target_os = "linux")]
use syva_core::data::Inputs;

/// Arrays of fewer bytes stay as they are: their pages can be remembered.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// A vector of `len` equal values, in huge pages if it is large and the system has them.
pub(crate) fn vector<T: Clone>(value: T, len: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    #[cfg(target_os = "linux")]
    advise::<T>(values.as_ptr(), len, libc::MADV_HUGEPAGE);
    // Touched only now, which is when the system chooses the pages.
    values.resize(len, value);
    values
}

/// Moves the inputs of a large data set to huge pages, if the system can (Linux from 6.1 on). That takes longer than an
/// epoch gains, so training need not wait for it.
pub(crate) fn gather(data: &Dataset) {
    #[cfg(target_os = "linux")]
    {
        let bytes = match data.inputs() {
            Inputs::U8(x) => size_of_val(&x[..]),
            Inputs::F32(x) => size_of_val(&x[..]),
            Inputs::Mixed(x) => size_of_val(x.numbers()),
        };
        if bytes < LARGE {
            return;
        }
        let data = data.clone();
        let work = move || {
            for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
                match data.inputs() {
                    Inputs::U8(x) => advise(x.as_ptr(), x.len(), advice),
                    Inputs::F32(x) => advise(x.as_ptr(), x.len(), advice),
                    Inputs::Mixed(x) => advise(x.numbers().as_ptr(), x.numbers().len(), advice),
                }
            }
        };
        // Without a thread, the pages stay as they are.
        let _ = std::thread::Builder::new().name("syva-pages".into()).spawn(work);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = data;
}

/// Advises the system on the whole pages of an array.
#[cfg(target_os = "linux")]
fn advise<T>(values: *const T, len: usize, advice: libc::c_int) {
    // A multiple of every size of Linux's pages.
    const PAGE: usize = 1 << 16;
    let (start, bytes) = (values.addr(), len * size_of::<T>());
    let (first, end) = (start.next_multiple_of(PAGE), (start + bytes) / PAGE * PAGE);
    if bytes >= LARGE {
        // SAFETY: these pages belong to the array, and the advice changes nothing but where their content is. It may be
        // refused, which does no harm.
        unsafe { libc::madvise(values.with_addr(first).cast_mut().cast(), end - first, advice) };
    }
}
