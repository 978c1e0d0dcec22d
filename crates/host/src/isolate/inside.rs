//! The side of the copy in the namespace: it brings Python up there and does what the main copy orders.
//!
//! This code runs on the isolate's owner thread, which is Python's main thread in there: the one whose sleeps and lock waits a
//! signal can end. So tasks are cancelled in two steps: the exception is thrown, as everywhere; and if the thread is the owner, a
//! signal is tripped in this Python, and the same signal sent to the thread: a blocked call returns from the system, looks for
//! signals, and Python runs the handler, `atoll._agent.look`, in which the thrown exception is raised.

use super::Room;
use super::boot::{Boot, Calls, Order, RawSession, Text};
use super::environment::Environment;
use crate::agent;
use crate::inhabited::{Inhabited, Kick};
use crate::visit;
use atoll_core::abi;
use atoll_core::client::{AgentRole, Engine, HostId, Message, Task, Wait};
use atoll_py::embedded::{self, MainInterpreter};
use atoll_py::interpreter::thread_ident;
use atoll_py::{Attached, Result, ffi};
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// What the native module, above this crate, has to do in an isolate.
#[derive(Copy, Clone)]
pub struct Glue {
    /// This copy of the library uses that engine.
    pub attached: fn(Engine),
    /// A thread has begun to work for a host.
    pub arrived: fn(HostId),
}

/// What lives in this namespace, once it is up.
struct Inside {
    boot: &'static Boot,
    engine: Engine,
    inhabited: Inhabited,
}

static INSIDE: OnceLock<Inside> = OnceLock::new();

static CALLS: Calls = Calls {
    add_thread,
    throw_cancellations,
    visit,
};

/// How many isolates there are and may be, if this copy of the library lives in one.
pub fn room_of_all() -> Option<Room> {
    let boot = INSIDE.get()?.boot;
    // SAFETY: the boot structure's own function and argument.
    Some(unsafe { (boot.room)(boot.isolate) })
}

/// How long to let threads that nobody can stop go on, before looking again whether they have ended; at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Lives as this namespace's isolate. Comes back only if it cannot: with 0 after it told why, or with this copy's version of the
/// table if that of the other copy is another one.
///
/// # Safety
/// `boot` is what the main copy made for this namespace; the calling thread is known to no Python.
pub unsafe fn live(boot: *const Boot, glue: Glue) -> u32 {
    // SAFETY: the first two fields are the same in every release.
    let (version, size) = unsafe { (*boot.cast::<u32>(), *boot.cast::<u32>().add(1)) };
    if version != abi::VERSION || size as usize != size_of::<Boot>() {
        return abi::VERSION;
    }
    // SAFETY: the same version has the same layout; it lives for ever.
    let boot: &'static Boot = unsafe { &*boot };
    // SAFETY: the main copy's own table.
    let Ok(engine) = (unsafe { Engine::attach(boot.table) }) else {
        return abi::VERSION;
    };
    (glue.attached)(engine);
    let fail = |reason: &str, python_runs| {
        // SAFETY: the boot structure's own function and argument; the text is lent for the call.
        unsafe { (boot.failed)(boot.isolate, Text::of(reason.as_bytes()), python_runs) };
        0
    };
    // SAFETY: the description lives as long as the boot structure.
    let environment = match Environment::read(unsafe { boot.environment.bytes() }) {
        Ok(environment) => environment,
        Err(reason) => return fail(&reason, false),
    };
    let (major, minor) = environment.version;
    if embedded::BUILT_FOR != (&*major.to_string(), &*minor.to_string()) {
        let native = environment.native.display();
        let (x, y) = embedded::BUILT_FOR;
        let reason = format!("{native} was built for Python {x}.{y}, not {major}.{minor}");
        return fail(&reason, false);
    }
    let python = match MainInterpreter::initialize(&environment.configuration) {
        Ok(python) => python,
        Err(error) => return fail(&error.to_string(), true),
    };
    let py = python.attached();
    let Some(first) = next_session(py, boot) else {
        retire(py, boot);
    };
    // The native module, imported below, asks which host it is in.
    let inhabited = Inhabited::new(engine, python.handle(), glue.arrived, Some(kick()));
    let inside = INSIDE.get_or_init(|| Inside {
        boot,
        engine,
        inhabited,
    });
    let place = inside.inhabited.arrive(first.host, AgentRole::Owner);
    if let Err(raised) = bring_up(py, &environment) {
        let reason = agent::line_of(py, raised);
        drop(place);
        return py.detach(|| fail(&reason, true));
    }
    // SAFETY: as above; the table is a static.
    unsafe { (boot.serves)(boot.isolate, &raw const CALLS) };
    drop(place);
    let mut session = Some(first);
    while let Some(current) = session {
        inside.serve(py, boot, &current);
        session = next_session(py, boot);
    }
    retire(py, boot);
}

/// What an order says.
struct Session {
    host: HostId,
    setup: String,
}

/// Waits for the next session. `None`: the process ends.
fn next_session(py: Attached<'_>, boot: &'static Boot) -> Option<Session> {
    py.detach(|| {
        let mut raw = RawSession {
            host: 0,
            setup: Text::NONE,
        };
        // SAFETY: the boot structure's own function and argument, and a place for the answer.
        match unsafe { (boot.next_order)(boot.isolate, &raw mut raw) } {
            Order::Retire => None,
            Order::Session => Some(Session {
                host: HostId::from_raw(raw.host),
                // SAFETY: what was lent is there until the next order.
                setup: unsafe { raw.setup.to_text() },
            }),
        }
    })
}

/// Makes the fresh interpreter an isolate: Atoll's modules, the signal of cancellations, the front's own measures.
fn bring_up(py: Attached<'_>, environment: &Environment) -> Result<()> {
    // `start` takes the folder out again where the environment is to have its own.
    let package = environment.native.parent().and_then(Path::parent);
    let folder = py.string(&package.unwrap_or(Path::new("")).to_string_lossy())?;
    let first = py.uint(0)?;
    py.import(c"sys")?
        .borrow()
        .attr(c"path")?
        .borrow()
        .call_method(c"insert", &[first.borrow(), folder.borrow()])?;
    let look = agent::module(py)?.borrow().attr(c"look")?;
    take_signal(py, look.borrow())?;
    let setup = py.string(&environment.setup)?;
    isolate_module(py)?
        .borrow()
        .call_method(c"start", &[setup.borrow()])
        .map(drop)
}

/// What C code printed is not lost if the process ends without this namespace's exit code.
fn flush_c_streams() {
    // SAFETY: null means all streams, of the namespace's own libc.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

fn isolate_module(py: Attached<'_>) -> Result<atoll_py::Owned<'_>> {
    py.import(c"atoll._isolate")
}

impl Inside {
    /// One session, from its order to its end.
    fn serve(&self, py: Attached<'_>, boot: &'static Boot, session: &Session) {
        let place = self.inhabited.arrive(session.host, AgentRole::Owner);
        let begun = begin(py, session).map_err(|raised| agent::line_of(py, raised));
        if begun.is_ok() && self.engine.host_ready(session.host) {
            self.inhabited.serve(py);
        }
        // Without deadline or interrupt this wait ends only one way.
        let alone = py.detach(|| self.engine.wait_host_alone(session.host, &Wait::forever()));
        debug_assert!(alone.is_ok());
        finish(py);
        py.detach(|| {
            flush_c_streams();
            // SAFETY: the boot structure's own function and argument.
            unsafe { (boot.park)(boot.isolate) };
            self.engine.host_ended(session.host, begun.err().as_deref());
        });
        drop(place);
    }
}

fn begin(py: Attached<'_>, session: &Session) -> Result<()> {
    let host = py.uint(session.host.to_raw())?;
    py.import(c"atoll._native")?
        .borrow()
        .call_method(c"become_host", &[host.borrow()])?;
    let setup = py.string(&session.setup)?;
    isolate_module(py)?
        .borrow()
        .call_method(c"begin", &[setup.borrow()])
        .map(drop)
}

/// Ends what the session left behind. Threads that cannot be stopped keep the isolate from getting another session.
fn finish(py: Attached<'_>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let finished = isolate_module(py)
            .and_then(|module| module.borrow().call_method(c"finish", &[]))
            .and_then(|finished| finished.borrow().is_true());
        match finished {
            Ok(true) => return,
            Ok(false) => {}
            Err(raised) => return raised.write_unraisable(None),
        }
        py.detach(|| thread::park_timeout(pause));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The process ends. From here on this thread holds the interpreter's GIL and never gives it back, so no Python code runs here any
/// more, and no library's exit code meets it.
fn retire(py: Attached<'_>, boot: &'static Boot) -> ! {
    let retired = isolate_module(py).and_then(|module| module.borrow().call_method(c"retire", &[]));
    if let Err(raised) = retired {
        raised.write_unraisable(None);
    }
    flush_c_streams();
    // SAFETY: the boot structure's own function and argument.
    unsafe { (boot.retired)(boot.isolate) };
    loop {
        thread::park();
    }
}

// Cancelling what sleeps -------------------------------------------------------------------------------------------------------

/// The signal of cancellations: nobody else's, as far as one can know.
fn signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Makes *handler* what this Python runs for the signal, and has the process ignore it, except that blocked calls return.
fn take_signal(py: Attached<'_>, handler: atoll_py::Borrowed<'_, '_>) -> Result<()> {
    let number = py.uint(signal().cast_unsigned().into())?;
    py.import(c"_signal")?
        .borrow()
        .call_method(c"signal", &[number.borrow(), handler])?;
    // Python has made its own C handler the process's. Whoever is signalled meanwhile trips the signal here, which does nothing.
    // SAFETY: a handler that does nothing; without SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = do_nothing as extern "C" fn(c_int) as usize;
        libc::sigaction(signal(), &raw const action, std::ptr::null_mut());
    }
    Ok(())
}

extern "C" fn do_nothing(_: c_int) {}

/// Ends the blocked call of the calling thread, which is to be the owner, whenever it is asked to.
fn kick() -> Kick {
    // SAFETY: no preconditions.
    let owner = unsafe { libc::pthread_self() };
    Kick::new(thread_ident(), move || {
        // SAFETY: trips a flag of this Python; needs neither GIL nor thread state.
        unsafe { ffi::PyErr_SetInterruptEx(signal()) };
        // SAFETY: the owner thread never ends.
        unsafe { libc::pthread_kill(owner, signal()) };
    })
}

// What the main copy calls -----------------------------------------------------------------------------------------------------

unsafe extern "C" fn add_thread(host: u64) -> bool {
    let inside = INSIDE.get();
    inside.is_some_and(|inside| inside.inhabited.add_thread(HostId::from_raw(host)).is_ok())
}

unsafe extern "C" fn throw_cancellations(host: u64, tasks: *const *const c_void, length: usize) {
    let Some(inside) = INSIDE.get() else { return };
    // SAFETY: so many references, handed over.
    let tasks = unsafe { std::slice::from_raw_parts(tasks, length) };
    let tasks = tasks
        .iter()
        // SAFETY: as above, of this engine.
        .map(|task| unsafe { Task::from_raw(inside.engine, *task) })
        .collect();
    inside
        .inhabited
        .throw_cancellations(HostId::from_raw(host), tasks);
}

unsafe extern "C" fn visit(host: u64, message: *mut c_void) {
    // SAFETY: handed over; both copies have the same layout of it (the version of the table covers this).
    let message = unsafe { message.cast::<Message>().read() };
    if let Some(inside) = INSIDE.get() {
        visit::send(&inside.inhabited, HostId::from_raw(host), message);
    }
}
