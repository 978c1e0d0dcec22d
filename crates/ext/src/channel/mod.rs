//! Channels as Python sees them: `Channel`, `Sender`, `Receiver`.
//!
//! - [`held`]: the engine's end inside an object, which can be given up.
//! - [`verbs`]: one message in, one message out, and waiting.
//! - [`batch`]: many messages per call.
//! - [`classes`]: the three types and their documentation.
//! - [`parameters`]: capacities and timeouts as callers write them.
//! - [`stats`]: the counters of a channel.

mod batch;
mod classes;
mod held;
pub(crate) mod parameters;
mod stats;
mod verbs;

use atoll_core::client::{End, Role};
use atoll_py::class::{Class, HeapClass, This};
use atoll_py::module::Module;
use atoll_py::{Attached, Borrowed, Owned, Result, Stored};

use crate::module::ModuleState;
use crate::select::{AfterCase, SendCase};
use classes::{Channel, Receiver, Sender};
pub(crate) use held::{Held, InUse};

/// A class around an end of a channel.
pub(crate) trait Holder: Class<State = ModuleState> {
    /// What the class is called, for messages.
    const WORD: &'static str;

    /// The end.
    fn held(&self) -> &Held;
}

/// The classes of this interpreter that have to do with channels.
pub(crate) struct Classes {
    channel: HeapClass<Channel>,
    sender: HeapClass<Sender>,
    receiver: HeapClass<Receiver>,
    pub(crate) send_case: HeapClass<SendCase>,
    pub(crate) after_case: HeapClass<AfterCase>,
    stats: Stored,
}

impl Classes {
    /// Makes the classes and puts them into the module.
    ///
    /// Needs: attached. May run Python: yes.
    pub(crate) fn build(module: Module<'_, '_, ModuleState>) -> Result<Classes> {
        let py = module.py();
        let classes = Classes {
            channel: HeapClass::build(module)?,
            sender: HeapClass::build(module)?,
            receiver: HeapClass::build(module)?,
            send_case: HeapClass::build(module)?,
            after_case: HeapClass::build(module)?,
            stats: stats::build(py)?.store(),
        };
        module.add(c"Channel", classes.channel.get(py))?;
        module.add(c"Sender", classes.sender.get(py))?;
        module.add(c"Receiver", classes.receiver.get(py))?;
        module.add(c"SendCase", classes.send_case.get(py))?;
        module.add(c"AfterCase", classes.after_case.get(py))?;
        module.add(c"ChannelStats", classes.stats.get(py))?;
        Ok(classes)
    }

    pub(crate) fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        let all = [
            self.channel.stored(),
            self.sender.stored(),
            self.receiver.stored(),
            self.send_case.stored(),
            self.after_case.stored(),
            &self.stats,
        ];
        all.into_iter().for_each(visit);
    }

    /// The end inside `object`, whichever of the three classes it has.
    fn held_by<'a>(&self, object: Borrowed<'a, '_>) -> Option<&'a Held> {
        end_in(&self.channel, object)
            .or_else(|| end_in(&self.sender, object))
            .or_else(|| end_in(&self.receiver, object))
            .map(|(held, _)| held)
    }
}

/// The end inside an object of this class, with the class's name.
fn end_in<'a, T: Holder>(
    class: &HeapClass<T>,
    object: Borrowed<'a, '_>,
) -> Option<(&'a Held, &'static str)> {
    class.body_of(object).map(|body| (body.held(), T::WORD))
}

/// The end inside a Channel, Sender or Receiver; `None` for anything else, and for an end that was given up.
pub(crate) fn end_of<'a>(state: &ModuleState, object: Borrowed<'a, '_>) -> Option<InUse<'a>> {
    state.channels.held_by(object)?.enter()
}

/// The end inside an object that can receive: for `select`. The name of its class goes with it.
pub(crate) fn receiving_end<'a>(
    state: &ModuleState,
    object: Borrowed<'a, '_>,
) -> Option<(&'a Held, &'static str)> {
    let classes = &state.channels;
    end_in(&classes.channel, object).or_else(|| end_in(&classes.receiver, object))
}

/// The end inside an object that can send, likewise.
pub(crate) fn sending_end<'a>(
    state: &ModuleState,
    object: Borrowed<'a, '_>,
) -> Option<(&'a Held, &'static str)> {
    let classes = &state.channels;
    end_in(&classes.channel, object).or_else(|| end_in(&classes.sender, object))
}

/// A Python object around `end`, which from now on belongs to this interpreter's host.
///
/// Returns: owned. Needs: attached. May run Python: yes (an allocation may start the garbage collector).
pub(crate) fn wrap<'py>(py: Attached<'py>, state: &ModuleState, end: End) -> Result<Owned<'py>> {
    let end = if end.owner() == state.host() {
        end
    } else {
        end.transfer(state.host())
    };
    let role = end.role();
    let held = Held::new(end);
    match role {
        Role::Both => state.channels.channel.make(py, Channel(held)),
        Role::Sender => state.channels.sender.make(py, Sender(held)),
        Role::Receiver => state.channels.receiver.make(py, Receiver(held)),
    }
}

/// The end of `this`, or ChannelClosed if it was given up.
#[inline(always)]
fn enter<'a, T: Holder>(this: This<'a, '_, T>) -> Result<InUse<'a>> {
    match this.body().held().enter() {
        Some(end) => Ok(end),
        None => Err(crate::errors::raise_given_up(
            this.py(),
            this.state()?,
            T::WORD,
        )),
    }
}
