//! Hosts as Python sees them: launching, closing, listing, and the end of the process.

use std::ffi::CStr;
use std::sync::OnceLock;

use atoll_core::client::{Deadline, Engine, HostId, HostKind, HostState, LaunchRequest, Wait};
use atoll_host::driver::KindDriver;
use atoll_host::isolate::{self, IsolateDriver};
use atoll_host::subinterpreter::SubinterpreterDriver;
use atoll_py::interpreter::prepare_main;
use atoll_py::module::Module;
use atoll_py::types::Exact;
use atoll_py::{Arguments, Attached, Owned, Result, Signature, ffi};

use crate::channel::parameters;
use crate::current::{self, Current};
use crate::module::{self, ModuleState};
use crate::task::{
    host_of, kind_of, module_path, name_of, raise_refusal, refuse_fork, texts_of, wait_for,
};

/// In the copy of this library that owns the engine: what starts isolates.
static ISOLATES: OnceLock<IsolateDriver> = OnceLock::new();

/// Starts the engine of this process, with what it needs to start interpreters.
pub(crate) fn start_engine() -> Engine {
    let engine = Engine::start();
    let isolates = IsolateDriver::new(engine);
    // The engine starts once.
    let _ = ISOLATES.set(isolates.clone());
    let interpreters = SubinterpreterDriver::new(engine, arrived);
    engine.install(Box::new(KindDriver::new(engine, interpreters, isolates)));
    engine
}

/// A thread has begun to work for a host.
pub(crate) fn arrived(host: HostId) {
    let interrupt = module::engine().host_interrupt(host);
    current::set(interrupt.map(|interrupt| Current {
        task: None,
        interrupt,
    }));
}

pub(crate) const LAUNCH_DOC: &CStr =
    c"Start an interpreter, wait until it is ready, and return its host id.";

/// `launch(kind, name, path, environment) -> int`.
pub(crate) fn launch<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<4> = Signature {
        function: "launch",
        parameters: ["kind", "name", "path", "environment"],
        required: 4,
        positional: 4,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(kind), Some(name), Some(path), Some(environment)] =
        arguments.parse(py, &SIGNATURE)?
    else {
        unreachable!("all four are required")
    };
    refuse_fork(py, state)?;
    let kind = kind_of(py, state, kind)?;
    prepare_main(py)?;
    let path = match path.is_none() {
        true => module_path(py)?,
        false => texts_of(path)?,
    };
    let environment = match Exact::of(environment) {
        Exact::Bytes(packed) => Some(packed.data().to_vec()),
        _ => None,
    };
    let name = name_of(name)?;
    let engine = state.engine();
    let request = LaunchRequest {
        kind: kind.unwrap_or(HostKind::Interpreter),
        name: name.as_deref(),
        path: Some(&path),
        environment: environment.as_deref(),
    };
    let host = match engine.launch(&request) {
        Ok(host) => host,
        Err(error) => return Err(raise_refusal(py, state, &error)),
    };
    match wait_for(py, state, None, |wait| engine.wait_ready(host, wait)) {
        Ok(Some(Err(error))) => Err(raise_refusal(py, state, &error)),
        Ok(Some(Ok(())) | None) => py.uint(host.to_raw()),
        Err(raised) => {
            // Nobody will know its number.
            engine.close_host(host);
            Err(raised)
        }
    }
}

pub(crate) const CLOSE_HOST_DOC: &CStr =
    c"Close a host and wait until it is gone; False after *timeout* seconds.";

/// `close_host(host_id, timeout) -> bool`.
pub(crate) fn close_host<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "close_host",
        parameters: ["host_id", "timeout"],
        required: 2,
        positional: 2,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(host), timeout] = arguments.parse(py, &SIGNATURE)? else {
        unreachable!("it is required")
    };
    let host = host_of(py, host)?;
    let engine = state.engine();
    // A bad timeout closes nothing.
    parameters::deadline(py, timeout)?;
    if engine.is_forked() {
        // The host is the parent's. Nothing is left of it here.
        return Ok(py.bool(true).to_owned());
    }
    py.detach(|| engine.close_host(host));
    let ended = wait_for(py, state, timeout, |wait| {
        engine.wait_host_ended(host, wait)
    })?;
    Ok(py.bool(ended.is_some()).to_owned())
}

pub(crate) const HOSTS_DOC: &CStr =
    c"(id, kind, name, state, running, threads) of every host, oldest first.";

/// `hosts() -> list[tuple[int, str, str, str, int, int]]`.
pub(crate) fn hosts<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    refuse_fork(py, state)?;
    // SAFETY: attached.
    let list = unsafe { Owned::from_result(py, ffi::PyList_New(0))? };
    for host in state.engine().list_hosts() {
        let row = py.tuple([
            py.uint(host.id.to_raw())?,
            py.string(host.kind.word())?,
            py.string(&host.name)?,
            py.string(state_word(host.state))?,
            count(py, host.running)?,
            count(py, host.threads)?,
        ])?;
        // SAFETY: attached, a live list and a live object.
        let status = unsafe { ffi::PyList_Append(list.as_ptr(), row.as_ptr()) };
        if status < 0 {
            // SAFETY: the call reports an exception.
            return Err(unsafe { atoll_py::Raised::assume(py) });
        }
    }
    Ok(list)
}

fn count(py: Attached<'_>, number: usize) -> Result<Owned<'_>> {
    py.uint(number as u64)
}

const fn state_word(state: HostState) -> &'static str {
    match state {
        HostState::Starting => "starting",
        HostState::Ready => "ready",
        HostState::Closing => "closing",
        HostState::Ended => "ended",
    }
}

pub(crate) const ISOLATE_ROOM_DOC: &CStr =
    c"How many isolates fit into this process, were opened, and are parked; and why there can be none, or ''.";

/// `isolate_room() -> tuple[int, int, int, str]`.
pub(crate) fn isolate_room<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let py = module.py();
    // The engine may not have been started yet.
    module.state()?.engine();
    let room = isolate::room_of_all().or_else(|| ISOLATES.get().map(IsolateDriver::places));
    let reason = isolate::unsupported().unwrap_or_default();
    let (limit, opened, parked) =
        room.map_or((0, 0, 0), |room| (room.limit, room.opened, room.parked));
    py.tuple([
        count(py, limit)?,
        count(py, opened)?,
        count(py, parked)?,
        py.string(&reason)?,
    ])
}

pub(crate) const WRITE_WHOLE_DOC: &CStr =
    c"Write all of the bytes to the descriptor; what other interpreters write comes before or after.";

/// `write_whole(fd, data) -> None`.
pub(crate) fn write_whole<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<2> = Signature {
        function: "write_whole",
        parameters: ["fd", "data"],
        required: 2,
        positional: 2,
    };
    let (py, state) = (module.py(), module.state()?);
    let [Some(descriptor), Some(data)] = arguments.parse(py, &SIGNATURE)? else {
        unreachable!("both are required")
    };
    let (Exact::Int(descriptor), Exact::Bytes(data)) = (Exact::of(descriptor), Exact::of(data))
    else {
        return Err(py.raise_type_error(
            "cannot write that (it is no descriptor and bytes); pass an int and bytes",
        ));
    };
    let descriptor = descriptor
        .to_i64()
        .and_then(|fd| i32::try_from(fd).ok())
        .unwrap_or(-1);
    let (engine, data) = (state.engine(), data.data());
    match py.detach(|| engine.write_whole(descriptor, data)) {
        Ok(()) => Ok(py.none().to_owned()),
        Err(number) => Err(py.raise_os_error(number)),
    }
}

/// The host that the only argument names, of a function of that name.
pub(crate) fn only_host(
    py: Attached<'_>,
    arguments: Arguments<'_, '_>,
    function: &'static str,
) -> Result<HostId> {
    let signature = Signature {
        function,
        parameters: ["host_id"],
        required: 1,
        positional: 1,
    };
    let [Some(host)] = arguments.parse(py, &signature)? else {
        unreachable!("it is required")
    };
    host_of(py, host)
}

pub(crate) const HOST_RUNNING_DOC: &CStr = c"Whether a task runs on the host now.";

/// `host_running(host_id) -> bool`.
pub(crate) fn host_running<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let host = only_host(py, arguments, "host_running")?;
    refuse_fork(py, state)?;
    let running = state.engine().is_host_running(host);
    Ok(py.bool(running).to_owned())
}

pub(crate) const CURRENT_HOST_DOC: &CStr = c"The host id of this interpreter; 1 is the main one.";

/// `current_host() -> int`.
pub(crate) fn current_host<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    module.py().uint(module.state()?.host().to_raw())
}

pub(crate) const HOST_CLOSING_DOC: &CStr = c"Whether this interpreter's host closes, or is gone.";

/// `host_closing() -> bool`.
pub(crate) fn host_closing<'py>(
    module: Module<'_, 'py, ModuleState>,
    _: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let (py, state) = (module.py(), module.state()?);
    let interrupt = state.engine().host_interrupt(state.host());
    let closing = interrupt.is_none_or(|interrupt| interrupt.is_raised());
    Ok(py.bool(closing).to_owned())
}

pub(crate) const BECOME_HOST_DOC: &CStr =
    c"From now on this interpreter is that host: an isolate has one session after the other.";

/// `become_host(host_id) -> None`.
pub(crate) fn become_host<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    let py = module.py();
    let host = only_host(py, arguments, "become_host")?;
    module.state()?.become_host(host);
    Ok(py.none().to_owned())
}

pub(crate) const SHUTDOWN_DOC: &CStr =
    c"Close every host; how many threads of interpreters, and isolates, did not come to an end within *timeout* seconds.";

/// `shutdown(timeout) -> tuple[int, int]`.
pub(crate) fn shutdown<'py>(
    module: Module<'_, 'py, ModuleState>,
    arguments: Arguments<'_, 'py>,
) -> Result<Owned<'py>> {
    const SIGNATURE: Signature<1> = Signature {
        function: "shutdown",
        parameters: ["timeout"],
        required: 1,
        positional: 1,
    };
    let (py, state) = (module.py(), module.state()?);
    let [timeout] = arguments.parse(py, &SIGNATURE)?;
    let deadline: Deadline = parameters::deadline(py, timeout)?;
    let engine = state.engine();
    let restless = py.detach(|| engine.shutdown(&Wait::until(deadline)));
    py.tuple([count(py, restless.threads)?, count(py, restless.places)?])
}
