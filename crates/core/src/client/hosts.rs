//! Hosts on the client's side of the table, as whoever uses them sees them.

use crate::abi::Status;
use crate::abi::hosts::{
    REFUSED_CLOSED, REFUSED_FORKED, REFUSED_NO_SUCH_HOST, RawBytes, RawLaunch, RawNewTask,
    RawPlacement, RawRefusal, RawRunning, RawSetup, RawSummary,
};
use crate::client::{Engine, HostId, Interrupt, Message, Region, Task, Wait};
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};

pub use crate::driver::{Driver, Launch};
pub use crate::host::{HostKind, HostState, HostSummary};
pub use crate::hosts::{Placement, Restless, SubmitError};
pub use crate::waiting::Unfinished;

/// A task that runs on a host, as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningTask {
    /// Its number.
    pub id: u64,
    /// The name its spawner gave it.
    pub name: Option<String>,
    /// The identity of the thread it runs on; `None`: it is an event loop's.
    pub thread: Option<u64>,
    /// For how long.
    pub seconds: f64,
}

/// A host of the caller's own that is to be launched.
#[derive(Copy, Clone, Debug)]
pub struct LaunchRequest<'a> {
    /// What kind of host.
    pub kind: HostKind,
    /// Its name; `None`: one made of its kind and number.
    pub name: Option<&'a str>,
    /// Where its language looks for modules; `None`: the kind's own default.
    pub path: Option<&'a [String]>,
    /// What its driver needs to know besides. The engine does not look into it.
    pub environment: Option<&'a [u8]>,
}

impl Engine {
    /// Installs what starts hosts. The first call counts. Only for the copy that owns the engine.
    pub fn install(&self, driver: Box<dyn Driver>) -> bool {
        // SAFETY: B1.
        unsafe { &*self.table.hosts.hosts }.install(*self, driver)
    }

    /// Runs a task. The payload is gone whatever comes of it.
    pub fn submit(
        &self,
        placement: Placement,
        name: Option<&str>,
        payload: Message,
        function: Option<Region>,
    ) -> Result<Task, SubmitError> {
        let mut payload = ManuallyDrop::new(payload);
        let new = RawNewTask {
            placement: RawPlacement::of(placement),
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
        // SAFETY: a reference that was handed out to us.
        Ok(unsafe { Task::from_raw(*self, raw) })
    }

    /// Starts a host of the caller's own and returns its number at once.
    pub fn launch(&self, request: &LaunchRequest<'_>) -> Result<HostId, SubmitError> {
        let path = request.path.map(raw_texts);
        let launch = RawLaunch {
            kind: request.kind,
            name: RawBytes::of(request.name),
            setup: raw_setup(path.as_deref(), request.environment),
        };
        let mut refusal = MaybeUninit::uninit();
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        let id = unsafe { (hosts.launch)(hosts.hosts, &launch, refusal.as_mut_ptr()) };
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

    /// The tasks that run on the host now.
    #[must_use]
    pub fn running_tasks(&self, host: HostId) -> Vec<RunningTask> {
        unsafe extern "C" fn keep(context: *mut c_void, raw: *const RawRunning) {
            // SAFETY: the context is the vector below, the task is there during this call.
            let (list, raw) = unsafe { (&mut *context.cast::<Vec<RunningTask>>(), &*raw) };
            list.push(RunningTask {
                id: raw.id,
                // SAFETY: B4.
                name: unsafe { raw.name.text() },
                thread: (raw.thread != 0).then_some(raw.thread),
                seconds: raw.seconds,
            });
        }
        let mut list = Vec::new();
        let hosts = &self.table.hosts;
        // SAFETY: B1; the sink fits its context.
        unsafe {
            let context = std::ptr::from_mut(&mut list).cast();
            (hosts.running)(hosts.hosts, host.to_raw(), context, keep);
        }
        list
    }

    /// Has a thread enter the host for a moment and do there what the message says; returns at once. If nobody can enter, the
    /// message is dropped.
    pub fn send_visitor(&self, host: HostId, message: Message) {
        let mut message = ManuallyDrop::new(message);
        let hosts = &self.table.hosts;
        // SAFETY: B1; B5: the message is moved out.
        unsafe { (hosts.visit)(hosts.hosts, host.to_raw(), &mut *message) }
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

    /// The kind of host that a task with this placement would start if it came now, and that wants a set-up made for the
    /// occasion ([`Self::set_setup`]). `None`: it goes to a host that is there.
    #[must_use]
    pub fn wants_setup(&self, placement: Placement) -> Option<HostKind> {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        let kind = unsafe { (hosts.wants_setup)(hosts.hosts, RawPlacement::of(placement)) };
        HostKind::from_raw(kind)
    }

    /// What hosts of this kind's crew that start from now on start with: where they look for modules, and what their
    /// driver needs to know besides.
    pub fn set_setup(&self, kind: HostKind, path: Option<&[String]>, environment: Option<&[u8]>) {
        let path = path.map(raw_texts);
        let hosts = &self.table.hosts;
        // SAFETY: B1, B4.
        unsafe {
            let setup = raw_setup(path.as_deref(), environment);
            (hosts.set_setup)(hosts.hosts, kind, setup);
        }
    }

    /// There can be no isolates: tasks placed by [`Placement::Auto`] go to interpreters from now on.
    pub fn refuse_isolates(&self) {
        let hosts = &self.table.hosts;
        // SAFETY: B1.
        unsafe { (hosts.refuse_isolates)(hosts.hosts) }
    }

    /// Closes every host and waits for them, then has the driver put to rest what outlives hosts.
    pub fn shutdown(&self, wait: &Wait<'_>) -> Restless {
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

    /// Writes all of *bytes* to a descriptor, waiting if it must, with nobody else's bytes in between who writes to it by
    /// this function. The error is the system's number.
    pub fn write_whole(&self, descriptor: i32, bytes: &[u8]) -> Result<(), i32> {
        let table = self.table;
        // SAFETY: the bytes are there during the call.
        let error =
            unsafe { (table.write_whole)(table.engine, descriptor, bytes.as_ptr(), bytes.len()) };
        if error == 0 { Ok(()) } else { Err(error) }
    }
}

fn raw_texts(texts: &[String]) -> Vec<RawBytes> {
    texts.iter().map(|text| RawBytes::of(Some(text))).collect()
}

fn raw_setup(path: Option<&[RawBytes]>, environment: Option<&[u8]>) -> RawSetup {
    RawSetup {
        path: path.map_or(std::ptr::null(), <[RawBytes]>::as_ptr),
        path_length: path.map_or(0, <[RawBytes]>::len),
        environment: RawBytes::of_bytes(environment),
    }
}

pub(super) fn finished(status: Status) -> Result<(), Unfinished> {
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

fn kind_of(number: u64) -> Option<HostKind> {
    u32::try_from(number).ok().and_then(HostKind::from_raw)
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
        _ => SubmitError::Unavailable {
            kind: kind_of(raw.number).unwrap_or(HostKind::Interpreter),
            reason: text,
        },
    }
}

/// # Safety
/// *raw* is null or a region's reference that nobody else gives back.
pub(super) unsafe fn text_of(raw: *const c_void) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    let region = unsafe { Region::from_raw(raw) };
    String::from_utf8_lossy(&region).into_owned()
}
