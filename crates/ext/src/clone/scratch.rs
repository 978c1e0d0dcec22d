//! What a walk needs for a while, kept by each thread for its next walk.

use std::cell::Cell;
use std::sync::Mutex;
use std::thread::LocalKey;

use atoll_codec::Writer;

use super::memo::Memo;
use super::names::Names;
use super::{COPIED_BYTES, decode, encode};

/// The working memory of one `encode`.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) writer: Writer,
    pub(super) memo: Memo,
    pub(super) names: Names,
    pub(super) frames: Vec<encode::Frame<'static, 'static>>,
}

thread_local! {
    static ENCODE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    static FRAMES: Cell<Vec<decode::Frame<'static>>> = const { Cell::new(Vec::new()) };
    static NAMES: Cell<Vec<decode::Name>> = const { Cell::new(Vec::new()) };
}

/// The memory of large messages that were received, for the next ones that are sent, in whatever interpreter: memory that the
/// operating system gives anew costs more than what is written to it.
static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How many buffers are kept, and how large one may be: 32 MiB in all.
const BUFFERS_KEPT: usize = 4;
const LARGEST_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A buffer that was used before.
pub(super) fn take_buffer() -> Option<Vec<u8>> {
    BUFFERS.try_lock().ok()?.pop()
}

/// Keeps a buffer for another message, if it is large (others are cheap) and there is room.
pub(super) fn give_back_buffer(buffer: Vec<u8>) {
    if (COPIED_BYTES..=LARGEST_KEPT_BYTES).contains(&buffer.capacity())
        && let Ok(mut buffers) = BUFFERS.try_lock()
        && buffers.len() < BUFFERS_KEPT
    {
        buffers.push(buffer);
    }
}

/// The most frames whose memory is kept.
const FRAMES_KEPT: usize = 256;

/// Takes what this thread keeps: nothing while a walk further up its stack has it, or when the thread is about to end.
fn take<T: Default>(kept: &'static LocalKey<Cell<T>>) -> T {
    kept.try_with(Cell::take).unwrap_or_default()
}

fn keep<T>(kept: &'static LocalKey<Cell<T>>, value: T) {
    // Where the thread is about to end, the memory is simply freed.
    let _ = kept.try_with(|cell| cell.set(value));
}

/// The memory of a vector, empty, for another type of the same layout (the same frame with other lifetimes).
pub(super) fn emptied<T, U>(mut frames: Vec<T>) -> Vec<U> {
    frames.clear();
    // The standard library collects such an iterator into the memory that it came from.
    frames
        .into_iter()
        .map(|_| unreachable!("it was cleared"))
        .collect()
}

impl Scratch {
    /// The thread's own working memory, empty.
    pub(super) fn take() -> Box<Scratch> {
        take(&ENCODE).unwrap_or_default()
    }

    /// Forgets what a walk wrote, for another one.
    pub(super) fn clear(&mut self) {
        self.writer.clear();
        self.memo.clear();
        self.names.clear();
    }

    /// Keeps the memory for the thread's next walk.
    pub(super) fn give_back(mut self: Box<Scratch>) {
        self.clear();
        if self.writer.capacity_bytes() > LARGEST_KEPT_BYTES {
            drop(self.writer.take());
        }
        if self.frames.capacity() > FRAMES_KEPT {
            self.frames = Vec::new();
        }
        keep(&ENCODE, Some(self));
    }
}

/// Memory for the frames and the names of one `decode`.
pub(super) fn take_frames<'py>() -> (Vec<decode::Frame<'py>>, Vec<decode::Name>) {
    (emptied(take(&FRAMES)), take(&NAMES))
}

/// Keeps it for the thread's next walk.
pub(super) fn give_back_frames(frames: Vec<decode::Frame<'_>>, mut names: Vec<decode::Name>) {
    if frames.capacity() <= FRAMES_KEPT {
        keep(&FRAMES, emptied(frames));
    }
    if names.capacity() <= FRAMES_KEPT {
        names.clear();
        keep(&NAMES, names);
    }
}
