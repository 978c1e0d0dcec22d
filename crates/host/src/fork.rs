//! What a forked child must forget: see [`atoll_py::fork`].

use atoll_py::fork::InterpreterList;
use std::sync::OnceLock;

static LIST: OnceLock<Option<InterpreterList>> = OnceLock::new();

/// From now on, children of this process are forked without sub-interpreters. Idempotent.
///
/// Needs: attached.
pub(crate) fn prepare() {
    LIST.get_or_init(|| {
        let list = InterpreterList::find();
        if list.is_some() {
            // SAFETY: the handler does what is allowed in a forked child: it reads an initialised static and writes one
            // word. Without memory for the registration, children are what CPython makes them.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        }
        list
    });
}

unsafe extern "C" fn in_child() {
    if let Some(Some(list)) = LIST.get() {
        // SAFETY: called by fork() in the child, which has this thread only, before it returns to CPython.
        unsafe { list.keep_main_only() };
    }
}
