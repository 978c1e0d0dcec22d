//! The table's functions about hosts, for whoever uses them; [`super::driving`] has those for the threads that work in them.

use crate::abi::tasks::{RawTask, interrupt_reference};
use crate::abi::{RawWait, Status, channels};
use crate::client::HostId;
use crate::driver::Setup;
use crate::engine::Engine;
use crate::host::{HostKind, HostState};
use crate::hosts::{Hosts, NewTask, Placement, Restless, SubmitError};
use crate::message::Message;
use crate::region::Region;
use crate::task::Phase;
use crate::waiting::Unfinished;
use std::ffi::c_void;
use std::sync::Arc;

/// Bytes that are borrowed for the time of a call. A null pointer stands for "none".
#[derive(Copy, Clone)]
#[repr(C)]
pub(crate) struct RawBytes {
    pub(crate) pointer: *const u8,
    pub(crate) length: usize,
}

impl RawBytes {
    pub(crate) const NONE: Self = Self {
        pointer: std::ptr::null(),
        length: 0,
    };

    pub(crate) fn of(text: Option<&str>) -> Self {
        Self::of_bytes(text.map(str::as_bytes))
    }

    pub(crate) fn of_bytes(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::NONE, |bytes| Self {
            pointer: bytes.as_ptr(),
            length: bytes.len(),
        })
    }

    /// # Safety
    /// The bytes are there, as long as the result is used.
    pub(crate) unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: by the caller.
        (!self.pointer.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(self.pointer, self.length) })
    }

    /// # Safety
    /// The bytes are there.
    pub(crate) unsafe fn text(self) -> Option<String> {
        // SAFETY: by the caller.
        let bytes = unsafe { self.bytes() };
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A [`Placement`], as it crosses the table.
#[derive(Copy, Clone)]
#[repr(C)]
pub(crate) struct RawPlacement {
    pub(crate) how: u32,
    /// A host ([`ON`]) or a kind ([`CREW`]).
    pub(crate) number: u64,
}

pub(crate) const ON: u32 = 0;
pub(crate) const CREW: u32 = 1;
pub(crate) const AUTO: u32 = 2;

impl RawPlacement {
    pub(crate) fn of(placement: Placement) -> Self {
        let (how, number) = match placement {
            Placement::On(host) => (ON, host.to_raw()),
            Placement::Crew(kind) => (CREW, u64::from(kind as u32)),
            Placement::Auto => (AUTO, 0),
        };
        Self { how, number }
    }

    fn placement(self) -> Placement {
        match self.how {
            ON => Placement::On(HostId::from_raw(self.number)),
            CREW => u32::try_from(self.number)
                .ok()
                .and_then(HostKind::from_raw)
                .map_or(Placement::Auto, Placement::Crew),
            _ => Placement::Auto,
        }
    }
}

/// What a host starts with, as it crosses the table.
#[derive(Copy, Clone)]
#[repr(C)]
pub(crate) struct RawSetup {
    /// Texts; a null pointer stands for "none".
    pub(crate) path: *const RawBytes,
    pub(crate) path_length: usize,
    pub(crate) environment: RawBytes,
}

impl RawSetup {
    /// # Safety
    /// B4.
    unsafe fn setup(self) -> Setup {
        // SAFETY: by the caller.
        unsafe {
            Setup {
                path: texts(self.path, self.path_length),
                environment: self.environment.bytes().map(<[u8]>::to_vec),
            }
        }
    }
}

/// A host to launch, as it crosses the table.
#[repr(C)]
pub(crate) struct RawLaunch {
    pub(crate) kind: HostKind,
    pub(crate) name: RawBytes,
    pub(crate) setup: RawSetup,
}

/// A new task, as it crosses the table.
#[repr(C)]
pub(crate) struct RawNewTask {
    pub(crate) placement: RawPlacement,
    pub(crate) name: RawBytes,
    /// Moved out by the call, whatever comes of it.
    pub(crate) payload: *mut Message,
    /// A region's reference, given away, or null.
    pub(crate) function: *const c_void,
}

/// Why something was refused, as it crosses the table.
#[repr(C)]
pub(crate) struct RawRefusal {
    pub(crate) kind: u32,
    /// Of which host, or of which kind of hosts.
    pub(crate) number: u64,
    /// A region with a text, given away, or null.
    pub(crate) text: *const c_void,
}

pub(crate) const REFUSED_UNAVAILABLE: u32 = 0;
pub(crate) const REFUSED_CLOSED: u32 = 1;
pub(crate) const REFUSED_NO_SUCH_HOST: u32 = 2;
pub(crate) const REFUSED_FORKED: u32 = 3;

/// What [`HostTable::wants_setup`] says when no set-up is wanted.
pub(crate) const NO_KIND: u32 = u32::MAX;

/// A host in a list, as it crosses the table.
#[repr(C)]
pub(crate) struct RawSummary {
    pub(crate) id: u64,
    pub(crate) kind: HostKind,
    pub(crate) state: HostState,
    pub(crate) name: RawBytes,
    pub(crate) running: usize,
    pub(crate) threads: usize,
}

/// A task that runs on a host, as it crosses the table.
#[repr(C)]
pub(crate) struct RawRunning {
    pub(crate) id: u64,
    /// Null: it has none.
    pub(crate) name: RawBytes,
    /// 0: an event loop's.
    pub(crate) thread: u64,
    pub(crate) seconds: f64,
}

/// Everything about hosts.
#[repr(C)]
pub(crate) struct HostTable {
    pub(crate) hosts: *const Hosts,
    pub(crate) submit:
        unsafe extern "C" fn(*const Hosts, *const RawNewTask, *mut RawRefusal) -> RawTask,
    pub(crate) launch: unsafe extern "C" fn(*const Hosts, *const RawLaunch, *mut RawRefusal) -> u64,
    pub(crate) wait_ready:
        unsafe extern "C" fn(*const Hosts, u64, *const RawWait, *mut RawRefusal) -> Status,
    pub(crate) close: unsafe extern "C" fn(*const Hosts, u64),
    pub(crate) wait_ended: unsafe extern "C" fn(*const Hosts, u64, *const RawWait) -> Status,
    pub(crate) list: unsafe extern "C" fn(
        *const Hosts,
        *mut c_void,
        unsafe extern "C" fn(*mut c_void, *const RawSummary),
    ),
    pub(crate) is_running: unsafe extern "C" fn(*const Hosts, u64) -> bool,
    pub(crate) running: unsafe extern "C" fn(
        *const Hosts,
        u64,
        *mut c_void,
        unsafe extern "C" fn(*mut c_void, *const RawRunning),
    ),
    pub(crate) visit: unsafe extern "C" fn(*const Hosts, u64, *mut Message),
    pub(crate) interrupt: unsafe extern "C" fn(*const Hosts, u64) -> *const c_void,
    pub(crate) wants_setup: unsafe extern "C" fn(*const Hosts, RawPlacement) -> u32,
    pub(crate) set_setup: unsafe extern "C" fn(*const Hosts, HostKind, RawSetup),
    pub(crate) refuse_isolates: unsafe extern "C" fn(*const Hosts),
    pub(crate) shutdown: unsafe extern "C" fn(*const Hosts, *const RawWait) -> Restless,
    pub(crate) is_forked: unsafe extern "C" fn(*const Hosts) -> bool,
}

/// Makes the hosts of an engine, which like it live as long as the process.
pub(super) fn table(engine: &'static Engine, crew_size: Option<usize>) -> HostTable {
    let release = |host| engine.release_host(host);
    let hosts = match crew_size {
        Some(size) => Hosts::with_crew(size, release),
        None => Hosts::new(release),
    };
    HostTable {
        hosts: Box::leak(Box::new(hosts)),
        submit,
        launch,
        wait_ready,
        close,
        wait_ended,
        list,
        is_running,
        running,
        visit,
        interrupt,
        wants_setup,
        set_setup,
        refuse_isolates,
        shutdown,
        is_forked,
    }
}

// Every function below is called through the table by `crate::client` only, which upholds the one contract they share:
// - B1: a hosts pointer is that of the table; it lives for ever.
// - B2: a task pointer is a counted reference, given back by `task_release` only after the call.
// - B3: an agent or job pointer came from the engine's side, is used by one thread at a time, and is not used after its
//   release.
// - B4: waits are valid, with interrupts and bells that outlive the call; borrowed bytes are there during the call.
// - B5: message and end pointers lead to initialised values where one goes in (it is moved out), and to room for one where
//   one comes out.

/// # Safety
/// B1.
pub(super) unsafe fn hosts_of<'a>(hosts: *const Hosts) -> &'a Hosts {
    // SAFETY: B1.
    unsafe { &*hosts }
}

pub(super) fn text_region(text: &str) -> *const c_void {
    Region::from_vec(text.as_bytes().to_vec()).into_raw()
}

pub(super) fn status_of(result: Result<(), Unfinished>) -> Status {
    match result {
        Ok(()) => Status::Done,
        Err(Unfinished::TimedOut) => Status::TimedOut,
        Err(Unfinished::Interrupted) => Status::Interrupted,
    }
}

/// # Safety
/// *out* is a place for a refusal.
unsafe fn refuse(out: *mut RawRefusal, error: &SubmitError) {
    let null = std::ptr::null();
    let refusal = match error {
        SubmitError::Unavailable { kind, reason } => RawRefusal {
            kind: REFUSED_UNAVAILABLE,
            number: u64::from(*kind as u32),
            text: text_region(reason),
        },
        SubmitError::HostClosed(name) => RawRefusal {
            kind: REFUSED_CLOSED,
            number: 0,
            text: text_region(name),
        },
        SubmitError::NoSuchHost(number) => RawRefusal {
            kind: REFUSED_NO_SUCH_HOST,
            number: *number,
            text: null,
        },
        SubmitError::Forked => RawRefusal {
            kind: REFUSED_FORKED,
            number: 0,
            text: null,
        },
    };
    // SAFETY: by the caller.
    unsafe { out.write(refusal) };
}

unsafe extern "C" fn submit(
    hosts: *const Hosts,
    new: *const RawNewTask,
    refusal: *mut RawRefusal,
) -> RawTask {
    // SAFETY: B1; the caller's request.
    let (hosts, raw) = unsafe { (hosts_of(hosts), &*new) };
    let new = NewTask {
        // SAFETY: B4.
        name: unsafe { raw.name.text() },
        // SAFETY: B5.
        payload: unsafe { raw.payload.read() },
        // SAFETY: null, or a reference that the caller gives away.
        function: (!raw.function.is_null()).then(|| unsafe { Region::from_raw(raw.function) }),
    };
    match hosts.submit(raw.placement.placement(), new) {
        Ok(task) => Arc::into_raw(task).cast(),
        Err(error) => {
            // SAFETY: the caller's place.
            unsafe { refuse(refusal, &error) };
            std::ptr::null()
        }
    }
}

/// # Safety
/// B4: *count* texts.
unsafe fn texts(first: *const RawBytes, count: usize) -> Option<Vec<String>> {
    if first.is_null() {
        return None;
    }
    // SAFETY: by the caller.
    let raw = unsafe { std::slice::from_raw_parts(first, count) };
    // SAFETY: by the caller.
    Some(raw.iter().filter_map(|raw| unsafe { raw.text() }).collect())
}

/// 0: refused.
unsafe extern "C" fn launch(
    hosts: *const Hosts,
    launch: *const RawLaunch,
    refusal: *mut RawRefusal,
) -> u64 {
    // SAFETY: B1; the caller's request.
    let (hosts, raw) = unsafe { (hosts_of(hosts), &*launch) };
    // SAFETY: B4.
    let (name, setup) = unsafe { (raw.name.text(), raw.setup.setup()) };
    match hosts.launch(raw.kind, name, setup) {
        Ok(host) => host.id().to_raw(),
        Err(error) => {
            // SAFETY: the caller's place.
            unsafe { refuse(refusal, &error) };
            0
        }
    }
}

/// Closed: it will never be ready, and the refusal says why.
unsafe extern "C" fn wait_ready(
    hosts: *const Hosts,
    host: u64,
    wait: *const RawWait,
    refusal: *mut RawRefusal,
) -> Status {
    // SAFETY: B1.
    let hosts = unsafe { hosts_of(hosts) };
    let id = HostId::from_raw(host);
    let Some(found) = hosts.launched(id).or_else(|| hosts.find(id)) else {
        // SAFETY: the caller's place.
        unsafe { refuse(refusal, &SubmitError::NoSuchHost(host)) };
        return Status::Closed;
    };
    // SAFETY: B4.
    let waited = found.wait_ready(&unsafe { channels::wait(wait) });
    if waited.is_ok() {
        hosts.heard_of(id);
    }
    match waited {
        Ok(Ok(())) => Status::Done,
        Ok(Err(reason)) => {
            let kind = found.kind();
            // SAFETY: the caller's place.
            unsafe { refuse(refusal, &SubmitError::Unavailable { kind, reason }) };
            Status::Closed
        }
        Err(unfinished) => status_of(Err(unfinished)),
    }
}

unsafe extern "C" fn close(hosts: *const Hosts, host: u64) {
    // SAFETY: B1.
    let (hosts, id) = (unsafe { hosts_of(hosts) }, HostId::from_raw(host));
    hosts.heard_of(id);
    if let Some(host) = hosts.find(id) {
        host.close();
    }
}

unsafe extern "C" fn wait_ended(hosts: *const Hosts, host: u64, wait: *const RawWait) -> Status {
    // SAFETY: B1 and B4.
    let (hosts, wait) = unsafe { (hosts_of(hosts), channels::wait(wait)) };
    let found = hosts.find(HostId::from_raw(host));
    status_of(found.map_or(Ok(()), |host| host.wait_ended(&wait)))
}

unsafe extern "C" fn list(
    hosts: *const Hosts,
    context: *mut c_void,
    sink: unsafe extern "C" fn(*mut c_void, *const RawSummary),
) {
    // SAFETY: B1.
    for summary in unsafe { hosts_of(hosts) }.list() {
        let raw = RawSummary {
            id: summary.id.to_raw(),
            kind: summary.kind,
            state: summary.state,
            name: RawBytes::of(Some(&summary.name)),
            running: summary.running,
            threads: summary.threads,
        };
        // SAFETY: the sink takes the context that came with it, and copies what it keeps.
        unsafe { sink(context, &raw) };
    }
}

unsafe extern "C" fn is_running(hosts: *const Hosts, host: u64) -> bool {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.is_some_and(|host| host.is_running())
}

unsafe extern "C" fn running(
    hosts: *const Hosts,
    host: u64,
    context: *mut c_void,
    sink: unsafe extern "C" fn(*mut c_void, *const RawRunning),
) {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    for task in found.map(|host| host.running()).unwrap_or_default() {
        let Phase::Running(thread) = task.phase() else {
            continue;
        };
        let raw = RawRunning {
            id: task.id(),
            name: RawBytes::of(task.name()),
            thread,
            seconds: task.running_for().as_secs_f64(),
        };
        // SAFETY: the sink takes the context that came with it, and copies what it keeps.
        unsafe { sink(context, &raw) };
    }
}

unsafe extern "C" fn visit(hosts: *const Hosts, host: u64, message: *mut Message) {
    // SAFETY: B1; B5: the message is moved out.
    unsafe { hosts_of(hosts).visit(HostId::from_raw(host), message.read()) }
}

/// Null: there is no such host.
unsafe extern "C" fn interrupt(hosts: *const Hosts, host: u64) -> *const c_void {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.map_or(std::ptr::null(), |host| {
        interrupt_reference(host.interrupt())
    })
}

unsafe extern "C" fn wants_setup(hosts: *const Hosts, placement: RawPlacement) -> u32 {
    // SAFETY: B1.
    let wanted = unsafe { hosts_of(hosts) }.wants_setup(placement.placement());
    wanted.map_or(NO_KIND, |kind| kind as u32)
}

unsafe extern "C" fn set_setup(hosts: *const Hosts, kind: HostKind, setup: RawSetup) {
    // SAFETY: B1 and B4.
    let (hosts, setup) = unsafe { (hosts_of(hosts), setup.setup()) };
    hosts.set_setup(kind, setup);
}

unsafe extern "C" fn refuse_isolates(hosts: *const Hosts) {
    // SAFETY: B1.
    unsafe { hosts_of(hosts) }.refuse_isolates();
}

unsafe extern "C" fn shutdown(hosts: *const Hosts, wait: *const RawWait) -> Restless {
    // SAFETY: B1 and B4.
    unsafe { hosts_of(hosts).shutdown(&channels::wait(wait)) }
}

unsafe extern "C" fn is_forked(hosts: *const Hosts) -> bool {
    // SAFETY: B1.
    unsafe { hosts_of(hosts) }.check_process().is_err()
}
