//! Hosts and tasks on the client's side of the table.

use crate::abi::Status;
use crate::abi::hosts::{
    CANCELLED, DIED, ERROR, NO_OUTCOME, REFUSED_CLOSED, REFUSED_FORKED, REFUSED_NO_SUCH_HOST,
    RawBytes, RawNewTask, RawOutcome, RawRefusal, RawSummary, UNAVAILABLE, VALUE,
};
use crate::client::{End, Engine, HostId, Interrupt, Message, Region, Wait};
use crate::host::Agent as EngineAgent;
use crate::hosts::Driver;
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};

pub use crate::host::{HostKind, HostState, HostSummary};
pub use crate::hosts::SubmitError;
pub use crate::task::Outcome as TaskOutcome;
pub use crate::waiting::Unfinished;

impl Engine {
    /// Installs what starts hosts. The first call counts. Only for the copy that owns the engine.
    pub fn install(&self, driver: Box<dyn Driver>) -> bool {
        // SAFETY: B1.
        unsafe { &*self.table.hosts.hosts }.install(driver)
    }

    /// Runs a task on the host *on*, or on the crew. The payload is gone whatever comes of it.
    pub fn submit(
        &self,
        on: Option<HostId>,
        name: Option<&str>,
        payload: Message,
        function: Option<Region>,
    ) -> Result<Task, SubmitError> {
        let mut payload = ManuallyDrop::new(payload);
        let new = RawNewTask {
            on: on.map_or(0, HostId::to_raw),
            name: RawBytes::of(name),
            payload: &mut *payload,
            function: function.map_or(std::ptr::null(), Region::into_raw),
        };
        let mut refusal = MaybeUninit::uninit();
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4 (the name is borrowed), B5 (the payload is moved out).
        let raw = unsafe { (hosts.submit)(hosts.hosts, &new, refusal.as_mut_ptr()) };
        if raw.is_null() {
            // SAFETY: a refusal was written.
            return Err(unsafe { refused(refusal.assume_init()) });
        }
        Ok(Task { engine: *self, raw })
    }

    /// Starts a host of the caller's own and returns its number at once.
    pub fn launch(
        &self,
        name: Option<&str>,
        path: Option<&[String]>,
    ) -> Result<HostId, SubmitError> {
        let raw_path: Option<Vec<_>> = path.map(raw_texts);
        let (first, length) = match &raw_path {
            Some(path) => (path.as_ptr(), path.len()),
            None => (std::ptr::null(), 0),
        };
        let mut refusal = MaybeUninit::uninit();
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        let id = unsafe {
            (hosts.launch)(
                hosts.hosts,
                RawBytes::of(name),
                first,
                length,
                refusal.as_mut_ptr(),
            )
        };
        if id == 0 {
            // SAFETY: a refusal was written.
            return Err(unsafe { refused(refusal.assume_init()) });
        }
        Ok(HostId::from_raw(id))
    }

    /// Waits until a host is ready. The inner error says why it never will be.
    pub fn wait_ready(
        &self,
        host: HostId,
        wait: &Wait<'_>,
    ) -> Result<Result<(), SubmitError>, Unfinished> {
        let mut refusal = MaybeUninit::uninit();
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        let status = unsafe {
            (hosts.wait_ready)(
                hosts.hosts,
                host.to_raw(),
                &wait.to_raw(),
                refusal.as_mut_ptr(),
            )
        };
        if status == Status::Closed {
            // SAFETY: a refusal was written.
            return Ok(Err(unsafe { refused(refusal.assume_init()) }));
        }
        finished(status).map(Ok)
    }

    /// Begins to close a host and returns at once. Idempotent.
    pub fn close_host(&self, host: HostId) {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        unsafe { (hosts.close)(hosts.hosts, host.to_raw()) }
    }

    /// Waits until a host is gone.
    pub fn wait_host_ended(&self, host: HostId, wait: &Wait<'_>) -> Result<(), Unfinished> {
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        finished(unsafe { (hosts.wait_ended)(hosts.hosts, host.to_raw(), &wait.to_raw()) })
    }

    /// Every host that has not ended, oldest first.
    #[must_use]
    pub fn list_hosts(&self) -> Vec<HostSummary> {
        unsafe extern "C" fn keep(context: *mut c_void, raw: *const RawSummary) {
            // SAFETY: the context is the vector below, the summary is there during this call.
            let (list, raw) = unsafe { (&mut *context.cast::<Vec<HostSummary>>(), &*raw) };
            list.push(HostSummary {
                id: HostId::from_raw(raw.id),
                kind: raw.kind,
                // SAFETY: B4.
                name: unsafe { raw.name.text() }.unwrap_or_default(),
                state: raw.state,
                running: raw.running,
                threads: raw.threads,
            });
        }
        let mut list = Vec::new();
        let hosts = &self.table.hosts;
        // SAFETY: B1; the sink fits its context.
        unsafe { (hosts.list)(hosts.hosts, std::ptr::from_mut(&mut list).cast(), keep) };
        list
    }

    /// Whether a task runs on the host now.
    #[must_use]
    pub fn is_host_running(&self, host: HostId) -> bool {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        unsafe { (hosts.is_running)(hosts.hosts, host.to_raw()) }
    }

    /// What ends the blocked verbs of the host's threads that run no task; raised when it closes.
    #[must_use]
    pub fn host_interrupt(&self, host: HostId) -> Option<Interrupt> {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        let raw = unsafe { (hosts.interrupt)(hosts.hosts, host.to_raw()) };
        // SAFETY: a reference of this engine, handed out to us.
        (!raw.is_null()).then(|| unsafe { Interrupt::from_raw(*self, raw) })
    }

    /// Whether a task for the crew may start a host, which will want the current module path.
    #[must_use]
    pub fn wants_path(&self) -> bool {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        unsafe { (hosts.wants_path)(hosts.hosts) }
    }

    /// Where hosts of the crew that start from now on look for modules.
    pub fn set_path(&self, path: &[String]) {
        let path = raw_texts(path);
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        unsafe { (hosts.set_path)(hosts.hosts, path.as_ptr(), path.len()) }
    }

    /// Closes every host and waits for them. Returns how many threads could not be joined in time.
    pub fn shutdown(&self, wait: &Wait<'_>) -> usize {
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        unsafe { (hosts.shutdown)(hosts.hosts, &wait.to_raw()) }
    }

    /// Whether this process is a fork of the one that has the workers.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        unsafe { (hosts.is_forked)(hosts.hosts) }
    }
}

fn raw_texts(texts: &[String]) -> Vec<RawBytes> {
    texts.iter().map(|text| RawBytes::of(Some(text))).collect()
}

fn finished(status: Status) -> Result<(), Unfinished> {
    match status {
        Status::Done => Ok(()),
        Status::Interrupted => Err(Unfinished::Interrupted),
        Status::TimedOut
        | Status::NotNow
        | Status::Closed
        | Status::Poisoned
        | Status::CaseClosed
        | Status::CasePoisoned => Err(Unfinished::TimedOut),
    }
}

/// # Safety
/// The refusal came from the engine just now.
unsafe fn refused(raw: RawRefusal) -> SubmitError {
    // SAFETY: as told.
    let text = unsafe { text_of(raw.text) };
    match raw.kind {
        REFUSED_CLOSED => SubmitError::HostClosed(text),
        REFUSED_NO_SUCH_HOST => SubmitError::NoSuchHost(raw.number),
        REFUSED_FORKED => SubmitError::Forked,
        _ => SubmitError::Unavailable(text),
    }
}

/// # Safety
/// *raw* is null or a region's reference that nobody else gives back.
unsafe fn text_of(raw: *const c_void) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    let region = unsafe { Region::from_raw(raw) };
    String::from_utf8_lossy(&region).into_owned()
}

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
    /// Unique in the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_id)(self.raw) }
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> HostId {
        // SAFETY: B2: our reference.
        HostId::from_raw(unsafe { (self.engine.table.hosts.task_host)(self.raw) })
    }

    /// The name its spawner gave it.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        // SAFETY: B2: our reference keeps the task, and so its name, alive.
        unsafe { (self.engine.table.hosts.task_name)(self.raw).text() }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_is_ended)(self.raw) }
    }

    /// Whether somebody asked for its end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_is_cancelled)(self.raw) }
    }

    /// Waits until it is over.
    pub fn wait(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        // SAFETY: B2: our reference; B4.
        finished(unsafe { (self.engine.table.hosts.task_wait)(self.raw, &wait.to_raw()) })
    }

    /// Waits until it is over or its cancellation was raised in its code.
    pub fn wait_cancelled(&self, wait: &Wait<'_>) -> Result<(), Unfinished> {
        // SAFETY: B2: our reference; B4.
        finished(unsafe { (self.engine.table.hosts.task_wait_cancelled)(self.raw, &wait.to_raw()) })
    }

    /// Asks it to end: its blocked verbs fail, and the cancellation is thrown at its code. Returns at once.
    pub fn cancel(&self) {
        let hosts = &self.engine.table.hosts;
        // SAFETY: B1; B2: our reference.
        unsafe { (hosts.task_cancel)(hosts.hosts, self.raw) }
    }

    /// Has *message* sent to *end* when it ends; at once if it has ended.
    pub fn notify(&self, end: End, message: Message) {
        let (mut end, mut message) = (ManuallyDrop::new(end), ManuallyDrop::new(message));
        // SAFETY: B2: our reference; B5: both are moved out.
        unsafe { (self.engine.table.hosts.task_notify)(self.raw, &mut *end, &mut *message) }
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
        unsafe { (self.engine.table.hosts.task_take_outcome)(self.raw, &mut raw) };
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
        unsafe {
            Interrupt::from_raw(
                self.engine,
                (self.engine.table.hosts.task_interrupt)(self.raw),
            )
        }
    }

    /// This thread is about to call the task's function. False: do not, a cancellation has come (and is delivered now).
    #[must_use]
    pub fn enter_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_enter_code)(self.raw) }
    }

    /// The function has returned or raised: from here on nothing is thrown at this thread. True: something was thrown and
    /// has not arrived; withdraw it.
    #[must_use]
    pub fn leave_code(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_leave_code)(self.raw) }
    }

    /// This thread, which runs the task, raises the cancellation itself. True: one was thrown at it and may still be
    /// pending; withdraw it.
    #[must_use]
    pub fn claim_cancellation(&self) -> bool {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_claim_cancellation)(self.raw) }
    }

    /// The cancellation that was thrown at this thread has arrived where it is lost: have it thrown again.
    pub fn arrived_in_vain(&self) {
        let hosts = &self.engine.table.hosts;
        // SAFETY: B1; B2: our reference.
        unsafe { (hosts.task_arrived_in_vain)(hosts.hosts, self.raw) }
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        // SAFETY: B2: our reference.
        unsafe { (self.engine.table.hosts.task_retain)(self.raw) };
        Self {
            engine: self.engine,
            raw: self.raw,
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: B2: our reference, given back once.
        unsafe { (self.engine.table.hosts.task_release)(self.raw) }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.id())
    }
}

/// The calling thread as one that works for a host. Dropping it: the thread goes home.
pub struct Agent {
    engine: Engine,
    raw: *mut c_void,
}

// SAFETY: the agent may move to the thread that it stands for; it is used by one at a time (`&mut`).
unsafe impl Send for Agent {}

impl Agent {
    /// Takes over what the engine's side counts. Only for the copy that owns the engine.
    #[must_use]
    pub fn new(engine: Engine, agent: EngineAgent) -> Self {
        Self {
            engine,
            raw: Box::into_raw(Box::new(agent)).cast(),
        }
    }

    /// The host it works for.
    #[must_use]
    pub fn host(&self) -> HostId {
        // SAFETY: B3: ours alone.
        HostId::from_raw(unsafe { (self.engine.table.hosts.agent_host)(self.raw) })
    }

    /// The next job, waiting for one. `None`: go home. *thread* names this thread to whoever throws a cancellation at it.
    pub fn next_job(&mut self, thread: u64) -> Option<Job> {
        // SAFETY: B3: ours alone.
        let raw = unsafe { (self.engine.table.hosts.next_job)(self.raw, thread) };
        (!raw.is_null()).then(|| Job {
            engine: self.engine,
            raw,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SAFETY: B3: ours alone, given back once.
        unsafe { (self.engine.table.hosts.agent_release)(self.raw) }
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
    /// The task that it is.
    #[must_use]
    pub fn task(&self) -> Task {
        // SAFETY: B3: ours alone; the task's reference is handed out to us.
        let raw = unsafe { (self.engine.table.hosts.job_task)(self.raw) };
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
            (self.engine.table.hosts.job_payload)(self.raw, message.as_mut_ptr());
            message.assume_init()
        }
    }

    /// The function's pickle, when it travels by value.
    #[must_use]
    pub fn function(&mut self) -> Option<Region> {
        // SAFETY: B3: ours alone; the region's reference is handed out to us.
        unsafe {
            let raw = (self.engine.table.hosts.job_function)(self.raw);
            (!raw.is_null()).then(|| Region::from_raw(raw))
        }
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
        unsafe { (self.engine.table.hosts.job_finish)(self.raw, &raw) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: B3: ours alone, given back once.
        unsafe { (self.engine.table.hosts.job_release)(self.raw) }
    }
}
