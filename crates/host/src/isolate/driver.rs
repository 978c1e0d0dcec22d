//! The main copy's side: opening namespaces, giving sessions to isolates, and their rest at the end of the process.
//!
//! # The life of an isolate
//!
//! `Busy` (being opened, or in a session) → `Parked` (its session is over) → `Busy` → … → `Retired`. It never goes away: a
//! namespace in which extension modules were imported cannot be given back. `Lost` is one that could not be brought up.
//!
//! # Invariants
//!
//! - I1: an isolate that is `Busy` has exactly one host, whose owner is the isolate's owner thread; `park` comes before that host is
//!   reported as ended, so whoever has waited for its end finds the isolate parked.
//! - I2: `calls` is set before the first host of the isolate becomes ready, and holds functions of a library that stays loaded.

use super::boot::{Boot, Calls, ENTRY, Entry, Order, RawSession, Text};
use super::environment::Environment;
use super::{LibPython, Namespace, OpenError, limits, prepare_exit};
use crate::threads;
use atoll_core::abi;
use atoll_core::client::{Deadline, Driver, Engine, HostId, HostKind, Launch, Message, Task};
use std::collections::HashSet;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long an isolate gets to come to rest when the time for the end of the process is up.
const LAST_CHANCE: Duration = Duration::from_millis(200);

/// Starts isolates for the engine. Clones share them.
#[derive(Clone)]
pub struct IsolateDriver {
    engine: Engine,
    isolates: Arc<Mutex<Vec<Arc<Isolate>>>>,
    /// Libraries that were looked at.
    known: Arc<Mutex<HashSet<PathBuf>>>,
}

/// How many isolates there are and may be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Room {
    /// How many the loader has room for in this process.
    pub limit: usize,
    /// How many were ever opened.
    pub opened: usize,
    /// How many of these have no session.
    pub parked: usize,
}

/// One isolate, as the main copy knows it.
struct Isolate {
    driver: IsolateDriver,
    key: Vec<u8>,
    /// As the front packed it: the copy in the namespace reads it, too.
    packed: Vec<u8>,
    stand: Mutex<Stand>,
    changed: Condvar,
    calls: OnceLock<&'static Calls>,
}

struct Stand {
    state: State,
    /// What the owner thread has not taken yet.
    session: Option<Session>,
    retire: bool,
    /// What the owner thread was given last: it reads from it.
    lent: Option<Session>,
    /// The bringing up failed when Python had begun to run.
    python_runs: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Busy(HostId),
    Parked,
    Retired,
    Lost,
}

struct Session {
    host: HostId,
    setup: String,
}

impl IsolateDriver {
    /// A driver for this engine.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            isolates: Arc::default(),
            known: Arc::default(),
        }
    }

    fn isolates(&self) -> MutexGuard<'_, Vec<Arc<Isolate>>> {
        lock(&self.isolates)
    }

    /// How many isolates there are and may be.
    pub fn places(&self) -> Room {
        places_in(&self.isolates())
    }

    /// Looks at the library before it is loaded, once.
    fn check_library(&self, environment: &Environment) -> Result<(), String> {
        let path = &environment.library;
        if lock(&self.known).contains(path) {
            return Ok(());
        }
        let found = LibPython::inspect(path)?.version();
        let (major, minor) = environment.version;
        if (u32::from(found.0), u32::from(found.1)) != environment.version {
            let (path, (x, y)) = (path.display(), found);
            return Err(format!(
                "{path} is the library of Python {x}.{y}, and {major}.{minor} is wanted; name the one of {major}.{minor}"
            ));
        }
        lock(&self.known).insert(path.clone());
        Ok(())
    }

    fn forget(&self, isolate: &Arc<Isolate>) {
        self.isolates().retain(|other| !Arc::ptr_eq(other, isolate));
    }

    fn calls_of(&self, host: HostId) -> Option<&'static Calls> {
        self.isolates()
            .iter()
            .find(|isolate| isolate.stand().state == State::Busy(host))
            .and_then(|isolate| isolate.calls.get().copied())
    }
}

impl Driver for IsolateDriver {
    /// Gives the host to a parked isolate of the same environment, or to a new one.
    fn launch(&self, launch: Launch) -> Result<(), String> {
        if let Some(reason) = super::unsupported() {
            return Err(reason);
        }
        let packed = launch
            .environment
            .ok_or("nothing is known of its environment")?;
        let environment = Environment::read(&packed)?;
        let session = Session {
            host: launch.host,
            setup: environment.setup.clone(),
        };
        let isolate = {
            let mut isolates = self.isolates();
            let parked = isolates
                .iter()
                .find(|isolate| isolate.key == environment.key && isolate.is_parked());
            if let Some(isolate) = parked {
                isolate.give(session);
                return Ok(());
            }
            let room = places_in(&isolates);
            if room.opened >= room.limit {
                return Err(no_room(room));
            }
            let isolate = Arc::new(Isolate {
                driver: self.clone(),
                key: environment.key.clone(),
                packed,
                stand: Mutex::new(Stand {
                    state: State::Busy(session.host),
                    session: Some(session),
                    retire: false,
                    lent: None,
                    python_runs: false,
                }),
                changed: Condvar::new(),
                calls: OnceLock::new(),
            });
            isolates.push(isolate.clone());
            isolate
        };
        let (driver, owner) = (self.clone(), isolate.clone());
        let started = threads::start(launch.host, move || {
            if !owner.live(&environment) {
                driver.forget(&owner);
            }
        });
        if started.is_err() {
            self.forget(&isolate);
        }
        started
    }

    fn add_thread(&self, host: HostId) -> Result<(), String> {
        let calls = self.calls_of(host).ok_or("its session has ended")?;
        // SAFETY: I2.
        match unsafe { (calls.add_thread)(host.to_raw()) } {
            true => Ok(()),
            false => Err("no thread to be had".to_owned()),
        }
    }

    fn throw_cancellations(&self, host: HostId, tasks: Vec<Task>) {
        let Some(calls) = self.calls_of(host) else {
            return;
        };
        let tasks: Vec<_> = tasks.into_iter().map(Task::into_raw).collect();
        // SAFETY: I2; the references go with the call.
        unsafe { (calls.throw_cancellations)(host.to_raw(), tasks.as_ptr(), tasks.len()) }
    }

    fn visit(&self, host: HostId, message: Message) {
        let Some(calls) = self.calls_of(host) else {
            return;
        };
        let mut message = ManuallyDrop::new(message);
        // SAFETY: I2; the message is moved out.
        unsafe { (calls.visit)(host.to_raw(), (&raw mut *message).cast()) }
    }

    fn room(&self, _: HostKind) -> Result<usize, String> {
        match super::unsupported() {
            Some(reason) => Err(reason),
            None => {
                let room = places_in(&self.isolates());
                Ok(room.limit.saturating_sub(room.opened) + room.parked)
            }
        }
    }

    /// Has every isolate run its exit functions and keep still. What does not do so before the deadline is
    /// left alone, and the process then leaves, with its own exit code, but without running the exit code of the libraries.
    fn retire(&self, deadline: Deadline) -> usize {
        let isolates: Vec<_> = self.isolates().clone();
        if isolates.is_empty() {
            return 0;
        }
        for isolate in &isolates {
            isolate.stand().retire = true;
            isolate.changed.notify_all();
        }
        // Others may have used the time up; one that is idle needs none.
        let deadline = match deadline.has_passed() {
            true => Deadline::after(LAST_CHANCE),
            false => deadline,
        };
        let restless = isolates
            .iter()
            .filter(|isolate| !isolate.wait_retired(deadline))
            .count();
        prepare_exit(restless == 0);
        restless
    }
}

fn places_in(isolates: &[Arc<Isolate>]) -> Room {
    Room {
        limit: limits::limit(),
        opened: isolates.len(),
        parked: isolates.iter().filter(|each| each.is_parked()).count(),
    }
}

fn no_room(room: Room) -> String {
    let Room { limit, parked, .. } = room;
    match parked {
        0 => format!(
            "all {limit} that fit into this process are in use; {}",
            remedy(limit)
        ),
        _ => format!(
            "all {limit} that fit into this process are open, and the {parked} that are free have another \
             environment; {}",
            remedy(limit)
        ),
    }
}

/// What to do when no more fit.
fn remedy(limit: usize) -> &'static str {
    match limit {
        limits::MOST.. => "close one first, or use kind='interpreter'",
        _ => {
            "close one first, or start the program with `atoll run` (GLIBC_TUNABLES=glibc.rtld.nns=16), which makes room for 15"
        }
    }
}

impl Isolate {
    fn stand(&self) -> MutexGuard<'_, Stand> {
        lock(&self.stand)
    }

    fn is_parked(&self) -> bool {
        self.stand().state == State::Parked
    }

    fn give(&self, session: Session) {
        let mut stand = self.stand();
        stand.state = State::Busy(session.host);
        stand.session = Some(session);
        drop(stand);
        self.changed.notify_all();
    }

    /// Whether it keeps still, or never ran.
    fn wait_retired(&self, deadline: Deadline) -> bool {
        let mut stand = self.stand();
        loop {
            if matches!(stand.state, State::Retired | State::Lost) {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            stand = match deadline.remaining() {
                Some(rest) => {
                    let waited = self.changed.wait_timeout(stand, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => wait(&self.changed, stand),
            };
        }
    }

    /// The owner thread's life. It never ends if the isolate comes to life; else the answer is whether a namespace is lost.
    fn live(self: &Arc<Self>, environment: &Environment) -> bool {
        let namespace = match self.open(environment) {
            Ok(namespace) => namespace,
            Err(reason) => {
                self.lost(&reason);
                return false;
            }
        };
        let entry = namespace.load(&environment.native).and_then(|native| {
            // SAFETY: what the name stands for in every release of this library.
            let entry = unsafe { native.function(ENTRY) };
            entry.ok_or_else(|| no_entry(environment))
        });
        let entry: Entry = match entry {
            Ok(entry) => entry,
            Err(reason) => {
                self.lost(&reason);
                // SAFETY: nothing but constructors has run in the namespace.
                return !unsafe { namespace.close() };
            }
        };
        // Both live as long as the process: the isolate uses them to the end.
        let isolate: &'static Arc<Self> = Box::leak(Box::new(self.clone()));
        let boot = Box::leak(Box::new(Boot {
            version: abi::VERSION,
            size: u32::try_from(size_of::<Boot>()).expect("a small structure"),
            table: self.driver.engine.table(),
            environment: Text::of(&isolate.packed),
            isolate: std::ptr::from_ref::<Arc<Self>>(isolate).cast(),
            room: room_of_all,
            serves,
            next_order,
            park,
            failed,
            retired,
        }));
        // SAFETY: the boot structure is complete and lives for ever.
        let theirs = unsafe { entry(boot) };
        // It came back: `failed` has been called, or the other copy knows another table.
        if theirs != 0 {
            self.lost(&other_release(environment, theirs));
        }
        if self.stand().python_runs {
            std::mem::forget(namespace);
            return true;
        }
        // SAFETY: Python does not run in there, and what did has come back.
        !unsafe { namespace.close() }
    }

    fn open(&self, environment: &Environment) -> Result<Namespace, String> {
        self.driver.check_library(environment)?;
        let opened = Namespace::open(&environment.library, environment.environ.clone());
        let namespace = opened.map_err(|error| match error {
            OpenError::NoMoreNamespaces(text) | OpenError::StaticTls(text) => {
                let opened = super::opened();
                limits::lower_to(opened);
                format!(
                    "the loader has no room beside the {opened} that are open: {text}; {}",
                    remedy(opened)
                )
            }
            OpenError::NotAnElf(text) | OpenError::Other(text) | OpenError::Unsupported(text) => {
                text
            }
        })?;
        // This thread was made outside of it.
        namespace.enter_thread();
        Ok(namespace)
    }

    /// It will never have a session.
    fn lost(&self, reason: &str) {
        let host = {
            let mut stand = self.stand();
            let State::Busy(host) = stand.state else {
                return;
            };
            stand.state = State::Lost;
            host
        };
        self.changed.notify_all();
        self.driver.engine.host_ended(host, Some(reason));
    }
}

fn no_entry(environment: &Environment) -> String {
    format!(
        "{} belongs to a release of atoll that has no isolates; install the same release in both environments",
        environment.native.display()
    )
}

fn other_release(environment: &Environment, theirs: u32) -> String {
    let native = environment.native.display();
    match theirs {
        u32::MAX => format!("{native} failed while it started"),
        _ => format!(
            "{native} belongs to another release of atoll: its table has version {theirs}, this one's {}; install the \
             same release in both environments",
            abi::VERSION
        ),
    }
}

// The functions of the boot structure: code of this copy, called on the isolate's owner thread, detached from its Python. -------

/// # Safety
/// The pointer is [`Boot::isolate`].
unsafe fn this<'a>(isolate: *const c_void) -> &'a Isolate {
    // SAFETY: by the caller: an `Arc<Isolate>` that was leaked.
    unsafe { &*isolate.cast::<Arc<Isolate>>() }
}

unsafe extern "C" fn room_of_all(isolate: *const c_void) -> Room {
    // SAFETY: by the protocol.
    unsafe { this(isolate) }.driver.places()
}

unsafe extern "C" fn serves(isolate: *const c_void, calls: *const Calls) {
    // SAFETY: by the protocol; the functions' table lives for ever.
    let (isolate, calls) = unsafe { (this(isolate), &*calls) };
    let _ = isolate.calls.set(calls);
}

unsafe extern "C" fn next_order(isolate: *const c_void, into: *mut RawSession) -> Order {
    // SAFETY: by the protocol.
    let isolate = unsafe { this(isolate) };
    let mut stand = isolate.stand();
    stand.lent = None;
    loop {
        if let Some(session) = stand.session.take() {
            let lent = stand.lent.insert(session);
            let raw = RawSession {
                host: lent.host.to_raw(),
                setup: Text::of(lent.setup.as_bytes()),
            };
            // SAFETY: the caller's place for it.
            unsafe { into.write(raw) };
            return Order::Session;
        }
        if stand.retire {
            return Order::Retire;
        }
        stand = wait(&isolate.changed, stand);
    }
}

unsafe extern "C" fn park(isolate: *const c_void) {
    // SAFETY: by the protocol.
    let isolate = unsafe { this(isolate) };
    isolate.stand().state = State::Parked;
    isolate.changed.notify_all();
}

unsafe extern "C" fn failed(isolate: *const c_void, reason: Text, python_runs: bool) {
    // SAFETY: by the protocol.
    let (isolate, reason) = unsafe { (this(isolate), reason.to_text()) };
    isolate.stand().python_runs = python_runs;
    isolate.lost(&reason);
}

unsafe extern "C" fn retired(isolate: *const c_void) {
    // SAFETY: by the protocol.
    let isolate = unsafe { this(isolate) };
    isolate.stand().state = State::Retired;
    isolate.changed.notify_all();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
