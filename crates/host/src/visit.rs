//! Entering a host for a moment to do there what a message says, whatever the host's own threads do meanwhile.
//!
//! The visitor waits for the interpreter's GIL like any other of its threads. Code that holds it and never gives it up keeps the
//! visitor waiting; nobody waits for the visitor. What the message says is Python's business: `atoll._visits` asks for it.

use crate::inhabited::Inhabited;
use crate::threads;
use atoll_core::client::{Engine, HostId, Message};
use atoll_py::interpreter::InterpreterHandle;
use atoll_py::{Attached, Result};
use std::cell::RefCell;

thread_local! {
    /// What this thread is to do in the host that it visits.
    static ERRAND: RefCell<Option<Message>> = const { RefCell::new(None) };
}

/// What this thread, a visitor, is to do; once.
pub fn take_errand() -> Option<Message> {
    ERRAND.take()
}

/// Sends a visitor into a host that lives in this interpreter.
pub(crate) fn send(inhabited: &Inhabited, host: HostId, message: Message) {
    start(inhabited.engine(), host, inhabited.interpreter(), message);
}

/// Sends a visitor into the main interpreter.
pub(crate) fn send_to_main(engine: Engine, message: Message) {
    // SAFETY: the engine was started by the native module of the main interpreter, so Python is initialised.
    let main = unsafe { InterpreterHandle::main() };
    start(engine, HostId::MAIN, main, message);
}

/// Nobody can enter any more, or no thread is to be had: the message is dropped.
fn start(engine: Engine, host: HostId, interpreter: InterpreterHandle, message: Message) {
    let Some(stay) = engine.visit_host(host) else {
        return;
    };
    let started = threads::start(host, move || {
        // SAFETY: the host, and so its interpreter, lives as long as `stay`, which outlives the visit (S1 of `inhabited`; the
        // end of the process waits for whoever stays in the main interpreter).
        let visit = unsafe { interpreter.enter() };
        ERRAND.set(Some(message));
        if let Err(raised) = perform(visit.attached()) {
            raised.write_unraisable(None);
        }
        // What was not asked for goes while this thread may still be counted.
        drop(take_errand());
        drop(visit);
        drop(stay);
    });
    // There is no one to tell, but that the message is gone.
    let _ = started;
}

fn perform(py: Attached<'_>) -> Result<()> {
    py.import(c"atoll._visits")?
        .borrow()
        .call_method(c"perform", &[])
        .map(drop)
}
