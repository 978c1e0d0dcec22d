//! Memory for short-lived blocks that one thread allocates and another frees, over and over.
//!
//! A general allocator keeps what a thread frees with that thread, or takes the lock of the block's arena:
//! either way a stream of messages makes both its threads fight for memory. Here a thread frees into a
//! stock of its own and passes the surplus on in bundles, which threads that run out take over whole: one
//! short lock for every [`BUNDLE`] blocks.
//!
//! # Invariants
//! - B1: every block in a stock or in the depot of class *c* was allocated with the layout of that class and is
//!   used by nobody.
//! - B2: the depot holds at most [`DEPOT`] bundles a class, a thread at most two; the rest goes back to the
//!   allocator. A thread that ends gives its stock back.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Block sizes in bytes; what is larger comes from the allocator.
const CLASSES: [usize; 2] = [256, 2048];
const BUNDLE: usize = 32;
const DEPOT: usize = 64;
/// Enough for everything that lies in a block.
const ALIGNMENT: usize = 16;

/// Unused blocks of one class (B1).
struct Blocks {
    class: usize,
    free: Vec<NonNull<u8>>,
}

// SAFETY: B1: nobody else has these blocks.
unsafe impl Send for Blocks {}

impl Drop for Blocks {
    fn drop(&mut self) {
        for block in self.free.drain(..) {
            // SAFETY: B1.
            unsafe { dealloc(block.as_ptr(), layout_of(self.class)) };
        }
    }
}

/// Bundles for whoever runs out. Per copy of the library, like the blocks: they go back to who made them.
static SURPLUS: [Mutex<Vec<Blocks>>; CLASSES.len()] =
    [const { Mutex::new(Vec::new()) }; CLASSES.len()];

thread_local! {
    static STOCK: RefCell<[Blocks; CLASSES.len()]> = const {
        RefCell::new([
            Blocks { class: 0, free: Vec::new() },
            Blocks { class: 1, free: Vec::new() },
        ])
    };
}

/// The depot of a class, unless another thread is at it: then do without. (In a forked child that may be for
/// ever.)
fn surplus(class: usize) -> Option<MutexGuard<'static, Vec<Blocks>>> {
    match SURPLUS[class].try_lock() {
        Ok(surplus) => Some(surplus),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn class_of(size: usize) -> Option<usize> {
    CLASSES.iter().position(|&class| size <= class)
}

fn layout_of(class: usize) -> Layout {
    match Layout::from_size_align(CLASSES[class], ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => unreachable!("a class is small"),
    }
}

fn layout_beyond(size: usize) -> Layout {
    match Layout::from_size_align(size, ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => unreachable!("so many bytes were in memory already"),
    }
}

fn fresh(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is empty.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// At least *size* bytes (more than zero), aligned to 16.
pub(crate) fn allocate(size: usize) -> NonNull<u8> {
    let Some(class) = class_of(size) else {
        return fresh(layout_beyond(size));
    };
    // Without a stock (the thread is ending), or with an empty one and no surplus anywhere: a new block.
    STOCK
        .try_with(|stock| {
            let stock = &mut stock.borrow_mut()[class];
            stock.free.pop().or_else(|| {
                *stock = surplus(class)?.pop()?;
                stock.free.pop()
            })
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| fresh(layout_of(class)))
}

/// Takes a block back.
///
/// # Safety
/// *block* came from [`allocate`] of this copy of the library with the same size, and is not used any more.
pub(crate) unsafe fn free(block: NonNull<u8>, size: usize) {
    let Some(class) = class_of(size) else {
        // SAFETY: allocated with this layout, by the caller.
        return unsafe { dealloc(block.as_ptr(), layout_beyond(size)) };
    };
    let kept = STOCK.try_with(|stock| {
        let stock = &mut stock.borrow_mut()[class];
        stock.free.push(block);
        if stock.free.len() < 2 * BUNDLE {
            return;
        }
        let bundle = Blocks {
            class,
            free: stock.free.split_off(BUNDLE),
        };
        if let Some(mut surplus) = surplus(class)
            && surplus.len() < DEPOT
        {
            surplus.push(bundle);
        }
    });
    if kept.is_err() {
        // SAFETY: of this class's layout, by the caller; the thread is ending and keeps no stock.
        unsafe { dealloc(block.as_ptr(), layout_of(class)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_hold_what_is_written_wherever_they_are_freed() {
        struct Sent(NonNull<u8>, usize);
        // SAFETY: each block is used by one thread at a time.
        unsafe impl Send for Sent {}

        let (sender, receiver) = std::sync::mpsc::channel::<Sent>();
        let freeing = std::thread::spawn(move || {
            for Sent(block, size) in receiver {
                // SAFETY: as many bytes as were asked for, all written.
                let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
                assert!(bytes.iter().all(|&byte| byte == size as u8));
                // SAFETY: from `allocate` with this size, and not used afterwards.
                unsafe { free(block, size) };
            }
        });
        for round in 0..20_000 {
            let size = [1, 100, 256, 257, 2048, 2049][round % 6];
            let block = allocate(size);
            assert_eq!(block.as_ptr() as usize % ALIGNMENT, 0);
            // SAFETY: there are that many bytes.
            unsafe { block.write_bytes(size as u8, size) };
            sender.send(Sent(block, size)).unwrap();
        }
        drop(sender);
        freeing.join().unwrap();
        for surplus in &SURPLUS {
            assert!(surplus.lock().unwrap().len() <= DEPOT);
        }
    }
}
