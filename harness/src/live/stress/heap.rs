//! How much this process has allocated and not freed.
//!
//! The memory that a process has from the system does not tell: what was freed is kept for later, and a leak fills
//! it for a long time before it shows.

/// In bytes, as glibc (2.33 or newer) tells; 0 where there is another allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn in_use() -> u64 {
    use std::ffi::{c_char, c_void};

    #[repr(C)]
    struct Mallinfo2 {
        arena: usize,
        ordblks: usize,
        smblks: usize,
        hblks: usize,
        hblkhd: usize,
        usmblks: usize,
        fsmblks: usize,
        uordblks: usize,
        fordblks: usize,
        keepcost: usize,
    }

    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }

    // SAFETY: a null handle means all that is loaded, and the name is a string of C.
    let found = unsafe { dlsym(std::ptr::null_mut(), c"mallinfo2".as_ptr()) };
    if found.is_null() {
        return 0;
    }
    // SAFETY: glibc's function of this name takes nothing and returns this structure, from any thread.
    let told = unsafe {
        let mallinfo2: extern "C" fn() -> Mallinfo2 = std::mem::transmute(found);
        mallinfo2()
    };
    (told.uordblks + told.hblkhd) as u64
}

/// In bytes; not known here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn in_use() -> u64 {
    0
}
