//! What travels: some bytes, and beside them some channel ends and regions of memory. What the bytes mean is the codec's matter.

use crate::client::End;
use crate::pool;
use crate::region::Region;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// One message, 24 bytes: short ones inline, longer ones in a [`Parcel`] on the heap.
///
/// The layout is fixed, because a copy of this library in another linker namespace may have built it.
/// A parcel is freed by the copy that made it, through the function that it carries.
///
/// # Invariant
/// - M1: `length` is at most [`Message::INLINE_BYTES`] and that many bytes of `content` are the message, or
///   it is [`PARCEL`] and the first eight bytes of `content` are a parcel that this message owns.
#[repr(C, align(8))]
pub struct Message {
    content: [u8; Self::INLINE_BYTES],
    /// Whether code of the receiving interpreter may run while it is rebuilt.
    runs_code: bool,
    length: u8,
}

const PARCEL: u8 = u8::MAX;

/// The heap part of a message. Its bytes are a vector's, or lie right behind it (see [`Message::copied`]).
#[repr(C)]
struct Parcel {
    free: unsafe extern "C" fn(*mut Parcel),
    bytes: RawVec<u8>,
    ends: RawVec<End>,
    /// The regions, or null for none; freed by the copy that made the parcel, like the parcel.
    regions: *mut RawVec<Region>,
}

/// The regions of a parcel, in its form.
fn raw_regions(regions: Vec<Region>) -> *mut RawVec<Region> {
    if regions.is_empty() {
        return std::ptr::null_mut();
    }
    Box::into_raw(Box::new(RawVec::new(regions)))
}

/// # Safety
/// *regions* came from [`raw_regions`] of this copy of the library, and is not used afterwards.
unsafe fn drop_regions(regions: *mut RawVec<Region>) {
    if !regions.is_null() {
        // SAFETY: made by Box there, by the caller; its vector likewise, and turned back only here.
        drop(unsafe { Box::from_raw(regions).into_vec() });
    }
}

/// A vector taken apart, in a fixed layout. Only the copy that made it may turn it back.
#[repr(C)]
struct RawVec<T> {
    pointer: *mut T,
    length: usize,
    capacity: usize,
}

impl<T> RawVec<T> {
    fn new(vec: Vec<T>) -> Self {
        let mut vec = ManuallyDrop::new(vec);
        Self {
            pointer: vec.as_mut_ptr(),
            length: vec.len(),
            capacity: vec.capacity(),
        }
    }

    /// # Safety
    /// Made by this copy of the library, and turned back once.
    unsafe fn into_vec(self) -> Vec<T> {
        // SAFETY: the parts of a Vec of this allocator, by the caller.
        unsafe { Vec::from_raw_parts(self.pointer, self.length, self.capacity) }
    }
}

// SAFETY: a message owns its bytes and ends alone, and ends may move between threads.
unsafe impl Send for Message {}

impl Message {
    /// How many bytes fit without a heap allocation.
    pub const INLINE_BYTES: usize = 22;

    /// A short message; `None` if it is too long.
    #[inline]
    #[must_use]
    pub fn inline(bytes: &[u8]) -> Option<Self> {
        let mut content = [0; Self::INLINE_BYTES];
        content.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            content,
            runs_code: false,
            length: bytes.len() as u8,
        })
    }

    /// A short message that fills *content* only up to *length*.
    ///
    /// Panics if *length* is more than [`Self::INLINE_BYTES`].
    #[inline]
    #[must_use]
    pub fn from_inline(content: [u8; Self::INLINE_BYTES], length: usize) -> Self {
        assert!(length <= Self::INLINE_BYTES);
        Self {
            content,
            runs_code: false,
            length: length as u8,
        }
    }

    /// A message of any length, inline if it is short and carries no ends.
    #[must_use]
    pub fn new(bytes: Vec<u8>, ends: Vec<End>) -> Self {
        Self::with_regions(bytes, ends, Vec::new())
    }

    /// As [`Self::new`], with memory that travels beside the bytes.
    #[must_use]
    pub fn with_regions(bytes: Vec<u8>, ends: Vec<End>, regions: Vec<Region>) -> Self {
        if ends.is_empty()
            && regions.is_empty()
            && let Some(message) = Self::inline(&bytes)
        {
            return message;
        }
        let parcel = Box::into_raw(Box::new(Parcel {
            free: free_parcel,
            bytes: RawVec::new(bytes),
            ends: RawVec::new(ends),
            regions: raw_regions(regions),
        }));
        Self::of_parcel(parcel)
    }

    /// The same message, with the note that code of the receiving interpreter may run while it is rebuilt.
    #[must_use]
    pub fn running_code(mut self) -> Self {
        self.runs_code = true;
        self
    }

    /// Whether code of the receiving interpreter may run while it is rebuilt.
    #[inline]
    #[must_use]
    pub fn runs_code(&self) -> bool {
        self.runs_code
    }

    #[inline(always)]
    /// A message of a copy of *bytes*, inline if it is short and carries no ends, otherwise in one piece of memory.
    #[must_use]
    pub fn copied(bytes: &[u8], ends: Vec<End>) -> Self {
        if ends.is_empty()
            && let Some(message) = Self::inline(bytes)
        {
            return message;
        }
        let parcel = pool::allocate(whole_size(bytes.len()))
            .cast::<Parcel>()
            .as_ptr();
        // SAFETY: the block has room for the parcel and, behind it, the bytes.
        unsafe {
            let behind = parcel.add(1).cast::<u8>();
            behind.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            parcel.write(Parcel {
                free: free_whole,
                bytes: RawVec {
                    pointer: behind,
                    length: bytes.len(),
                    capacity: 0,
                },
                ends: RawVec::new(ends),
                regions: std::ptr::null_mut(),
            });
        }
        Self::of_parcel(parcel)
    }

    /// The message that owns *parcel* from now on.
    fn of_parcel(parcel: *mut Parcel) -> Self {
        let mut content = [0; Self::INLINE_BYTES];
        content[..8].copy_from_slice(&(parcel as u64).to_ne_bytes());
        Self {
            content,
            runs_code: false,
            length: PARCEL,
        }
    }

    fn parcel(&self) -> Option<*mut Parcel> {
        if self.length != PARCEL {
            return None;
        }
        let mut address = [0; 8];
        address.copy_from_slice(&self.content[..8]);
        Some(u64::from_ne_bytes(address) as *mut Parcel)
    }

    /// Whether it is short and carries nothing.
    #[inline]
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.length != PARCEL
    }

    /// The encoded content.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.parcel() {
            None => &self.content[..self.length as usize],
            // SAFETY: M1: the parcel is ours and lives as long as the message; its bytes are initialised.
            Some(parcel) => unsafe {
                std::slice::from_raw_parts((*parcel).bytes.pointer, (*parcel).bytes.length)
            },
        }
    }

    /// How many channel ends it carries.
    #[must_use]
    pub fn ends_len(&self) -> usize {
        // SAFETY: M1: the parcel is ours.
        self.parcel()
            .map_or(0, |parcel| unsafe { (*parcel).ends.length })
    }

    /// The channel ends that it carries.
    #[must_use]
    pub fn ends(&self) -> &[End] {
        match self.parcel() {
            None => &[],
            // SAFETY: M1: the parcel is ours and lives as long as the message; so many ends are initialised.
            Some(parcel) => unsafe {
                std::slice::from_raw_parts((*parcel).ends.pointer, (*parcel).ends.length)
            },
        }
    }

    /// Moves the channel ends out, in the order in which they were put in.
    #[must_use]
    pub fn take_ends(&mut self) -> Vec<End> {
        let Some(parcel) = self.parcel() else {
            return Vec::new();
        };
        // SAFETY: M1: the parcel is ours alone (`&mut self`).
        let ends = unsafe { &mut (*parcel).ends };
        // SAFETY: so many ends are initialised there. They are copied out, not freed: the memory stays
        // with the copy that made it, and the length below says that no end is left in it.
        let taken = (0..ends.length)
            .map(|i| unsafe { ends.pointer.add(i).read() })
            .collect();
        ends.length = 0;
        taken
    }

    /// How many regions it carries.
    #[inline]
    #[must_use]
    pub fn regions_len(&self) -> usize {
        // SAFETY: M1: the parcel is ours, and its regions with it.
        self.parcel().map_or(0, |parcel| unsafe {
            (*parcel).regions.as_ref().map_or(0, |raw| raw.length)
        })
    }

    /// Moves the regions out, in the order in which they were put in.
    #[must_use]
    pub fn take_regions(&mut self) -> Vec<Region> {
        let Some(parcel) = self.parcel() else {
            return Vec::new();
        };
        // SAFETY: M1: the parcel is ours alone (`&mut self`), and its regions with it.
        let Some(regions) = (unsafe { (*parcel).regions.as_mut() }) else {
            return Vec::new();
        };
        // SAFETY: so many regions are initialised there. They are copied out, not freed, as in `take_ends`.
        let taken = (0..regions.length)
            .map(|i| unsafe { regions.pointer.add(i).read() })
            .collect();
        regions.length = 0;
        taken
    }

    /// The memory of a long message, to be used for another one. `None` if the message is short or was made by another
    /// copy of the library. Ends that are left in it are released.
    #[must_use]
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        let parcel = self.parcel()?;
        // SAFETY: M1: the parcel is ours.
        let free = unsafe { (*parcel).free };
        if !std::ptr::fn_addr_eq(free, free_parcel as unsafe extern "C" fn(*mut Parcel)) {
            return None;
        }
        std::mem::forget(self);
        // SAFETY: made by Box in `Message::new` of this copy, which `free` shows; the forgotten message was its owner.
        let parcel = unsafe { *Box::from_raw(parcel) };
        // SAFETY: made there by this copy, and turned back only here.
        drop(unsafe { parcel.ends.into_vec() });
        // SAFETY: likewise.
        unsafe { drop_regions(parcel.regions) };
        // SAFETY: likewise.
        Some(unsafe { parcel.bytes.into_vec() })
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel() {
            // SAFETY: M1: the parcel is ours, and this is its only end.
            unsafe { ((*parcel).free)(parcel) };
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("length", &self.bytes().len())
            .field("ends", &self.ends_len())
            .field("regions", &self.regions_len())
            .finish()
    }
}

/// Frees a parcel of this copy of the library, with what is left in it.
///
/// # Safety
/// *parcel* was made by `Message::new` of this copy, and is not used afterwards.
unsafe extern "C" fn free_parcel(parcel: *mut Parcel) {
    // SAFETY: made by Box in `Message::new`, by the caller.
    let parcel = unsafe { *Box::from_raw(parcel) };
    // SAFETY: all made there by this copy, and turned back only here.
    unsafe {
        drop(parcel.bytes.into_vec());
        drop(parcel.ends.into_vec());
        drop_regions(parcel.regions);
    }
}

/// How much memory a parcel takes with its bytes behind it.
fn whole_size(bytes: usize) -> usize {
    size_of::<Parcel>() + bytes
}

/// Frees a parcel of [`Message::copied`] of this copy of the library.
///
/// # Safety
/// *parcel* was made there, and is not used afterwards.
unsafe extern "C" fn free_whole(parcel: *mut Parcel) {
    // SAFETY: initialised there, by the caller; moved out once. Its bytes lie behind it, in the same memory.
    let Parcel {
        bytes,
        ends,
        regions,
        ..
    } = unsafe { parcel.read() };
    // SAFETY: made by `RawVec::new` there, and turned back only here.
    drop(unsafe { ends.into_vec() });
    // SAFETY: made by `raw_regions` there, or null.
    unsafe { drop_regions(regions) };
    if let Some(block) = NonNull::new(parcel) {
        // SAFETY: allocated there for so many bytes.
        unsafe { pool::free(block.cast(), whole_size(bytes.length)) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn short_messages_are_inline_and_long_ones_are_not() {
        for length in [0, 1, 22, 23, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let copied = Message::copied(&bytes, Vec::new());
            for message in [Message::new(bytes.clone(), Vec::new()), copied] {
                assert_eq!(message.bytes(), bytes);
                assert_eq!(message.parcel().is_none(), length <= Message::INLINE_BYTES);
            }
        }
        assert!(Message::inline(&[0; 23]).is_none());
        assert_eq!(size_of::<Message>(), 24);
    }

    #[test]
    fn regions_travel_beside_the_bytes_and_are_freed_with_them() {
        let region = Region::from_vec(vec![7; 100]);
        let send = || Message::with_regions(vec![1], Vec::new(), vec![region.clone()]);
        assert_eq!(send().regions_len(), 1);
        let mut message = send();
        let taken = message.take_regions();
        assert_eq!(message.regions_len(), 0);
        drop(message);
        assert_eq!(taken[0].bytes(), region.bytes());
        assert!(!region.is_unique());
        drop(taken);
        assert!(region.is_unique());
        drop(send());
        assert!(region.is_unique());
        assert_eq!(send().into_buffer(), Some(vec![1]));
        assert!(region.is_unique());
    }

    #[test]
    fn a_message_says_whether_code_runs() {
        assert!(!Message::copied(&[1], Vec::new()).runs_code());
        for length in [1, 1000] {
            let message = Message::copied(&vec![1; length], Vec::new()).running_code();
            assert!(message.runs_code());
            assert_eq!(message.bytes().len(), length);
        }
    }

    #[test]
    fn the_memory_of_a_long_message_can_be_used_again() {
        let bytes = vec![7; 1000];
        let address = bytes.as_ptr();
        let buffer = Message::new(bytes, Vec::new()).into_buffer();
        assert_eq!(buffer.map(|buffer| buffer.as_ptr()), Some(address));
        assert_eq!(Message::new(vec![7; 3], Vec::new()).into_buffer(), None);
    }
}
