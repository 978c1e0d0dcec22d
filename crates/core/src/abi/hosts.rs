//! The table's functions about hosts and tasks.

use crate::abi::{RawWait, Status, channels};
use crate::client::{End, HostId};
use crate::engine::Engine;
use crate::host::{Agent, Assignment, HostKind, HostState};
use crate::hosts::{Hosts, NewTask, SubmitError};
use crate::message::Message;
use crate::park::Interrupt;
use crate::region::Region;
use crate::task::{Outcome, Task};
use crate::waiting::Unfinished;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
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
        text.map_or(Self::NONE, |text| Self {
            pointer: text.as_ptr(),
            length: text.len(),
        })
    }

    /// # Safety
    /// The bytes are there.
    pub(crate) unsafe fn text(self) -> Option<String> {
        if self.pointer.is_null() {
            return None;
        }
        // SAFETY: by the caller.
        let bytes = unsafe { std::slice::from_raw_parts(self.pointer, self.length) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A new task, as it crosses the table.
#[repr(C)]
pub(crate) struct RawNewTask {
    /// The host to run on, 0 for the crew.
    pub(crate) on: u64,
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
    pub(crate) number: u64,
    /// A region with a text, given away, or null.
    pub(crate) text: *const c_void,
}

/// How a task ended, as it crosses the table.
#[repr(C)]
pub(crate) struct RawOutcome {
    pub(crate) kind: u32,
    /// A message (kinds [`VALUE`] and [`ERROR`]).
    pub(crate) message: *mut Message,
    /// A region with a text, given away, or null.
    pub(crate) text: *const c_void,
}

pub(crate) const VALUE: u32 = 0;
pub(crate) const ERROR: u32 = 1;
pub(crate) const CANCELLED: u32 = 2;
pub(crate) const DIED: u32 = 3;
pub(crate) const UNAVAILABLE: u32 = 4;
/// There is no outcome: the task runs, or somebody took it.
pub(crate) const NO_OUTCOME: u32 = 5;

pub(crate) const REFUSED_UNAVAILABLE: u32 = 0;
pub(crate) const REFUSED_CLOSED: u32 = 1;
pub(crate) const REFUSED_NO_SUCH_HOST: u32 = 2;
pub(crate) const REFUSED_FORKED: u32 = 3;

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

/// A reference to a task.
type RawTask = *const c_void;
/// A job in the hands of the thread that runs it.
type RawJob = *mut c_void;
/// The agent of the thread that asks.
type RawAgent = *mut c_void;

/// Everything about hosts and tasks.
#[repr(C)]
pub(crate) struct HostTable {
    pub(crate) hosts: *const Hosts,
    pub(crate) submit:
        unsafe extern "C" fn(*const Hosts, *const RawNewTask, *mut RawRefusal) -> RawTask,
    pub(crate) launch: unsafe extern "C" fn(
        *const Hosts,
        RawBytes,
        *const RawBytes,
        usize,
        *mut RawRefusal,
    ) -> u64,
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
    pub(crate) interrupt: unsafe extern "C" fn(*const Hosts, u64) -> *const c_void,
    pub(crate) wants_path: unsafe extern "C" fn(*const Hosts) -> bool,
    pub(crate) set_path: unsafe extern "C" fn(*const Hosts, *const RawBytes, usize),
    pub(crate) shutdown: unsafe extern "C" fn(*const Hosts, *const RawWait) -> usize,
    pub(crate) is_forked: unsafe extern "C" fn(*const Hosts) -> bool,
    pub(crate) task_retain: unsafe extern "C" fn(RawTask),
    pub(crate) task_release: unsafe extern "C" fn(RawTask),
    pub(crate) task_id: unsafe extern "C" fn(RawTask) -> u64,
    pub(crate) task_host: unsafe extern "C" fn(RawTask) -> u64,
    pub(crate) task_name: unsafe extern "C" fn(RawTask) -> RawBytes,
    pub(crate) task_is_ended: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) task_is_cancelled: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) task_wait: unsafe extern "C" fn(RawTask, *const RawWait) -> Status,
    pub(crate) task_wait_cancelled: unsafe extern "C" fn(RawTask, *const RawWait) -> Status,
    pub(crate) task_cancel: unsafe extern "C" fn(*const Hosts, RawTask),
    pub(crate) task_notify: unsafe extern "C" fn(RawTask, *mut End, *mut Message),
    pub(crate) task_take_outcome: unsafe extern "C" fn(RawTask, *mut RawOutcome),
    pub(crate) task_interrupt: unsafe extern "C" fn(RawTask) -> *const c_void,
    pub(crate) task_enter_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) task_leave_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) task_claim_cancellation: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) task_arrived_in_vain: unsafe extern "C" fn(*const Hosts, RawTask),
    pub(crate) next_job: unsafe extern "C" fn(RawAgent, u64) -> RawJob,
    pub(crate) agent_host: unsafe extern "C" fn(RawAgent) -> u64,
    pub(crate) agent_release: unsafe extern "C" fn(RawAgent),
    pub(crate) job_task: unsafe extern "C" fn(RawJob) -> RawTask,
    pub(crate) job_payload: unsafe extern "C" fn(RawJob, *mut Message),
    pub(crate) job_function: unsafe extern "C" fn(RawJob) -> *const c_void,
    pub(crate) job_finish: unsafe extern "C" fn(RawJob, *const RawOutcome) -> bool,
    pub(crate) job_release: unsafe extern "C" fn(RawJob),
}

/// Makes the hosts of an engine, which like it live as long as the process.
pub(super) fn table(engine: &'static Engine) -> HostTable {
    let hosts = Box::leak(Box::new(Hosts::new(|host| engine.release_host(host))));
    HostTable {
        hosts,
        submit,
        launch,
        wait_ready,
        close,
        wait_ended,
        list,
        is_running,
        interrupt,
        wants_path,
        set_path,
        shutdown,
        is_forked,
        task_retain,
        task_release,
        task_id,
        task_host,
        task_name,
        task_is_ended,
        task_is_cancelled,
        task_wait,
        task_wait_cancelled,
        task_cancel,
        task_notify,
        task_take_outcome,
        task_interrupt,
        task_enter_code,
        task_leave_code,
        task_claim_cancellation,
        task_arrived_in_vain,
        next_job,
        agent_host,
        agent_release,
        job_task,
        job_payload,
        job_function,
        job_finish,
        job_release,
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
unsafe fn hosts_of<'a>(hosts: *const Hosts) -> &'a Hosts {
    // SAFETY: B1.
    unsafe { &*hosts }
}

/// # Safety
/// B2; the result must not outlive the reference.
unsafe fn task<'a>(raw: RawTask) -> &'a Task {
    // SAFETY: B2: the pointer came from `Arc::into_raw` and its count is held.
    unsafe { &*raw.cast::<Task>() }
}

/// # Safety
/// B2.
unsafe fn shared(raw: RawTask) -> ManuallyDrop<Arc<Task>> {
    // SAFETY: B2; ManuallyDrop leaves the count as it is.
    ManuallyDrop::new(unsafe { Arc::from_raw(raw.cast::<Task>()) })
}

/// # Safety
/// B3.
unsafe fn job<'a>(raw: RawJob) -> &'a mut Assignment {
    // SAFETY: B3: made by Box in `next_job`, used by one thread.
    unsafe { &mut *raw.cast::<Assignment>() }
}

fn text_region(text: &str) -> *const c_void {
    Region::from_vec(text.as_bytes().to_vec()).into_raw()
}

fn status_of(result: Result<(), Unfinished>) -> Status {
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
        SubmitError::Unavailable(reason) => RawRefusal {
            kind: REFUSED_UNAVAILABLE,
            number: 0,
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
    let on = (raw.on != 0).then_some(HostId::from_raw(raw.on));
    match hosts.submit(on, new) {
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
    name: RawBytes,
    path: *const RawBytes,
    path_length: usize,
    refusal: *mut RawRefusal,
) -> u64 {
    // SAFETY: B1 and B4.
    let (hosts, name, path) = unsafe { (hosts_of(hosts), name.text(), texts(path, path_length)) };
    match hosts.launch(name, path) {
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
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    let Some(found) = found else {
        // SAFETY: the caller's place.
        unsafe { refuse(refusal, &SubmitError::NoSuchHost(host)) };
        return Status::Closed;
    };
    // SAFETY: B4.
    match found.wait_ready(&unsafe { channels::wait(wait) }) {
        Ok(Ok(())) => Status::Done,
        Ok(Err(reason)) => {
            // SAFETY: the caller's place.
            unsafe { refuse(refusal, &SubmitError::Unavailable(reason)) };
            Status::Closed
        }
        Err(unfinished) => status_of(Err(unfinished)),
    }
}

unsafe extern "C" fn close(hosts: *const Hosts, host: u64) {
    // SAFETY: B1.
    if let Some(host) = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host)) {
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

fn interrupt_reference(interrupt: &Interrupt) -> *const c_void {
    Box::into_raw(Box::new(interrupt.clone()))
        .cast_const()
        .cast()
}

/// Null: there is no such host.
unsafe extern "C" fn interrupt(hosts: *const Hosts, host: u64) -> *const c_void {
    // SAFETY: B1.
    let found = unsafe { hosts_of(hosts) }.find(HostId::from_raw(host));
    found.map_or(std::ptr::null(), |host| {
        interrupt_reference(host.interrupt())
    })
}

unsafe extern "C" fn wants_path(hosts: *const Hosts) -> bool {
    // SAFETY: B1.
    unsafe { hosts_of(hosts) }.wants_path()
}

unsafe extern "C" fn set_path(hosts: *const Hosts, path: *const RawBytes, length: usize) {
    // SAFETY: B1 and B4.
    let (hosts, path) = unsafe { (hosts_of(hosts), texts(path, length)) };
    hosts.set_path(path.unwrap_or_default());
}

unsafe extern "C" fn shutdown(hosts: *const Hosts, wait: *const RawWait) -> usize {
    // SAFETY: B1 and B4.
    unsafe { hosts_of(hosts).shutdown(&channels::wait(wait)) }
}

unsafe extern "C" fn is_forked(hosts: *const Hosts) -> bool {
    // SAFETY: B1.
    unsafe { hosts_of(hosts) }.check_process().is_err()
}

unsafe extern "C" fn task_retain(raw: RawTask) {
    // SAFETY: B2.
    let shared = unsafe { shared(raw) };
    std::mem::forget(Arc::clone(&shared));
}

unsafe extern "C" fn task_release(raw: RawTask) {
    // SAFETY: B2: the caller gives this reference up.
    drop(ManuallyDrop::into_inner(unsafe { shared(raw) }));
}

unsafe extern "C" fn task_id(raw: RawTask) -> u64 {
    // SAFETY: B2.
    unsafe { task(raw) }.id()
}

unsafe extern "C" fn task_host(raw: RawTask) -> u64 {
    // SAFETY: B2.
    unsafe { task(raw) }.host().to_raw()
}

unsafe extern "C" fn task_name(raw: RawTask) -> RawBytes {
    // SAFETY: B2.
    RawBytes::of(unsafe { task(raw) }.name())
}

unsafe extern "C" fn task_is_ended(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.is_ended()
}

unsafe extern "C" fn task_is_cancelled(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.is_cancelled()
}

unsafe extern "C" fn task_wait(raw: RawTask, wait: *const RawWait) -> Status {
    // SAFETY: B2 and B4.
    status_of(unsafe { task(raw).wait(&channels::wait(wait)) })
}

unsafe extern "C" fn task_wait_cancelled(raw: RawTask, wait: *const RawWait) -> Status {
    // SAFETY: B2 and B4.
    status_of(unsafe { task(raw).wait_cancelled(&channels::wait(wait)) })
}

unsafe extern "C" fn task_cancel(hosts: *const Hosts, raw: RawTask) {
    // SAFETY: B1 and B2.
    let (hosts, task) = unsafe { (hosts_of(hosts), shared(raw)) };
    hosts.cancel(&task);
}

unsafe extern "C" fn task_notify(raw: RawTask, end: *mut End, message: *mut Message) {
    // SAFETY: B2 and B5.
    unsafe { task(raw).notify(end.read(), message.read()) }
}

unsafe extern "C" fn task_take_outcome(raw: RawTask, out: *mut RawOutcome) {
    // SAFETY: B2; the caller's place.
    let (outcome, out) = unsafe { (task(raw).take_outcome(), &mut *out) };
    let (kind, message, text) = match outcome {
        Some(Outcome::Value(message)) => (VALUE, Some(message), None),
        Some(Outcome::Error(message)) => (ERROR, Some(message), None),
        Some(Outcome::Cancelled) => (CANCELLED, None, None),
        Some(Outcome::Died(text)) => (DIED, None, Some(text)),
        Some(Outcome::Unavailable(text)) => (UNAVAILABLE, None, Some(text)),
        None => (NO_OUTCOME, None, None),
    };
    out.kind = kind;
    out.text = text.map_or(std::ptr::null(), |text| text_region(&text));
    if let Some(message) = message {
        // SAFETY: B5.
        unsafe { out.message.write(message) };
    }
}

unsafe extern "C" fn task_interrupt(raw: RawTask) -> *const c_void {
    // SAFETY: B2.
    interrupt_reference(unsafe { task(raw) }.interrupt())
}

unsafe extern "C" fn task_enter_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.enter_code()
}

unsafe extern "C" fn task_leave_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.leave_code()
}

unsafe extern "C" fn task_claim_cancellation(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.claim_cancellation()
}

unsafe extern "C" fn task_arrived_in_vain(hosts: *const Hosts, raw: RawTask) {
    // SAFETY: B1 and B2.
    let (hosts, task) = unsafe { (hosts_of(hosts), shared(raw)) };
    task.arrived_in_vain();
    hosts.cancel(&task);
}

/// Null: go home.
unsafe extern "C" fn next_job(agent: RawAgent, thread: u64) -> RawJob {
    // SAFETY: B3.
    let agent = unsafe { &mut *agent.cast::<Agent>() };
    agent.next_job(thread).map_or(std::ptr::null_mut(), |job| {
        Box::into_raw(Box::new(job)).cast()
    })
}

unsafe extern "C" fn agent_host(agent: RawAgent) -> u64 {
    // SAFETY: B3.
    unsafe { &*agent.cast::<Agent>() }.host().id().to_raw()
}

unsafe extern "C" fn agent_release(agent: RawAgent) {
    // SAFETY: B3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(agent.cast::<Agent>()) });
}

unsafe extern "C" fn job_task(raw: RawJob) -> RawTask {
    // SAFETY: B3.
    Arc::into_raw(unsafe { job(raw) }.task().clone()).cast()
}

/// The payload, once; afterwards an empty message.
unsafe extern "C" fn job_payload(raw: RawJob, out: *mut Message) {
    let empty = Message::from_inline(Default::default(), 0);
    // SAFETY: B3.
    let payload = std::mem::replace(&mut unsafe { job(raw) }.job_mut().payload, empty);
    // SAFETY: B5.
    unsafe { out.write(payload) };
}

/// Null: it did not come with the job.
unsafe extern "C" fn job_function(raw: RawJob) -> *const c_void {
    // SAFETY: B3.
    let function = unsafe { job(raw) }.job_mut().function.clone();
    function.map_or(std::ptr::null(), Region::into_raw)
}

unsafe extern "C" fn job_finish(raw: RawJob, outcome: *const RawOutcome) -> bool {
    // SAFETY: B3; the caller's outcome.
    let (job, raw) = unsafe { (job(raw), &*outcome) };
    let text = || {
        // SAFETY: a reference that the caller gives away.
        let region = unsafe { Region::from_raw(raw.text) };
        String::from_utf8_lossy(&region).into_owned()
    };
    job.finish(match raw.kind {
        // SAFETY: B5.
        VALUE => Outcome::Value(unsafe { raw.message.read() }),
        // SAFETY: B5.
        ERROR => Outcome::Error(unsafe { raw.message.read() }),
        DIED => Outcome::Died(text()),
        UNAVAILABLE => Outcome::Unavailable(text()),
        _ => Outcome::Cancelled,
    })
}

unsafe extern "C" fn job_release(raw: RawJob) {
    // SAFETY: B3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(raw.cast::<Assignment>()) });
}
