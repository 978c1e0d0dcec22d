//! The module `atoll._native` and what each interpreter that imports it owns.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::client::{Engine, HostId};
use atoll_py::class::HeapClass;
use atoll_py::module::{self, Definition, Function, Module, Slots};
use atoll_py::{Result, Stored, ffi};

use crate::channel::Classes;
use crate::clone::{KeyCache, Memory, Plans};
use crate::errors::ErrorTypes;
use crate::{asyncio, blocking, clone, host, job, select, sleep, task, terminal, visit};

/// The process's engine. It outlives every interpreter, so it is never taken down.
static ENGINE: OnceLock<Engine> = OnceLock::new();

/// Uses an engine that another copy of this library owns. To be called before anything asks for it.
pub(crate) fn attach(engine: Engine) {
    // A second call would name the same engine: there is one in the process.
    let _ = ENGINE.set(engine);
}

/// What one interpreter owns of Atoll.
pub(crate) struct ModuleState {
    /// The host that this interpreter is.
    host: AtomicU64,
    /// How its threads notice signals.
    pub(crate) signals: blocking::Signals,
    pub(crate) errors: ErrorTypes,
    pub(crate) channels: Classes,
    pub(crate) tasks: task::Classes,
    pub(crate) keys: KeyCache,
    pub(crate) plans: Plans,
    pub(crate) memory: HeapClass<Memory>,
    pub(crate) asyncio: asyncio::Glue,
}

/// The same, for short.
pub(crate) type State = ModuleState;

impl ModuleState {
    /// The process's engine.
    #[inline]
    pub(crate) fn engine(&self) -> Engine {
        engine()
    }

    /// The host that this interpreter is: channel ends made here are counted for it.
    #[inline]
    pub(crate) fn host(&self) -> HostId {
        // ORDERING: Relaxed: it changes between two sessions of an isolate, when one thread is left in it.
        HostId::from_raw(self.host.load(Ordering::Relaxed))
    }

    /// This interpreter, an isolate's, is that host from now on.
    pub(crate) fn become_host(&self, host: HostId) {
        self.host.store(host.to_raw(), Ordering::Relaxed);
        self.signals.become_host(host);
    }
}

/// The process's engine, started by whoever asks first.
#[inline]
pub(crate) fn engine() -> Engine {
    *ENGINE.get_or_init(host::start_engine)
}

impl module::State for ModuleState {
    fn create<'py>(module: Module<'_, 'py, ModuleState>) -> Result<ModuleState> {
        let host = atoll_host::agent::with_current(|agent| agent.map(|agent| agent.host()));
        let errors = ErrorTypes::import(module)?;
        let memory = HeapClass::build(module)?;
        module.add(c"Memory", memory.get(module.py()))?;
        Ok(ModuleState {
            host: AtomicU64::new(host.unwrap_or(HostId::MAIN).to_raw()),
            signals: blocking::Signals::new(module.py(), host)?,
            tasks: task::Classes::build(module, &errors.cancellation)?,
            errors,
            channels: Classes::build(module)?,
            keys: KeyCache::default(),
            plans: Plans::default(),
            memory,
            asyncio: asyncio::Glue::build(module)?,
        })
    }

    fn each_stored(&self, visit: &mut dyn FnMut(&Stored)) {
        self.signals.each_stored(visit);
        self.errors.each_stored(visit);
        self.channels.each_stored(visit);
        self.tasks.each_stored(visit);
        self.keys.each_stored(visit);
        self.plans.each_stored(visit);
        visit(self.memory.stored());
        self.asyncio.each_stored(visit);
    }
}

const FUNCTIONS: &[Function<ModuleState>] = &[
    Function::new(c"clone", clone::CLONE_DOC, clone::clone),
    Function::new(c"clone_size", clone::CLONE_SIZE_DOC, clone::clone_size),
    Function::new(c"share_bytes", clone::SHARE_BYTES_DOC, clone::share_bytes),
    Function::new(c"arrow_export", clone::EXPORT_DOC, clone::arrow_export),
    Function::new(c"arrow_import", clone::IMPORT_DOC, clone::arrow_import),
    Function::new(
        c"forget_plans",
        clone::FORGET_PLANS_DOC,
        clone::forget_plans,
    ),
    Function::new(c"select", select::SELECT_DOC, select::select),
    Function::new(c"sleep", sleep::SLEEP_DOC, sleep::sleep),
    Function::new(c"after", select::AFTER_DOC, select::after),
    Function::new(c"submit", task::SUBMIT_DOC, task::submit),
    Function::new(c"current_task", task::CURRENT_TASK_DOC, task::current_task),
    Function::new(c"next_job", job::NEXT_JOB_DOC, job::next_job),
    Function::new(c"shielded", job::SHIELDED_DOC, job::shielded),
    Function::new(c"launch", host::LAUNCH_DOC, host::launch),
    Function::new(c"close_host", host::CLOSE_HOST_DOC, host::close_host),
    Function::new(c"hosts", host::HOSTS_DOC, host::hosts),
    Function::new(c"host_running", host::HOST_RUNNING_DOC, host::host_running),
    Function::new(c"host_closing", host::HOST_CLOSING_DOC, host::host_closing),
    Function::new(c"current_host", host::CURRENT_HOST_DOC, host::current_host),
    Function::new(c"isolate_room", host::ISOLATE_ROOM_DOC, host::isolate_room),
    Function::new(c"write_whole", host::WRITE_WHOLE_DOC, host::write_whole),
    Function::new(c"become_host", host::BECOME_HOST_DOC, host::become_host),
    Function::new(
        c"send_visitor",
        visit::SEND_VISITOR_DOC,
        visit::send_visitor,
    ),
    Function::new(c"take_errand", visit::TAKE_ERRAND_DOC, visit::take_errand),
    Function::new(
        c"threads_here",
        visit::THREADS_HERE_DOC,
        visit::threads_here,
    ),
    Function::new(
        c"running_tasks",
        visit::RUNNING_TASKS_DOC,
        visit::running_tasks,
    ),
    Function::new(
        c"take_terminal",
        terminal::TAKE_TERMINAL_DOC,
        terminal::take_terminal,
    ),
    Function::new(
        c"leave_terminal",
        terminal::LEAVE_TERMINAL_DOC,
        terminal::leave_terminal,
    ),
    Function::new(
        c"give_terminal_back",
        terminal::GIVE_TERMINAL_BACK_DOC,
        terminal::give_terminal_back,
    ),
    Function::new(
        c"read_terminal_line",
        terminal::READ_TERMINAL_LINE_DOC,
        terminal::read_terminal_line,
    ),
    Function::new(
        c"breakpointhook",
        terminal::BREAKPOINTHOOK_DOC,
        terminal::breakpointhook,
    ),
    Function::new(c"shutdown", host::SHUTDOWN_DOC, host::shutdown),
    Function::END,
];

static SLOTS: Slots<ModuleState> = Slots::new();

static MODULE: Definition<ModuleState> = Definition::new(
    c"atoll._native",
    c"The native part of Atoll: glue between Python and the engine. Use the names of `atoll`.",
    FUNCTIONS,
    &SLOTS,
);

/// What the import system gets.
pub(crate) fn init() -> *mut ffi::PyObject {
    MODULE.init()
}
