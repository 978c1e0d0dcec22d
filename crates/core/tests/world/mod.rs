//! An engine of the test's own, with a driver whose "interpreters" are plain threads.
//!
//! A job's payload says what the thread does: `value` returns, `thread` returns the number of its thread (0 is the host's
//! owner), `wait` waits until the task is interrupted, `gate` waits for the test's gate and nothing else, as C code that never
//! returns would.
#![allow(dead_code, reason = "no test file uses all of it")]

use atoll_core::client::{
    Agent, AgentRole, Deadline, Driver, Engine, HostId, HostKind, HostState, HostSummary, Job,
    Launch, LaunchRequest, Message, Phase, Placement, SubmitError, Task, TaskOutcome, Wait,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        *self.open.lock().unwrap() = false;
    }

    fn pass(&self) {
        drop(
            self.changed
                .wait_while(self.open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) gate: Gate,
    /// No host becomes ready, or ends, before it is open.
    pub(crate) launch_gate: Gate,
    /// Everything that was launched, in order.
    pub(crate) launches: Mutex<Vec<Launch>>,
    pub(crate) extra_threads: AtomicUsize,
    pub(crate) thrown: AtomicUsize,
    /// `gate` jobs that have begun.
    pub(crate) inside: AtomicUsize,
    /// Why hosts do not come to life after they were launched.
    pub(crate) refuse: Mutex<Option<String>>,
    /// How many more isolates there can be.
    pub(crate) room: Mutex<Result<usize, String>>,
    /// The driver says so, and then has not got it.
    pub(crate) is_overbooked: Mutex<bool>,
    pub(crate) retired: Mutex<Vec<usize>>,
    pub(crate) restless: AtomicUsize,
    /// What visitors were sent with, and where.
    pub(crate) errands: Mutex<Vec<(HostId, Message)>>,
}

struct Threads(Arc<World>);

impl World {
    /// Hosts start at once.
    pub(crate) fn ready(crew: usize) -> Arc<Self> {
        let world = Self::new(crew);
        world.launch_gate.open();
        world
    }

    /// Hosts start when the launch gate opens.
    pub(crate) fn new(crew: usize) -> Arc<Self> {
        let world = Arc::new(Self {
            engine: Engine::start_with_crew(crew),
            gate: Gate::default(),
            launch_gate: Gate::default(),
            launches: Mutex::default(),
            extra_threads: AtomicUsize::new(0),
            thrown: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            refuse: Mutex::default(),
            room: Mutex::new(Ok(0)),
            is_overbooked: Mutex::new(false),
            retired: Mutex::default(),
            restless: AtomicUsize::new(0),
            errands: Mutex::default(),
        });
        assert!(world.engine.install(Box::new(Threads(world.clone()))));
        world
    }

    pub(crate) fn submit(&self, placement: Placement, what: &str) -> Result<Task, SubmitError> {
        let payload = Message::inline(what.as_bytes()).unwrap();
        self.engine.submit(placement, None, payload, None)
    }

    /// A task for the crew of interpreters.
    pub(crate) fn spawn(&self, what: &str) -> Task {
        self.submit(INTERPRETERS, what).unwrap()
    }

    pub(crate) fn launch(&self, kind: HostKind, name: Option<&str>) -> Result<HostId, SubmitError> {
        self.engine.launch(&LaunchRequest {
            kind,
            name,
            path: None,
            environment: None,
        })
    }

    /// A host of the test's own, which is ready.
    pub(crate) fn host(&self, kind: HostKind) -> HostId {
        let host = self.launch(kind, None).unwrap();
        self.engine.wait_ready(host, &soon()).unwrap().unwrap();
        host
    }

    pub(crate) fn summary(&self, host: HostId) -> Option<HostSummary> {
        self.engine
            .list_hosts()
            .into_iter()
            .find(|summary| summary.id == host)
    }

    pub(crate) fn launched(&self, kind: HostKind) -> usize {
        let launches = self.launches.lock().unwrap();
        launches.iter().filter(|launch| launch.kind == kind).count()
    }

    pub(crate) fn kind_of(&self, task: &Task) -> HostKind {
        self.engine.host_kind(task.host()).unwrap()
    }

    pub(crate) fn set_room(&self, room: usize) {
        *self.room.lock().unwrap() = Ok(room);
    }

    /// So many `gate` tasks are inside of their code.
    pub(crate) fn until_inside(&self, tasks: usize) {
        while self.inside.load(Ordering::SeqCst) < tasks {
            thread::yield_now();
        }
    }

    fn work(&self, mut agent: Agent, thread: u64) {
        while let Some(mut job) = agent.next_job(thread) {
            let task = job.task();
            let what = job.take_payload().bytes().to_vec();
            if !task.enter_code() {
                job.finish(TaskOutcome::Cancelled);
                continue;
            }
            let Some(outcome) = self.run(&task, &what, thread, &job) else {
                continue;
            };
            let _ = task.leave_code();
            job.finish(outcome);
        }
    }

    fn run(&self, task: &Task, what: &[u8], thread: u64, _job: &Job) -> Option<TaskOutcome> {
        let value = |bytes: &[u8]| TaskOutcome::Value(Message::inline(bytes).unwrap());
        Some(match what {
            b"value" => value(b"42"),
            b"thread" => value(thread.to_string().as_bytes()),
            b"wait" => {
                let interrupt = task.interrupt();
                let wait = Wait {
                    interrupt: Some(&interrupt),
                    ..Wait::forever()
                };
                assert!(self.engine.wait_host_ended(HostId::MAIN, &wait).is_err());
                let _ = task.claim_cancellation();
                TaskOutcome::Cancelled
            }
            b"gate" => {
                self.inside.fetch_add(1, Ordering::SeqCst);
                self.gate.pass();
                value(thread.to_string().as_bytes())
            }
            b"drop" => return None,
            other => panic!("unknown job {other:?}"),
        })
    }
}

impl Driver for Threads {
    fn launch(&self, launch: Launch) -> Result<(), String> {
        let (world, engine) = (self.0.clone(), self.0.engine);
        let (host, kind) = (launch.host, launch.kind);
        world.launches.lock().unwrap().push(launch);
        if kind == HostKind::Isolate {
            let mut room = world.room.lock().unwrap();
            let room = room.as_mut().map_err(|reason| reason.clone())?;
            if *world.is_overbooked.lock().unwrap() {
                return Err("the loader has no room".to_owned());
            }
            *room = room.checked_sub(1).ok_or("all are in use; close one")?;
        }
        thread::spawn(move || {
            world.launch_gate.pass();
            let refused = world.refuse.lock().unwrap().clone();
            if refused.is_none() && engine.host_ready(host) {
                let agent = Agent::enter(engine, host, AgentRole::Owner).unwrap();
                world.work(agent, 0);
            }
            engine.wait_host_alone(host, &Wait::forever()).unwrap();
            if let (HostKind::Isolate, Ok(room)) = (kind, &mut *world.room.lock().unwrap()) {
                *room += 1;
            }
            engine.host_ended(host, refused.as_deref());
        });
        Ok(())
    }

    fn add_thread(&self, host: HostId) -> Result<(), String> {
        let world = self.0.clone();
        let number = world.extra_threads.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        thread::spawn(move || {
            let agent = Agent::enter(world.engine, host, AgentRole::Extra).unwrap();
            world.work(agent, number);
        });
        Ok(())
    }

    fn throw_cancellations(&self, host: HostId, tasks: Vec<Task>) {
        let Some(_visit) = self.0.engine.visit_host(host) else {
            return;
        };
        for task in tasks {
            task.throw_cancellation(|_| {
                self.0.thrown.fetch_add(1, Ordering::SeqCst);
            });
        }
    }

    fn visit(&self, host: HostId, message: Message) {
        let visit = self.0.engine.visit_host(host);
        if visit.is_some() {
            self.0.errands.lock().unwrap().push((host, message));
        }
    }

    fn room(&self, kind: HostKind) -> Result<usize, String> {
        match kind {
            HostKind::Isolate => self.0.room.lock().unwrap().clone(),
            _ => Ok(usize::MAX),
        }
    }

    fn retire(&self, _deadline: Deadline) -> usize {
        let left = self.0.engine.list_hosts().len() - 1;
        self.0.retired.lock().unwrap().push(left);
        self.0.restless.load(Ordering::SeqCst)
    }
}

pub(crate) const INTERPRETERS: Placement = Placement::Crew(HostKind::Interpreter);
pub(crate) const ISOLATES: Placement = Placement::Crew(HostKind::Isolate);

pub(crate) fn soon() -> Wait<'static> {
    Wait::until(Deadline::after(Duration::from_secs(10)))
}

pub(crate) fn briefly() -> Wait<'static> {
    Wait::until(Deadline::after(Duration::from_millis(5)))
}

pub(crate) fn ended(task: &Task) -> TaskOutcome {
    task.wait(&soon()).unwrap();
    task.take_outcome().unwrap()
}

/// The text that a task returned.
pub(crate) fn value(task: &Task) -> String {
    match ended(task) {
        TaskOutcome::Value(message) => String::from_utf8(message.bytes().to_vec()).unwrap(),
        other => panic!("the task ended as {other:?}"),
    }
}

/// The task has begun: it has left the queue for a thread.
pub(crate) fn until_running(task: &Task) {
    while !matches!(task.phase(), Phase::Running(_)) {
        thread::yield_now();
    }
}

pub(crate) fn has_ended(world: &World, host: HostId) -> bool {
    world.engine.host_state(host) == HostState::Ended
}
