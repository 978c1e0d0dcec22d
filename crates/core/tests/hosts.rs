//! Hosts, tasks and placement with a driver whose "interpreters" are plain threads.
//!
//! A job's payload says what the thread does: `value` returns, `wait` waits until the task is interrupted, `gate` waits for
//! the test's gate and nothing else, as C code that never returns would.

use atoll_core::client::HostId;
use atoll_core::clock::Deadline;
use atoll_core::host::{Agent, AgentRole, Host, HostState};
use atoll_core::hosts::{Driver, Hosts, NewTask, SubmitError};
use atoll_core::message::Message;
use atoll_core::park::Wait;
use atoll_core::task::{Outcome, Task};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        drop(
            self.changed
                .wait_while(self.open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
    }
}

#[derive(Default)]
struct World {
    gate: Gate,
    launch_gate: Gate,
    launches: AtomicUsize,
    extra_threads: AtomicUsize,
    thrown: AtomicUsize,
    inside: AtomicUsize,
    released: Mutex<Vec<HostId>>,
    refuse: Mutex<Option<String>>,
}

struct Threads(Arc<World>);

impl Threads {
    fn work(world: &World, mut agent: Agent, thread: u64) {
        while let Some(mut assignment) = agent.next_job(thread) {
            let task = assignment.task().clone();
            let what = assignment.job_mut().payload.bytes().to_vec();
            if !task.enter_code() {
                assignment.finish(Outcome::Cancelled);
                continue;
            }
            let outcome = match what.as_slice() {
                b"value" => Outcome::Value(Message::inline(b"42").unwrap()),
                b"wait" => {
                    let wait = Wait {
                        interrupt: Some(task.interrupt()),
                        ..Wait::forever()
                    };
                    let idle = Hosts::new(|_| {});
                    let never = idle.find(HostId::MAIN).unwrap();
                    assert!(never.wait_ended(&wait).is_err());
                    task.claim_cancellation();
                    Outcome::Cancelled
                }
                b"gate" => {
                    world.inside.fetch_add(1, Ordering::SeqCst);
                    world.gate.pass();
                    Outcome::Value(Message::inline(b"late").unwrap())
                }
                b"drop" => {
                    drop(assignment);
                    continue;
                }
                other => panic!("unknown job {other:?}"),
            };
            task.leave_code();
            assignment.finish(outcome);
        }
    }
}

impl Driver for Threads {
    fn launch(&self, host: Arc<Host>, _path: Option<Vec<String>>) -> Result<(), String> {
        let world = self.0.clone();
        world.launches.fetch_add(1, Ordering::SeqCst);
        thread::spawn(move || {
            world.launch_gate.pass();
            if let Some(reason) = world.refuse.lock().unwrap().clone() {
                return host.ended(Some(reason));
            }
            if host.ready() {
                Threads::work(&world, Agent::new(host.clone(), AgentRole::Owner), 0);
            }
            host.wait_alone(&Wait::forever()).unwrap();
            host.ended(None);
        });
        Ok(())
    }

    fn add_thread(&self, host: Arc<Host>) -> Result<(), String> {
        let world = self.0.clone();
        let number = world.extra_threads.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        thread::spawn(move || Threads::work(&world, Agent::new(host, AgentRole::Extra), number));
        Ok(())
    }

    fn throw_cancellations(&self, _host: Arc<Host>, tasks: Vec<Arc<Task>>) {
        for task in tasks {
            task.throw_cancellation(|_| {
                self.0.thrown.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
}

fn world_with_crew(crew: usize) -> (Arc<World>, Hosts) {
    let world = Arc::new(World::default());
    let released = world.clone();
    let hosts = Hosts::with_crew(crew, move |host| {
        released.released.lock().unwrap().push(host)
    });
    assert!(hosts.install(Box::new(Threads(world.clone()))));
    (world, hosts)
}

fn ready_world(crew: usize) -> (Arc<World>, Hosts) {
    let (world, hosts) = world_with_crew(crew);
    world.launch_gate.open();
    (world, hosts)
}

fn job(what: &str) -> NewTask {
    NewTask {
        name: None,
        payload: Message::inline(what.as_bytes()).unwrap(),
        function: None,
    }
}

fn soon() -> Wait<'static> {
    Wait::until(Deadline::after(Duration::from_secs(10)))
}

fn ended(task: &Task) -> Outcome {
    task.wait(&soon()).unwrap();
    task.take_outcome().unwrap()
}

/// The task has begun: it has left the queue for a thread.
fn until_running(task: &Task) {
    while !matches!(task.phase(), atoll_core::task::Phase::Running(_)) {
        thread::yield_now();
    }
}

/// So many `gate` tasks are inside of their code.
fn until_inside(world: &World, tasks: usize) {
    while world.inside.load(Ordering::SeqCst) < tasks {
        thread::yield_now();
    }
}

#[test]
fn a_task_runs_and_its_outcome_is_taken_once() {
    let (_world, hosts) = ready_world(2);
    let task = hosts.submit(None, job("value")).unwrap();
    assert!(matches!(ended(&task), Outcome::Value(message) if message.bytes() == b"42"));
    assert!(task.take_outcome().is_none());
}

#[test]
fn an_idle_host_is_preferred_to_a_new_one() {
    let (world, hosts) = ready_world(4);
    for _ in 0..20 {
        ended(&hosts.submit(None, job("value")).unwrap());
    }
    assert_eq!(world.launches.load(Ordering::SeqCst), 1);
}

#[test]
fn tasks_that_wait_at_once_are_spread_over_the_whole_crew() {
    let (world, hosts) = world_with_crew(3);
    let tasks: Vec<_> = (0..6)
        .map(|_| hosts.submit(None, job("gate")).unwrap())
        .collect();
    assert_eq!(
        world.launches.load(Ordering::SeqCst),
        3,
        "spawning did not wait for a start"
    );
    let mut hosts_used: Vec<_> = tasks.iter().map(|task| task.host().0).collect();
    hosts_used.sort_unstable();
    hosts_used.dedup();
    assert_eq!(hosts_used.len(), 3);
    world.launch_gate.open();
    world.gate.open();
    for task in &tasks {
        ended(task);
    }
}

#[test]
fn every_blocked_task_has_a_thread_of_its_own() {
    let (world, hosts) = ready_world(2);
    let blocked: Vec<_> = (0..50)
        .map(|_| hosts.submit(None, job("gate")).unwrap())
        .collect();
    for task in &blocked {
        until_running(task);
    }
    ended(&hosts.submit(None, job("value")).unwrap());
    world.gate.open();
    for task in &blocked {
        ended(task);
    }
}

#[test]
fn a_launch_that_fails_ends_the_tasks_that_waited_for_it_and_the_next_task_tries_again() {
    let (world, hosts) = world_with_crew(2);
    *world.refuse.lock().unwrap() = Some("no memory".to_owned());
    let task = hosts.submit(None, job("value")).unwrap();
    world.launch_gate.open();
    assert!(matches!(ended(&task), Outcome::Unavailable(reason) if reason == "no memory"));
    *world.refuse.lock().unwrap() = None;
    assert!(matches!(
        ended(&hosts.submit(None, job("value")).unwrap()),
        Outcome::Value(_)
    ));
}

#[test]
fn cancelling_a_queued_task_ends_it_without_running_it() {
    let (_world, hosts) = world_with_crew(2);
    let task = hosts.submit(None, job("value")).unwrap();
    hosts.cancel(&task);
    assert!(matches!(task.take_outcome(), Some(Outcome::Cancelled)));
}

#[test]
fn cancelling_a_blocked_task_interrupts_its_wait() {
    let (_world, hosts) = ready_world(2);
    let task = hosts.submit(None, job("wait")).unwrap();
    until_running(&task);
    hosts.cancel(&task);
    task.wait_cancelled(&soon()).unwrap();
    assert!(matches!(ended(&task), Outcome::Cancelled));
}

#[test]
fn a_task_that_does_not_notice_its_cancellation_is_reported_as_such() {
    let (world, hosts) = ready_world(2);
    let task = hosts.submit(None, job("gate")).unwrap();
    until_inside(&world, 1);
    hosts.cancel(&task);
    hosts.cancel(&task);
    assert!(
        task.wait_cancelled(&Wait::until(Deadline::after(Duration::from_millis(5))))
            .is_err()
    );
    world.gate.open();
    assert!(matches!(ended(&task), Outcome::Value(_)));
    assert!(
        world.thrown.load(Ordering::SeqCst) <= 1,
        "one request throws at most once"
    );
}

#[test]
fn closing_a_host_cancels_its_tasks_and_releases_what_it_held() {
    let (world, hosts) = ready_world(2);
    let host = hosts.launch(None, None).unwrap();
    host.wait_ready(&soon()).unwrap().unwrap();
    let tasks: Vec<_> = (0..5)
        .map(|_| hosts.submit(Some(host.id()), job("wait")).unwrap())
        .collect();
    until_running(&tasks[0]);
    host.close();
    host.close();
    host.wait_ended(&soon()).unwrap();
    for task in &tasks {
        assert!(matches!(ended(task), Outcome::Cancelled));
    }
    assert_eq!(*world.released.lock().unwrap(), [host.id()]);
    assert!(hosts.find(host.id()).is_none());
    assert!(host.interrupt().is_raised());
    assert!(matches!(
        hosts.submit(Some(host.id()), job("value")),
        Err(SubmitError::NoSuchHost(_))
    ));
}

#[test]
fn a_host_with_code_that_never_returns_is_left_alone_and_ends_when_it_returns() {
    let (world, hosts) = ready_world(2);
    let host = hosts.launch(Some("busy".to_owned()), None).unwrap();
    let _task = hosts.submit(Some(host.id()), job("gate")).unwrap();
    until_inside(&world, 1);
    host.close();
    assert!(
        host.wait_ended(&Wait::until(Deadline::after(Duration::from_millis(5))))
            .is_err()
    );
    assert_eq!(host.state(), HostState::Closing);
    assert!(matches!(
        hosts.submit(Some(host.id()), job("value")),
        Err(SubmitError::HostClosed(name)) if name == "busy"
    ));
    world.gate.open();
    host.wait_ended(&soon()).unwrap();
}

#[test]
fn a_host_closed_while_it_starts_never_runs_a_task() {
    let (world, hosts) = world_with_crew(2);
    let host = hosts.launch(None, None).unwrap();
    let task = hosts.submit(Some(host.id()), job("value")).unwrap();
    host.close();
    assert!(matches!(ended(&task), Outcome::Cancelled));
    world.launch_gate.open();
    host.wait_ended(&soon()).unwrap();
}

#[test]
fn a_task_whose_agent_gives_up_has_died() {
    let (_world, hosts) = ready_world(2);
    let task = hosts.submit(None, job("drop")).unwrap();
    assert!(matches!(ended(&task), Outcome::Died(text) if text.contains("gave the task up")));
    assert!(matches!(
        ended(&hosts.submit(None, job("value")).unwrap()),
        Outcome::Value(_)
    ));
}

#[test]
fn shutdown_counts_the_threads_that_stay_behind_and_refuses_new_work() {
    let (world, hosts) = ready_world(2);
    let waiting = hosts.submit(None, job("wait")).unwrap();
    let _stuck = hosts.submit(None, job("gate")).unwrap();
    until_inside(&world, 1);
    until_running(&waiting);
    let left = hosts.shutdown(&Wait::until(Deadline::after(Duration::from_millis(50))));
    assert!(left >= 1);
    assert!(matches!(ended(&waiting), Outcome::Cancelled));
    assert!(matches!(
        hosts.submit(None, job("value")),
        Err(SubmitError::Unavailable(_))
    ));
    world.gate.open();
    assert_eq!(hosts.shutdown(&soon()), 0);
}

#[test]
fn idle_threads_beyond_a_few_go_home() {
    let (world, hosts) = ready_world(2);
    let host = hosts.launch(None, None).unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|_| hosts.submit(Some(host.id()), job("gate")).unwrap())
        .collect();
    for task in &tasks {
        until_running(task);
    }
    assert!(host.summary().threads >= 40);
    world.gate.open();
    for task in &tasks {
        ended(task);
    }
    while host.summary().threads > 5 {
        thread::yield_now();
    }
}

#[test]
fn jobs_from_many_threads_are_each_run_once() {
    let (_world, hosts) = ready_world(2);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let task = hosts.submit(None, job("value")).unwrap();
                    assert!(matches!(ended(&task), Outcome::Value(_)));
                }
            });
        }
    });
    assert_eq!(hosts.shutdown(&soon()), 0);
}

#[test]
fn tasks_that_are_cancelled_at_any_moment_always_end() {
    let (_world, hosts) = ready_world(2);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..500 {
                    let task = hosts.submit(None, job("wait")).unwrap();
                    for _ in 0..round % 64 {
                        std::hint::spin_loop();
                    }
                    hosts.cancel(&task);
                    assert!(matches!(ended(&task), Outcome::Cancelled));
                }
            });
        }
    });
    assert_eq!(hosts.shutdown(&soon()), 0);
}
