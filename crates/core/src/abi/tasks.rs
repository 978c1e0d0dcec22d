//! The table's functions about tasks, and about jobs in the hands of the threads that run them.

use crate::abi::hosts::{RawBytes, hosts_of, status_of, text_region};
use crate::abi::{RawWait, Status, channels};
use crate::client::End;
use crate::host::Assignment;
use crate::hosts::Hosts;
use crate::message::Message;
use crate::park::Interrupt;
use crate::region::Region;
use crate::task::{CancelStep, Outcome, Phase, Task};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

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

pub(crate) const QUEUED: u32 = 0;
pub(crate) const RUNNING: u32 = 1;
pub(crate) const ENDED: u32 = 2;

/// A reference to a task.
pub(crate) type RawTask = *const c_void;
/// A job in the hands of the thread that runs it.
pub(crate) type RawJob = *mut c_void;

/// Everything about tasks.
#[repr(C)]
pub(crate) struct TaskTable {
    pub(crate) retain: unsafe extern "C" fn(RawTask),
    pub(crate) release: unsafe extern "C" fn(RawTask),
    pub(crate) id: unsafe extern "C" fn(RawTask) -> u64,
    pub(crate) host: unsafe extern "C" fn(RawTask) -> u64,
    pub(crate) name: unsafe extern "C" fn(RawTask) -> RawBytes,
    pub(crate) phase: unsafe extern "C" fn(RawTask, *mut u64) -> u32,
    pub(crate) is_cancelled: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) wait: unsafe extern "C" fn(RawTask, *const RawWait) -> Status,
    pub(crate) wait_cancelled: unsafe extern "C" fn(RawTask, *const RawWait) -> Status,
    pub(crate) cancel: unsafe extern "C" fn(*const Hosts, RawTask),
    pub(crate) notify: unsafe extern "C" fn(RawTask, *mut End, *mut Message),
    pub(crate) take_outcome: unsafe extern "C" fn(RawTask, *mut RawOutcome),
    pub(crate) interrupt: unsafe extern "C" fn(RawTask) -> *const c_void,
    pub(crate) enter_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) leave_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) suspend_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) resume_code: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) request_cancellation: unsafe extern "C" fn(RawTask) -> CancelStep,
    pub(crate) throw_cancellation:
        unsafe extern "C" fn(RawTask, *mut c_void, unsafe extern "C" fn(*mut c_void, u64)),
    pub(crate) claim_cancellation: unsafe extern "C" fn(RawTask) -> bool,
    pub(crate) arrived_in_vain: unsafe extern "C" fn(*const Hosts, RawTask),
    pub(crate) job_task: unsafe extern "C" fn(RawJob) -> RawTask,
    pub(crate) job_payload: unsafe extern "C" fn(RawJob, *mut Message),
    pub(crate) job_function: unsafe extern "C" fn(RawJob) -> *const c_void,
    pub(crate) job_finish: unsafe extern "C" fn(RawJob, *const RawOutcome) -> bool,
    pub(crate) job_depart: unsafe extern "C" fn(RawJob),
    pub(crate) job_release: unsafe extern "C" fn(RawJob),
}

pub(super) const TABLE: TaskTable = TaskTable {
    retain,
    release,
    id,
    host,
    name,
    phase,
    is_cancelled,
    wait,
    wait_cancelled,
    cancel,
    notify,
    take_outcome,
    interrupt,
    enter_code,
    leave_code,
    suspend_code,
    resume_code,
    request_cancellation,
    throw_cancellation,
    claim_cancellation,
    arrived_in_vain,
    job_task,
    job_payload,
    job_function,
    job_finish,
    job_depart,
    job_release,
};

// The functions below share the contract of `abi::hosts` (B1–B5).

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

pub(crate) fn interrupt_reference(interrupt: &Interrupt) -> *const c_void {
    Box::into_raw(Box::new(interrupt.clone()))
        .cast_const()
        .cast()
}

unsafe extern "C" fn retain(raw: RawTask) {
    // SAFETY: B2.
    let shared = unsafe { shared(raw) };
    std::mem::forget(Arc::clone(&shared));
}

unsafe extern "C" fn release(raw: RawTask) {
    // SAFETY: B2: the caller gives this reference up.
    drop(ManuallyDrop::into_inner(unsafe { shared(raw) }));
}

unsafe extern "C" fn id(raw: RawTask) -> u64 {
    // SAFETY: B2.
    unsafe { task(raw) }.id()
}

unsafe extern "C" fn host(raw: RawTask) -> u64 {
    // SAFETY: B2.
    unsafe { task(raw) }.host().to_raw()
}

unsafe extern "C" fn name(raw: RawTask) -> RawBytes {
    // SAFETY: B2.
    RawBytes::of(unsafe { task(raw) }.name())
}

/// The thread is written when the task runs.
unsafe extern "C" fn phase(raw: RawTask, thread: *mut u64) -> u32 {
    // SAFETY: B2.
    match unsafe { task(raw) }.phase() {
        Phase::Queued => QUEUED,
        Phase::Running(number) => {
            // SAFETY: the caller's place.
            unsafe { thread.write(number) };
            RUNNING
        }
        Phase::Ended => ENDED,
    }
}

unsafe extern "C" fn is_cancelled(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.is_cancelled()
}

unsafe extern "C" fn wait(raw: RawTask, wait: *const RawWait) -> Status {
    // SAFETY: B2 and B4.
    status_of(unsafe { task(raw).wait(&channels::wait(wait)) })
}

unsafe extern "C" fn wait_cancelled(raw: RawTask, wait: *const RawWait) -> Status {
    // SAFETY: B2 and B4.
    status_of(unsafe { task(raw).wait_cancelled(&channels::wait(wait)) })
}

unsafe extern "C" fn cancel(hosts: *const Hosts, raw: RawTask) {
    // SAFETY: B1 and B2.
    let (hosts, task) = unsafe { (hosts_of(hosts), shared(raw)) };
    hosts.cancel(&task);
}

unsafe extern "C" fn notify(raw: RawTask, end: *mut End, message: *mut Message) {
    // SAFETY: B2 and B5.
    unsafe { task(raw).notify(end.read(), message.read()) }
}

unsafe extern "C" fn take_outcome(raw: RawTask, out: *mut RawOutcome) {
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

unsafe extern "C" fn interrupt(raw: RawTask) -> *const c_void {
    // SAFETY: B2.
    interrupt_reference(unsafe { task(raw) }.interrupt())
}

unsafe extern "C" fn enter_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.enter_code()
}

unsafe extern "C" fn leave_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.leave_code()
}

unsafe extern "C" fn suspend_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.suspend_code()
}

unsafe extern "C" fn resume_code(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.resume_code()
}

unsafe extern "C" fn request_cancellation(raw: RawTask) -> CancelStep {
    // SAFETY: B2.
    unsafe { task(raw) }.request_cancellation()
}

unsafe extern "C" fn throw_cancellation(
    raw: RawTask,
    context: *mut c_void,
    throw: unsafe extern "C" fn(*mut c_void, u64),
) {
    // SAFETY: B2; the function takes the context that came with it.
    unsafe { task(raw).throw_cancellation(|thread| throw(context, thread)) }
}

unsafe extern "C" fn claim_cancellation(raw: RawTask) -> bool {
    // SAFETY: B2.
    unsafe { task(raw) }.claim_cancellation()
}

unsafe extern "C" fn arrived_in_vain(hosts: *const Hosts, raw: RawTask) {
    // SAFETY: B1 and B2.
    let (hosts, task) = unsafe { (hosts_of(hosts), shared(raw)) };
    task.arrived_in_vain();
    hosts.cancel(&task);
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

unsafe extern "C" fn job_depart(raw: RawJob) {
    // SAFETY: B3.
    unsafe { job(raw) }.depart();
}

unsafe extern "C" fn job_release(raw: RawJob) {
    // SAFETY: B3: made by Box, and the caller gives it up.
    drop(unsafe { Box::from_raw(raw.cast::<Assignment>()) });
}
