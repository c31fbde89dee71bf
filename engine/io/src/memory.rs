//! Memory from the kernel: zeroed, in huge pages where there are any, and where it is shared with a
//! descriptor under which another process finds it again.
//!
//! What it is for: the replay filter ([`Lines`]), which is too large for the heap and in which a
//! new process goes on where the old one stopped; pools of packets ([`Memory::bytes_mut`]).
#![expect(unsafe_code, reason = "maps memory, and gives it out under the types that it serves as")]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

use phix_engine::replay::{Line, Lines};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Mappings are made in whole huge pages, so that the last one is not made of small ones.
const GRAIN: usize = 2 << 20;

/// Why memory could not be had.
#[derive(Debug)]
pub struct MemoryError {
    bytes: usize,
    error: io::Error,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = crate::error::words(&self.error).to_lowercase();
        write!(f, "cannot get {} bytes of memory: {words}", self.bytes)
    }
}

impl std::error::Error for MemoryError {}

/// Zeroed memory that belongs to its owner alone, or that other processes may map as well.
///
/// Invariant: `start` points to `len` bytes that are mapped for reading and writing until this is
/// dropped, and that begin at a page.
/// Invariant: nothing else in this process refers to them. Other processes may change them only
/// where there is a descriptor (`shared`).
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    shared: Option<OwnedFd>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `Memory` owns it alone.
unsafe impl Send for Memory {}
// SAFETY: through a shared `Memory` only atomics are given out.
unsafe impl Sync for Memory {}

impl Memory {
    /// At least `bytes` of memory that no other process sees. Pages are given out as they are
    /// touched; see [`Memory::populate`].
    ///
    /// # Errors
    /// If the kernel has not got so much.
    pub fn private(bytes: usize) -> Result<Self, MemoryError> {
        let len = whole(bytes)?;
        // SAFETY: a null hint lets the kernel choose where nothing is mapped.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), len, read_write(), MapFlags::PRIVATE)
        };
        Self::of(start, len, None)
    }

    /// At least `bytes` of memory that another process can map, too: hand it a duplicate of
    /// [`Memory::as_fd`], of which it makes a `Memory` with [`Memory::from_fd`].
    ///
    /// # Errors
    /// If the kernel has not got so much.
    pub fn shared(bytes: usize) -> Result<Self, MemoryError> {
        let len = whole(bytes)?;
        let made = || {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = rustix::fs::memfd_create("phix", flags)?;
            rustix::fs::ftruncate(&fd, len as u64)?;
            rustix::fs::fcntl_add_seals(&fd, seals())?;
            Ok(fd)
        };
        let fd = made().map_err(|error: rustix::io::Errno| failed(len, error))?;
        Self::map(fd, len)
    }

    /// The memory behind a descriptor that [`Memory::as_fd`] gave, in this process or another.
    ///
    /// # Errors
    /// If it is not such a descriptor, or the memory cannot be mapped.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, MemoryError> {
        let len = rustix::fs::fstat(&fd).map_err(|error| failed(0, error))?.st_size;
        let len = usize::try_from(len).unwrap_or_default();
        // Whoever could shrink it could have a read of this process end in SIGBUS.
        let fixed = rustix::fs::fcntl_get_seals(&fd).is_ok_and(|held| held.contains(seals()));
        if len == 0 || !fixed {
            let error = io::Error::other("the descriptor is not one of memory whose size is fixed");
            return Err(MemoryError { bytes: len, error });
        }
        Self::map(fd, len)
    }

    fn map(fd: OwnedFd, len: usize) -> Result<Self, MemoryError> {
        // SAFETY: a null hint lets the kernel choose where nothing is mapped.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, read_write(), MapFlags::SHARED, &fd, 0)
        };
        Self::of(start, len, Some(fd))
    }

    fn of(
        start: rustix::io::Result<*mut core::ffi::c_void>,
        len: usize,
        shared: Option<OwnedFd>,
    ) -> Result<Self, MemoryError> {
        let start = start.map_err(|error| failed(len, error))?;
        let start = NonNull::new(start.cast()).expect("a null hint never maps the null page");
        let memory = Self { start, len, shared };
        // Kernels without huge pages refuse, and small ones do as well.
        let _ = memory.advise(Advice::LinuxHugepage);
        Ok(memory)
    }

    /// Bytes; at least as many as were asked for.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none, which is never so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The descriptor of shared memory.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.shared.as_ref().map(AsFd::as_fd)
    }

    /// Has all pages given out now, so that no thread meets a page fault later. Takes roughly a
    /// third of a second per GiB.
    ///
    /// # Errors
    /// If there is not so much memory. Kernels before 5.14 cannot do it and are no error.
    pub fn populate(&self) -> Result<(), MemoryError> {
        match self.advise(Advice::LinuxPopulateWrite) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(failed(self.len, error)),
        }
    }

    /// The bytes; nothing if other processes may change them.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if self.shared.is_some() {
            return None;
        }
        // SAFETY: by the invariants the bytes are mapped, initialised by the kernel, and nobody
        // else's; the borrow of `self` keeps them so.
        Some(unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) })
    }

    fn advise(&self, advice: Advice) -> rustix::io::Result<()> {
        // SAFETY: the range is that of the mapping, and no advice used here changes its contents.
        unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice) }
    }
}

impl Lines for Memory {
    fn lines(&self) -> &[Line] {
        const { assert!(GRAIN.is_multiple_of(size_of::<Line>())) };
        // SAFETY: a line is made of atomics, for which all bits are valid and which others may
        // change at any time; a page begins at a line's alignment; `len` bytes are mapped.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.len / size_of::<Line>()) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the range is that of the mapping, and all borrows of it have ended with `self`.
        let done = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(done.is_ok(), "a mapping can be given back");
    }
}

/// Asks for huge pages in memory that something else owns, such as the pools of packets: a packet
/// then meets one entry of the processor's page tables where there were many. Says for how many
/// bytes the kernel agreed. Pages are given out as they are touched, as before.
pub(crate) fn prefer_huge_pages((start, len): (*const u8, usize)) -> usize {
    let shift = start.align_offset(GRAIN).min(len);
    let whole = (len - shift) / GRAIN * GRAIN;
    if whole == 0 {
        return 0;
    }
    let start = start.wrapping_add(shift).cast_mut().cast();
    // SAFETY: this advice changes no contents, whoever uses the memory; where nothing is mapped it
    // is refused.
    let advised = unsafe { rustix::mm::madvise(start, whole, Advice::LinuxHugepage) };
    // Kernels without huge pages refuse.
    advised.map_or(0, |()| whole)
}

const fn read_write() -> ProtFlags {
    ProtFlags::READ.union(ProtFlags::WRITE)
}

const fn seals() -> SealFlags {
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL)
}

fn whole(bytes: usize) -> Result<usize, MemoryError> {
    let len = bytes.max(1).checked_next_multiple_of(GRAIN);
    len.filter(|&len| isize::try_from(len).is_ok())
        .ok_or_else(|| failed(bytes, rustix::io::Errno::NOMEM))
}

fn failed(bytes: usize, error: rustix::io::Errno) -> MemoryError {
    MemoryError { bytes, error: error.into() }
}

#[cfg(test)]
mod tests {
    use phix_engine::replay::{ReplayFilter, Verdict};

    use super::*;

    #[test]
    fn private_memory_is_zeroed_and_writable() {
        let mut memory = Memory::private(3 << 20).unwrap();
        assert_eq!(memory.len(), 4 << 20, "whole huge pages");
        memory.populate().unwrap();
        assert!(memory.as_fd().is_none());
        let bytes = memory.bytes_mut().expect("nobody else has it");
        assert!(bytes.iter().all(|&byte| byte == 0));
        bytes[(4 << 20) - 1] = 1;
        assert_eq!(memory.lines().len(), (4 << 20) / 64);
    }

    #[test]
    fn what_is_set_in_shared_memory_is_seen_through_its_descriptor() {
        let mut memory = Memory::shared(1).unwrap();
        assert!(memory.bytes_mut().is_none(), "atomics only");
        let fd = memory.as_fd().unwrap().try_clone_to_owned().unwrap();
        let one = ReplayFilter::over(Box::new(memory), [1; 32], 0);
        assert_eq!(one.check_and_set(&[7; 32]), Verdict::New);
        let two = ReplayFilter::over(Box::new(Memory::from_fd(fd).unwrap()), [1; 32], 0);
        assert_eq!(two.check_and_set(&[7; 32]), Verdict::Seen);
        assert_eq!(two.check_and_set(&[8; 32]), Verdict::New);
        drop(two);
        assert_eq!(one.check_and_set(&[8; 32]), Verdict::Seen);
    }

    #[test]
    fn pools_lie_in_huge_pages_where_there_are_any() {
        let seats = phix_engine::shard::Seat::several([0, 8192, 0, 0, 0], 2);
        let (start, len) = seats[0].memory();
        assert_eq!(seats[1].memory(), (start, len), "one allocation");
        assert!(len > 2 * 8192 * 2496);
        let agreed = prefer_huge_pages((start, len));
        let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if !enabled.is_ok_and(|text| !text.contains("[never]")) {
            use std::io::Write;
            let line = b"ATTENTION: NOT TESTED: huge pages, which this kernel does not give\n";
            std::io::stderr().write_all(line).unwrap();
            return;
        }
        assert!(agreed > len - 2 * GRAIN, "{agreed} of {len} bytes");
        // The kernel notes the advice in the flags of the mapping.
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut inside, mut advised) = (false, false);
        for line in maps.lines() {
            if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
                && let (Ok(from), Ok(to)) =
                    (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&(start.addr() + GRAIN));
            }
            advised |= inside && line.starts_with("VmFlags:") && line.contains(" hg");
        }
        assert!(advised, "the mapping of the pools is to have huge pages");
        assert_eq!(prefer_huge_pages((start, 1000)), 0);
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        assert!(Memory::from_fd(fd).is_err());
        assert!(Memory::from_fd(tempfile().into()).is_err());
    }

    fn tempfile() -> std::fs::File {
        std::fs::File::open("/proc/self/exe").unwrap()
    }

    #[test]
    fn too_much_is_an_error_in_words() {
        for bytes in [usize::MAX, isize::MAX as usize - GRAIN] {
            let error = Memory::private(bytes).unwrap_err().to_string();
            assert!(error.contains("bytes of memory: cannot allocate memory"), "{error}");
        }
    }
}
