//! Hints to the processor about memory that is about to be used. A hint may name any address: it never faults.
//!
//! A turn knows all its work before it begins, and with many connections little of that is still in the cache;
//! while one task runs, the memory of the next is on its way.

/// Bytes of a cache line on all machines that matter here.
const LINE: usize = 64;

/// Asks for the line that holds `at`.
#[inline(always)]
fn line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that a program could see and never faults.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

/// Lines that are asked for without a look at how many are left.
const GROUP: usize = 4;

/// Asks for a value's memory, up to `bytes_max` of it.
#[inline(always)]
pub(crate) fn value<T: ?Sized>(value: &T, bytes_max: usize) {
    let mut at = core::ptr::from_ref(value).cast::<u8>();
    let lines = size_of_val(value).min(bytes_max).div_ceil(LINE);
    for _ in 0..lines / GROUP {
        for ahead in 0..GROUP {
            line(at.wrapping_add(ahead * LINE));
        }
        at = at.wrapping_add(GROUP * LINE);
    }
    for ahead in 0..lines % GROUP {
        line(at.wrapping_add(ahead * LINE));
    }
}
