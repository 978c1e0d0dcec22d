//! Waiting in an event loop: what `atoll._asyncio` is made from.
//!
//! - [`chime`]: the one descriptor of a loop, and the ways to begin a wait that rings it.
//! - [`waiting`]: a wait that was begun and whose case was not ready.
//!
//! # Protocol
//! A verb tries first; what is ready is done at once. Otherwise it gives a [`Waiting`](waiting::Waiting), whose number the
//! engine puts on the loop's list whenever it may go on. The loop's reader takes the numbers and wakes the coroutines; each then
//! *finishes* its wait, which takes the message, or waits on under the same number if somebody else was faster. So a message is
//! taken by the coroutine that returns it, never by the loop on its behalf: a coroutine that is cancelled between its wake-up
//! and its next step has taken nothing, and [`Waiting::cancel`](waiting::Waiting) passes the wake-up on to another receiver.
//!
//! A rendezvous has no place for a message between its two sides: there the sender, which has returned, has handed it over. So the
//! cancellation gives it, and the verb returns it; the cancellation strikes at the coroutine's next `await` instead.

mod chime;
mod waiting;

use std::ffi::CStr;
use std::sync::OnceLock;

use atoll_core::client;
use atoll_py::class::{HeapClass, This};
use atoll_py::module::Module;
use atoll_py::{Attached, Borrowed, Owned, Result, Stored};

use crate::channel::Holder;
use crate::module::ModuleState;
use chime::Chime;
pub(crate) use chime::number_of;
use waiting::Waiting;

/// What this interpreter's event loops use.
pub(crate) struct Glue {
    chime: HeapClass<Chime>,
    waiting: HeapClass<Waiting>,
    /// The coroutine functions of `atoll._asyncio`, which imports asyncio: when they are first wanted.
    asend: OnceLock<Stored>,
    arecv: OnceLock<Stored>,
    anext: OnceLock<Stored>,
}

impl Glue {
    /// Makes the classes and puts them into the module.
    ///
    /// Needs: attached. May run Python: yes.
    pub(crate) fn build(module: Module<'_, '_, ModuleState>) -> Result<Glue> {
        let py = module.py();
        let glue = Glue {
            chime: HeapClass::build(module)?,
            waiting: HeapClass::build(module)?,
            asend: OnceLock::new(),
            arecv: OnceLock::new(),
            anext: OnceLock::new(),
        };
        module.add(c"Chime", glue.chime.get(py))?;
        module.add(c"Waiting", glue.waiting.get(py))?;
        Ok(glue)
    }

    /// The engine's chime inside an object.
    pub(crate) fn chime_in<'a>(
        &self,
        py: Attached<'_>,
        object: Borrowed<'a, '_>,
    ) -> Result<&'a client::Chime> {
        match self.chime.body_of(object) {
            Some(chime) => Ok(chime.engines()),
            None => Err(py.raise_type_error("cannot ring that (it is no chime); pass a Chime")),
        }
    }

    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        visit(self.chime.stored());
        visit(self.waiting.stored());
        let functions = [&self.asend, &self.arecv, &self.anext];
        functions
            .into_iter()
            .filter_map(OnceLock::get)
            .for_each(visit);
    }
}

/// `asend(value)`: a coroutine.
pub(crate) fn asend<'a, 'py, T: Holder>(
    this: This<'a, 'py, T>,
    value: Borrowed<'a, 'py>,
) -> Result<Owned<'py>> {
    let function = function(this.py(), &this.state()?.asyncio.asend, c"asend")?;
    function.call(&[this.object(), value])
}

/// `arecv()`: a coroutine.
pub(crate) fn arecv<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    let function = function(this.py(), &this.state()?.asyncio.arecv, c"arecv")?;
    function.call(&[this.object()])
}

/// `__anext__`: a coroutine that ends the iteration when the channel is closed and drained.
pub(crate) fn anext<'a, 'py, T: Holder>(this: This<'a, 'py, T>) -> Result<Owned<'py>> {
    let function = function(this.py(), &this.state()?.asyncio.anext, c"receive_next")?;
    function.call(&[this.object()])
}

fn function<'a, 'py>(
    py: Attached<'py>,
    kept: &'a OnceLock<Stored>,
    name: &CStr,
) -> Result<Borrowed<'a, 'py>> {
    if kept.get().is_none() {
        let found = py.import(c"atoll._asyncio")?.borrow().attr(name)?;
        if let Err(second) = kept.set(found.store()) {
            second.release(py);
        }
    }
    match kept.get() {
        Some(function) => Ok(function.get(py)),
        None => unreachable!("just set"),
    }
}
