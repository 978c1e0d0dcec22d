//! Ctrl-C for whoever is at the prompt: while it is, `SIGINT` ends its wait for a line and reaches nobody else.
//!
//! The handler of the program, Python's mostly, is set aside for that time, at the level of the system: the program does not see
//! it, whatever it waits in. A second Ctrl-C that comes before the first was noticed (a command of the debugger that goes on and
//! on) is the program's, as ever.
//!
//! What a signal handler needs has to be static. There is one terminal and one `SIGINT`, and this copy of the library is the one
//! that owns the engine, so there is one of it, too.

use crate::sync::lock;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// A pipe that becomes readable with Ctrl-C, and when a wait for a line is to end for another reason; -1: none yet.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// Its writing end.
static RING: AtomicI32 = AtomicI32::new(-1);
/// Ctrl-C was pressed and nobody has noticed.
static PRESSED: AtomicBool = AtomicBool::new(false);
/// The handler that is set aside, and its flags.
static ASIDE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static ASIDE_FLAGS: AtomicI32 = AtomicI32::new(0);
/// The process that set it aside: in a forked child, Ctrl-C is the child's.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Setting aside and putting back are one step each.
static CHANGE: Mutex<()> = Mutex::new(());

/// While it lives, Ctrl-C is for whoever waits for a line.
pub(super) struct CtrlC {
    before: libc::sigaction,
}

impl CtrlC {
    /// `None`: there is nothing to take. The process ignores Ctrl-C, as a background job does, or has no descriptors left.
    pub(super) fn take() -> Option<Self> {
        bell()?;
        let _one_step = lock(&CHANGE);
        let before = current();
        if before.sa_sigaction == libc::SIG_IGN || before.sa_sigaction == handler() {
            return None;
        }
        PRESSED.store(false, Ordering::SeqCst);
        quieten();
        ASIDE.store(before.sa_sigaction, Ordering::SeqCst);
        ASIDE_FLAGS.store(before.sa_flags, Ordering::SeqCst);
        PROCESS.store(std::process::id(), Ordering::SeqCst);
        // Without SA_RESTART, as Python's own: whatever sleeps may look around.
        set(&action(handler(), libc::SA_SIGINFO | libc::SA_ONSTACK));
        Some(Self { before })
    }
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        let _one_step = lock(&CHANGE);
        // The program may have set another one meanwhile, which is its choice.
        if current().sa_sigaction == handler() {
            set(&self.before);
        }
    }
}

/// Whether Ctrl-C was pressed since the last time.
pub(super) fn was_pressed() -> bool {
    PRESSED.swap(false, Ordering::SeqCst)
}

/// The descriptor that becomes readable. `None`: the process has no descriptors left.
pub(super) fn bell() -> Option<c_int> {
    let known = BELL.load(Ordering::SeqCst);
    if known >= 0 {
        return Some(known);
    }
    let _one_step = lock(&CHANGE);
    if BELL.load(Ordering::SeqCst) < 0 {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
            return None;
        }
        for end in ends {
            // SAFETY: descriptors of ours.
            unsafe {
                libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK);
                libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        RING.store(ends[1], Ordering::SeqCst);
        BELL.store(ends[0], Ordering::SeqCst);
    }
    Some(BELL.load(Ordering::SeqCst))
}

/// Makes the bell readable. For signal handlers, too.
pub(super) fn ring() {
    // SAFETY: one byte; a full pipe is readable, and a descriptor that is not there does not matter.
    unsafe { libc::write(RING.load(Ordering::SeqCst), c"!".as_ptr().cast(), 1) };
}

/// Takes everything out of the bell.
pub(super) fn quieten() {
    let mut bytes = [0_u8; 64];
    let bell = BELL.load(Ordering::SeqCst);
    // SAFETY: room for so many bytes; the descriptor does not block.
    while unsafe { libc::read(bell, bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}

fn handler() -> usize {
    on_interrupt as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize
}

/// Does what may be done in a signal handler: atomics, `getpid`, `write`, `sigaction`, `raise`, and calling another handler.
extern "C" fn on_interrupt(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the thread's own number for errors, which the interrupted code may be about to read.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() }.cast_unsigned();
    if process == PROCESS.load(Ordering::SeqCst) && !PRESSED.swap(true, Ordering::SeqCst) {
        ring();
    } else {
        hand_on(number, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// What would have happened if nothing had been set aside.
fn hand_on(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let flags = ASIDE_FLAGS.load(Ordering::SeqCst);
    match ASIDE.load(Ordering::SeqCst) {
        libc::SIG_IGN => {}
        libc::SIG_DFL => {
            set(&action(libc::SIG_DFL, 0));
            // SAFETY: it arrives when this handler returns.
            unsafe { libc::raise(number) };
        }
        aside if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with that flag, a handler has this type.
            unsafe { (Handler { address: aside }.with_info)(number, info, context) };
        }
        aside => {
            // SAFETY: without it, this one.
            unsafe { (Handler { address: aside }.plain)(number) };
        }
    }
}

/// What `sigaction` calls a handler, which is the address of a function of one of two types.
#[derive(Copy, Clone)]
union Handler {
    address: usize,
    plain: extern "C" fn(c_int),
    with_info: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
}

fn action(handler: usize, flags: c_int) -> libc::sigaction {
    // SAFETY: all zero is a valid value: an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

fn current() -> libc::sigaction {
    let mut current = MaybeUninit::uninit();
    // SAFETY: the signal exists, so the structure is filled.
    unsafe {
        libc::sigaction(libc::SIGINT, std::ptr::null(), current.as_mut_ptr());
        current.assume_init()
    }
}

fn set(action: &libc::sigaction) {
    // SAFETY: a handler that the program had installed, or the one above.
    unsafe { libc::sigaction(libc::SIGINT, action, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    static HEARD: AtomicU32 = AtomicU32::new(0);

    extern "C" fn hear(_: c_int) {
        HEARD.fetch_add(1, Ordering::SeqCst);
    }

    fn press() -> u32 {
        // SAFETY: the handlers above do no harm. It has run when this returns: the signal is this thread's own.
        unsafe { libc::raise(libc::SIGINT) };
        HEARD.load(Ordering::SeqCst)
    }

    /// One test, as there is one signal.
    #[test]
    fn ctrl_c_is_the_prompts_once_and_the_programs_before_and_after_and_for_the_second_time() {
        let programs = action(
            hear as extern "C" fn(c_int) as usize,
            libc::SA_RESTART | libc::SA_NODEFER,
        );
        set(&programs);
        assert_eq!(press(), 1);

        let prompt = CtrlC::take().expect("there is one to take");
        assert!(CtrlC::take().is_none(), "it is taken");
        assert_eq!(press(), 1);
        assert!(was_pressed());
        assert!(!was_pressed());
        assert_eq!(press(), 1);
        assert_eq!(press(), 2, "nobody has noticed the first");
        drop(prompt);
        assert_eq!(press(), 3);
        assert_eq!(current().sa_flags & libc::SA_NODEFER, libc::SA_NODEFER);

        let prompt = CtrlC::take().expect("there is one to take");
        assert!(!was_pressed(), "what came before is forgotten");
        set(&programs);
        drop(prompt);
        assert_eq!(press(), 4, "what the program has set meanwhile stays");

        set(&action(libc::SIG_IGN, 0));
        assert!(CtrlC::take().is_none(), "the program goes on ignoring it");
        set(&action(libc::SIG_DFL, 0));
    }
}
