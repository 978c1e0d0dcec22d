//! Tasks on the client's side of the table: what whoever waits for one holds, and what the thread that runs it holds.

use crate::abi::tasks::{
    CANCELLED, DIED, ERROR, NO_OUTCOME, QUEUED, RUNNING, RawOutcome, UNAVAILABLE, VALUE,
};
use crate::client::hosts::{finished, text_of};
use crate::client::{End, Engine, HostId, Interrupt, Message, Region, Unfinished, Wait};
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};

pub use crate::task::{CancelStep, Outcome as TaskOutcome, Phase};

/// A reference to a task. Dropping it does not stop the task.
pub struct Task {
    engine: Engine,
    raw: *const c_void,
}

// SAFETY: a counted reference to a task, whose functions are thread-safe.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// As another copy of the library takes it over: one reference, given away.
    #[must_use]
    pub fn into_raw(self) -> *const c_void {
        ManuallyDrop::new(self).raw
    }

    /// # Safety
    /// *raw* came from [`Self::into_raw`] for a task of the same engine, in whatever copy of the library, and its reference
    /// is taken back once.
    #[must_use]
    pub unsafe fn from_raw(engine: Engine, raw: *const c_void) -> Self {
        Self { engine, raw }
    }

    /// Unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.id)(self.raw) }
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> HostId {
        // SAFETY: B2: our reference.
        HostId::from_raw(unsafe { (self.engine.table.tasks.host)(self.raw) })
    }

    /// The name its spawner gave it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        // SAFETY: B2: our reference keeps the task, and so its name, alive.
        unsafe { (self.engine.table.tasks.name)(self.raw).text() }
    }

    /// Where it stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let mut thread = 0;
        // SAFETY: B2: our reference; a place for the thread.
        match unsafe { (self.engine.table.tasks.phase)(self.raw, &mut thread) } {
            QUEUED => Phase::Queued,
            RUNNING => Phase::Running(thread),
            _ => Phase::Ended,
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.phase() == Phase::Ended
    }

    /// Whether somebody asked for its end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.is_cancelled)(self.raw) }
    }

    /// Waits until it is over.
    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        // SAFETY: B2: our reference; B4.
        finished(unsafe { (self.engine.table.tasks.wait)(self.raw, &wait.to_raw()) })
    }

    /// Waits until it is over or its cancellation was raised in its code.
    pub fn wait_cancelled(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        // SAFETY: B2: our reference; B4.
        finished(unsafe { (self.engine.table.tasks.wait_cancelled)(self.raw, &wait.to_raw()) })
    }

    /// Asks it to end: its blocked verbs fail, and the cancellation is thrown at its code. Returns at once.
    pub fn cancel(&self) {
        let table = self.engine.table;
        // SAFETY: B1; B2: our reference.
        unsafe { (table.tasks.cancel)(table.hosts.hosts, self.raw) }
    }

    /// Has *message* sent to *end* when it ends; at once if it has ended.
    pub fn notify(&self, end: End, message: Message) {
        let (mut end, mut message) = (ManuallyDrop::new(end), ManuallyDrop::new(message));
        // SAFETY: B2: our reference; B5: both are moved out.
        unsafe { (self.engine.table.tasks.notify)(self.raw, &mut *end, &mut *message) }
    }

    /// How it ended, once: channel ends move out of a message when it is decoded.
    #[must_use]
    pub fn take_outcome(&self) -> Option<TaskOutcome> {
        let mut message = MaybeUninit::<Message>::uninit();
        let mut raw = RawOutcome {
            kind: NO_OUTCOME,
            message: message.as_mut_ptr(),
            text: std::ptr::null(),
        };
        // SAFETY: B2: our reference; B5: room for a message.
        unsafe { (self.engine.table.tasks.take_outcome)(self.raw, &mut raw) };
        // SAFETY: B5: these two kinds have written the message.
        let message = || unsafe { message.assume_init() };
        // SAFETY: the text is ours now.
        let text = || unsafe { text_of(raw.text) };
        match raw.kind {
            VALUE => Some(TaskOutcome::Value(message())),
            ERROR => Some(TaskOutcome::Error(message())),
            CANCELLED => Some(TaskOutcome::Cancelled),
            DIED => Some(TaskOutcome::Died(text())),
            UNAVAILABLE => Some(TaskOutcome::Unavailable(text())),
            _ => None,
        }
    }

    /// What ends its blocked verbs.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        // SAFETY: B2: our reference; the interrupt's reference is handed out to us.
        unsafe { Interrupt::from_raw(self.engine, (self.engine.table.tasks.interrupt)(self.raw)) }
    }

    /// This thread is about to call the task's function. False: do not, a cancellation has come (and is delivered now).
    #[must_use]
    pub fn enter_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.enter_code)(self.raw) }
    }

    /// The function has returned or raised: from here on nothing is thrown at this thread. True: something was thrown and
    /// has not arrived; withdraw it.
    #[must_use]
    pub fn leave_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.leave_code)(self.raw) }
    }

    /// This thread, inside the task's function, is about to do something that nothing may break off. True: something was
    /// thrown and has not arrived; withdraw it, [`Self::resume_code`] remembers it.
    #[must_use]
    pub fn suspend_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.suspend_code)(self.raw) }
    }

    /// This thread goes on in the task's function. False: a cancellation has come meanwhile; raise it.
    #[must_use]
    pub fn resume_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.resume_code)(self.raw) }
    }

    /// Asks for its end without doing anything about it: the caller does what the answer says.
    pub fn request_cancellation(&self) -> CancelStep {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.request_cancellation)(self.raw) }
    }

    /// Calls *throw* with the thread that runs it if a requested cancellation is still to be raised there. *throw* must
    /// not block and must not come back to this task. True: it was called.
    pub fn throw_cancellation(&self, throw: impl FnOnce(u64)) -> bool {
        unsafe extern "C" fn call<F: FnOnce(u64)>(context: *mut c_void, thread: u64) {
            // SAFETY: the context is the option below, which lives during the call.
            let throw = unsafe { &mut *context.cast::<Option<F>>() };
            if let Some(throw) = throw.take() {
                throw(thread);
            }
        }
        fn caller_for<F: FnOnce(u64)>(_: &Option<F>) -> unsafe extern "C" fn(*mut c_void, u64) {
            call::<F>
        }
        let mut throw = Some(throw);
        let call = caller_for(&throw);
        // SAFETY: B2: our reference; the function fits its context.
        unsafe {
            let context = std::ptr::from_mut(&mut throw).cast();
            (self.engine.table.tasks.throw_cancellation)(self.raw, context, call);
        }
        throw.is_none()
    }

    /// This thread, which runs the task, raises the cancellation itself. True: one was thrown at it and may still be
    /// pending; withdraw it.
    #[must_use]
    pub fn claim_cancellation(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.claim_cancellation)(self.raw) }
    }

    /// The cancellation that was thrown at this thread has arrived where it is lost: have it thrown again.
    pub fn arrived_in_vain(&self) {
        let table = self.engine.table;
        // SAFETY: B1; B2: our reference.
        unsafe { (table.tasks.arrived_in_vain)(table.hosts.hosts, self.raw) }
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.tasks.retain)(self.raw) };
        Self {
            engine: self.engine,
            raw: self.raw,
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: B2: our reference, given back once.
        unsafe { (self.engine.table.tasks.release)(self.raw) }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.id())
    }
}

/// A job in the hands of the thread that runs it. Dropping it unfinished ends its task as died.
pub struct Job {
    engine: Engine,
    raw: *mut c_void,
}

// SAFETY: the job behind the pointer is plain data and thread-safe references.
unsafe impl Send for Job {}

impl Job {
    /// # Safety
    /// The engine handed *raw* out just now, to this thread.
    pub(super) unsafe fn from_raw(engine: Engine, raw: *mut c_void) -> Self {
        Self { engine, raw }
    }

    /// The task that it is.
    #[must_use]
    pub fn task(&self) -> Task {
        // SAFETY: B3: ours alone; the task's reference is handed out to us.
        let raw = unsafe { (self.engine.table.tasks.job_task)(self.raw) };
        Task {
            engine: self.engine,
            raw,
        }
    }

    /// What to call and with what, once: afterwards an empty message.
    #[must_use]
    pub fn take_payload(&mut self) -> Message {
        let mut message = MaybeUninit::uninit();
        // SAFETY: B3: ours alone; B5: a message is written.
        unsafe {
            (self.engine.table.tasks.job_payload)(self.raw, message.as_mut_ptr());
            message.assume_init()
        }
    }

    /// The function's pickle, when it travels by value.
    #[must_use]
    pub fn function(&mut self) -> Option<Region> {
        // SAFETY: B3: ours alone; the region's reference is handed out to us.
        unsafe {
            let raw = (self.engine.table.tasks.job_function)(self.raw);
            (!raw.is_null()).then(|| Region::from_raw(raw))
        }
    }

    /// It leaves the thread that took it, which does other jobs meanwhile; an event loop will finish it.
    pub fn depart(&mut self) {
        // SAFETY: B3: ours alone.
        unsafe { (self.engine.table.tasks.job_depart)(self.raw) }
    }

    /// The task is over. The first call counts; true if this was it.
    pub fn finish(&mut self, outcome: TaskOutcome) -> bool {
        let text = |text: String| Region::from_vec(text.into_bytes()).into_raw();
        let (kind, message, text) = match outcome {
            TaskOutcome::Value(message) => (VALUE, Some(message), None),
            TaskOutcome::Error(message) => (ERROR, Some(message), None),
            TaskOutcome::Cancelled => (CANCELLED, None, None),
            TaskOutcome::Died(reason) => (DIED, None, Some(text(reason))),
            TaskOutcome::Unavailable(reason) => (UNAVAILABLE, None, Some(text(reason))),
        };
        let mut message = ManuallyDrop::new(message);
        let raw = RawOutcome {
            kind,
            message: message
                .as_mut()
                .map_or(std::ptr::null_mut(), std::ptr::from_mut),
            text: text.unwrap_or(std::ptr::null()),
        };
        // SAFETY: B3: ours alone; B5: the message is moved out, the text is given away.
        unsafe { (self.engine.table.tasks.job_finish)(self.raw, &raw) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: B3: ours alone, given back once.
        unsafe { (self.engine.table.tasks.job_release)(self.raw) }
    }
}
