//! Where this thread is: in which task, and what interrupts its waits.

use std::cell::RefCell;
use std::rc::Rc;

use atoll_core::client::{Interrupt, Task};

/// What a thread of a host knows about itself. A thread that Atoll did not start has none.
#[derive(Clone)]
pub(crate) struct Current {
    /// The task it runs now.
    pub(crate) task: Option<Task>,
    /// What ends its waits: the task's interrupt while it runs one, else the host's.
    pub(crate) interrupt: Interrupt,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Current>>> = const { RefCell::new(None) };
}

/// Says where this thread is from now on.
pub(crate) fn set(current: Option<Current>) {
    // The old value drops after the borrow ends: its drop may end a task and come back here.
    let _before = CURRENT.with(|cell| cell.replace(current.map(Rc::new)));
}

/// Where this thread is. Every wait asks, so nothing is touched that other threads count.
pub(crate) fn get() -> Option<Rc<Current>> {
    CURRENT.with(|cell| cell.borrow().clone())
}

/// The task that this thread runs.
pub(crate) fn task() -> Option<Task> {
    get()?.task.clone()
}
