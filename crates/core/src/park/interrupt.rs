//! Ending waits from outside: the cancellation of a task, the closing of a host.

use crate::park::{Waiter, Wake};
use crate::sync::{Arc, Mutex, lock};

/// A sticky interruption: once raised, every wait that names it fails, now and later, until it is
/// cleared. Clones share it.
#[derive(Clone)]
pub struct Interrupt(Arc<Mutex<Inner>>);

struct Inner {
    raised: bool,
    waiters: Vec<Arc<Waiter>>,
}

/// The interruption had been raised before the wait began.
pub(crate) struct AlreadyRaised;

impl Interrupt {
    /// One that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            raised: false,
            waiters: Vec::new(),
        })))
    }

    /// Ends every wait that names this interruption. Idempotent.
    pub fn raise(&self) {
        let woken: Vec<_> = {
            let mut inner = lock(&self.0);
            inner.raised = true;
            std::mem::take(&mut inner.waiters)
                .into_iter()
                .filter(|waiter| waiter.interrupt())
                .collect()
        };
        for waiter in woken {
            waiter.wake();
        }
    }

    /// Lets later waits wait again.
    pub fn clear(&self) {
        lock(&self.0).raised = false;
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        lock(&self.0).raised
    }

    /// Calls *wake* once, from any thread, when it is raised; at once if it is. Dropping the watch ends that.
    pub fn watch(&self, wake: Wake) -> Watch {
        let waiter = Waiter::with_callback(wake);
        if self.enroll(&waiter).is_err() && waiter.interrupt() {
            waiter.wake();
        }
        Watch {
            interrupt: self.clone(),
            waiter,
        }
    }

    pub(crate) fn enroll(&self, waiter: &Arc<Waiter>) -> Result<(), AlreadyRaised> {
        let mut inner = lock(&self.0);
        if inner.raised {
            return Err(AlreadyRaised);
        }
        inner.waiters.push(waiter.clone());
        Ok(())
    }

    pub(crate) fn withdraw(&self, waiter: &Arc<Waiter>) {
        lock(&self.0)
            .waiters
            .retain(|other| !Arc::ptr_eq(other, waiter));
    }
}

/// Somebody who wants to be told of an interruption without waiting for it.
pub struct Watch {
    interrupt: Interrupt,
    waiter: Arc<Waiter>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.interrupt.withdraw(&self.waiter);
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}
