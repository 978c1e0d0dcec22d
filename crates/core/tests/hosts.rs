//! Hosts, tasks and their crew of interpreters, through the table, with a driver whose "interpreters" are plain threads.

mod world;

use atoll_core::client::{
    Capacity, Deadline, HostId, HostKind, HostState, Message, Phase, Placement, Restless,
    SubmitError, TaskOutcome, Wait,
};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use world::{INTERPRETERS, World, briefly, ended, has_ended, soon, until_running, value};

/// So many places, and no threads.
fn places(places: usize) -> Restless {
    Restless { threads: 0, places }
}

#[test]
fn a_task_runs_and_its_outcome_is_taken_once() {
    let world = World::ready(2);
    let task = world.spawn("value");
    assert_eq!(value(&task), "42");
    assert!(task.take_outcome().is_none());
    assert_eq!(task.phase(), Phase::Ended);
}

#[test]
fn an_idle_host_is_preferred_to_a_new_one() {
    let world = World::ready(4);
    for _ in 0..20 {
        ended(&world.spawn("value"));
    }
    assert_eq!(world.launched(HostKind::Interpreter), 1);
}

#[test]
fn tasks_that_wait_at_once_are_spread_over_the_whole_crew() {
    let world = World::new(3);
    let tasks: Vec<_> = (0..6).map(|_| world.spawn("gate")).collect();
    assert_eq!(
        world.launched(HostKind::Interpreter),
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
    for kind in [HostKind::Interpreter, HostKind::Isolate] {
        let world = World::ready(2);
        world.set_room(2);
        let crew = Placement::Crew(kind);
        let blocked: Vec<_> = (0..50)
            .map(|_| world.submit(crew, "gate").unwrap())
            .collect();
        for task in &blocked {
            until_running(task);
        }
        ended(&world.submit(crew, "value").unwrap());
        world.gate.open();
        for task in &blocked {
            ended(task);
        }
    }
}

#[test]
fn a_launch_that_fails_ends_the_tasks_that_waited_for_it_and_the_next_task_tries_again() {
    let world = World::new(2);
    *world.refuse.lock().unwrap() = Some("no memory".to_owned());
    let task = world.spawn("value");
    world.launch_gate.open();
    assert!(matches!(
        ended(&task),
        TaskOutcome::Unavailable(text) if text == "cannot start an interpreter (no memory)"
    ));
    *world.refuse.lock().unwrap() = None;
    assert_eq!(value(&world.spawn("value")), "42");
}

#[test]
fn cancelling_a_queued_task_ends_it_without_running_it() {
    let world = World::new(2);
    let task = world.spawn("value");
    assert_eq!(task.phase(), Phase::Queued);
    task.cancel();
    assert!(matches!(task.take_outcome(), Some(TaskOutcome::Cancelled)));
}

#[test]
fn cancelling_a_blocked_task_interrupts_its_wait() {
    let world = World::ready(2);
    let task = world.spawn("wait");
    until_running(&task);
    task.cancel();
    task.wait_cancelled(&soon()).unwrap();
    assert!(matches!(ended(&task), TaskOutcome::Cancelled));
}

#[test]
fn a_task_that_does_not_notice_its_cancellation_is_reported_as_such() {
    let world = World::ready(2);
    let task = world.spawn("gate");
    world.until_inside(1);
    task.cancel();
    task.cancel();
    assert!(task.wait_cancelled(&briefly()).is_err());
    world.gate.open();
    assert!(matches!(ended(&task), TaskOutcome::Value(_)));
    assert_eq!(
        world.thrown.load(Ordering::SeqCst),
        1,
        "one request throws once"
    );
}

#[test]
fn a_task_goes_through_another_copy_as_a_raw_reference() {
    let world = World::ready(2);
    let task = world.spawn("value");
    let id = task.id();
    // SAFETY: given away here, taken back here, by the same engine.
    let task = unsafe { atoll_core::client::Task::from_raw(world.engine, task.clone().into_raw()) };
    assert_eq!(task.id(), id);
    assert_eq!(value(&task), "42");
}

#[test]
fn closing_a_host_cancels_its_tasks_and_releases_what_it_held() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    let interrupt = world.engine.host_interrupt(host).unwrap();
    let held = world.engine.channel(Capacity::Unbounded, host);
    let ours = held.share(atoll_core::client::Role::Receiver, HostId::MAIN);
    let tasks: Vec<_> = (0..5)
        .map(|_| world.submit(Placement::On(host), "wait").unwrap())
        .collect();
    until_running(&tasks[0]);
    world.engine.close_host(host);
    world.engine.close_host(host);
    world.engine.wait_host_ended(host, &soon()).unwrap();
    for task in &tasks {
        assert!(matches!(ended(task), TaskOutcome::Cancelled));
    }
    assert!(ours.is_closed());
    assert!(has_ended(&world, host));
    assert_eq!(world.engine.host_kind(host), None);
    assert!(world.engine.visit_host(host).is_none());
    assert!(interrupt.is_raised());
    assert!(matches!(
        world.submit(Placement::On(host), "value"),
        Err(SubmitError::NoSuchHost(_))
    ));
}

#[test]
fn a_host_with_code_that_never_returns_is_left_alone_and_ends_when_it_returns() {
    let world = World::ready(2);
    let host = world.launch(HostKind::Interpreter, Some("busy")).unwrap();
    let _task = world.submit(Placement::On(host), "gate").unwrap();
    world.until_inside(1);
    world.engine.close_host(host);
    assert!(world.engine.wait_host_ended(host, &briefly()).is_err());
    assert_eq!(world.engine.host_state(host), HostState::Closing);
    assert!(matches!(
        world.submit(Placement::On(host), "value"),
        Err(SubmitError::HostClosed(name)) if name == "busy"
    ));
    world.gate.open();
    world.engine.wait_host_ended(host, &soon()).unwrap();
}

#[test]
fn a_host_closed_while_it_starts_never_runs_a_task() {
    for kind in [HostKind::Interpreter, HostKind::Isolate] {
        let world = World::new(2);
        world.set_room(1);
        let host = world.launch(kind, None).unwrap();
        let task = world.submit(Placement::On(host), "value").unwrap();
        world.engine.close_host(host);
        assert!(matches!(ended(&task), TaskOutcome::Cancelled));
        world.launch_gate.open();
        world.engine.wait_host_ended(host, &soon()).unwrap();
        assert!(has_ended(&world, host));
    }
}

#[test]
fn a_visitor_keeps_a_host_from_ending() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    let visit = world.engine.visit_host(host).unwrap();
    world.engine.close_host(host);
    assert!(world.engine.wait_host_ended(host, &briefly()).is_err());
    drop(visit);
    world.engine.wait_host_ended(host, &soon()).unwrap();
}

#[test]
fn a_task_whose_agent_gives_up_has_died() {
    let world = World::ready(2);
    let task = world.spawn("drop");
    assert!(matches!(ended(&task), TaskOutcome::Died(text) if text.contains("gave the task up")));
    assert_eq!(value(&world.spawn("value")), "42");
}

#[test]
fn shutdown_counts_the_threads_that_stay_behind_and_refuses_new_work() {
    let world = World::ready(2);
    let waiting = world.spawn("wait");
    let _stuck = world.spawn("gate");
    world.until_inside(1);
    until_running(&waiting);
    let left = world
        .engine
        .shutdown(&Wait::until(Deadline::after(Duration::from_millis(50))));
    assert!(left.threads >= 1);
    assert_eq!(left.places, 0);
    assert!(matches!(ended(&waiting), TaskOutcome::Cancelled));
    assert!(matches!(
        world.submit(INTERPRETERS, "value"),
        Err(SubmitError::Unavailable { .. })
    ));
    world.gate.open();
    assert_eq!(world.engine.shutdown(&soon()), Restless::default());
}

#[test]
fn shutdown_retires_the_driver_once_and_after_the_hosts() {
    let world = World::ready(2);
    world.set_room(1);
    world.restless.store(3, Ordering::SeqCst);
    let host = world.host(HostKind::Isolate);
    until_running(&world.submit(Placement::On(host), "wait").unwrap());
    assert_eq!(world.engine.shutdown(&soon()), places(3));
    assert_eq!(world.engine.shutdown(&soon()), places(3));
    assert_eq!(
        *world.retired.lock().unwrap(),
        [0],
        "no host was left when it was told"
    );
}

#[test]
fn the_driver_is_retired_although_a_host_does_not_end() {
    let world = World::ready(2);
    let _stuck = world.spawn("gate");
    world.until_inside(1);
    assert!(world.engine.shutdown(&briefly()).threads >= 1);
    assert_eq!(*world.retired.lock().unwrap(), [1]);
    world.gate.open();
}

#[test]
fn what_is_stuck_in_an_isolate_is_the_drivers_to_count() {
    let world = World::ready(2);
    world.set_room(1);
    world.restless.store(1, Ordering::SeqCst);
    let host = world.host(HostKind::Isolate);
    until_running(&world.submit(Placement::On(host), "gate").unwrap());
    assert_eq!(world.engine.shutdown(&briefly()), places(1));
    world.gate.open();
}

#[test]
fn idle_threads_beyond_a_few_go_home() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    let tasks: Vec<_> = (0..40)
        .map(|_| world.submit(Placement::On(host), "gate").unwrap())
        .collect();
    for task in &tasks {
        until_running(task);
    }
    assert!(world.summary(host).unwrap().threads >= 40);
    world.gate.open();
    for task in &tasks {
        ended(task);
    }
    while world.summary(host).unwrap().threads > 5 {
        thread::yield_now();
    }
}

#[test]
fn an_isolates_owner_does_the_first_job_and_others_what_comes_while_it_is_busy() {
    let world = World::ready(2);
    world.set_room(1);
    let host = world.host(HostKind::Isolate);
    let on = Placement::On(host);
    let busy = world.submit(on, "gate").unwrap();
    world.until_inside(1);
    for _ in 0..50 {
        assert_ne!(value(&world.submit(on, "thread").unwrap()), "0");
    }
    assert!(
        world.summary(host).unwrap().threads > 1,
        "while the owner is busy, another thread waits for work"
    );
    world.gate.open();
    assert_eq!(value(&busy), "0");
}

#[test]
fn jobs_from_many_threads_are_each_run_once() {
    for kind in [HostKind::Interpreter, HostKind::Isolate] {
        let world = World::ready(2);
        world.set_room(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let task = world.submit(Placement::Crew(kind), "value").unwrap();
                        assert_eq!(value(&task), "42");
                    }
                });
            }
        });
        assert_eq!(world.engine.shutdown(&soon()), Restless::default());
    }
}

#[test]
fn tasks_that_are_cancelled_at_any_moment_always_end() {
    for kind in [HostKind::Interpreter, HostKind::Isolate] {
        let world = World::ready(2);
        world.set_room(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..500 {
                        let task = world.submit(Placement::Crew(kind), "wait").unwrap();
                        for _ in 0..round % 64 {
                            std::hint::spin_loop();
                        }
                        task.cancel();
                        assert!(matches!(ended(&task), TaskOutcome::Cancelled));
                    }
                });
            }
        });
        assert_eq!(world.engine.shutdown(&soon()), Restless::default());
    }
}

#[test]
fn running_tasks_are_listed_with_their_threads_and_for_how_long_they_run() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    assert_eq!(world.engine.running_tasks(host), []);

    let task = world.submit(Placement::On(host), "gate").unwrap();
    until_running(&task);
    let first = world.engine.running_tasks(host);
    let later = world.engine.running_tasks(host);
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].id, &first[0].name), (task.id(), &None));
    let Phase::Running(thread) = task.phase() else {
        panic!("it waits for the gate");
    };
    assert_eq!(first[0].thread.unwrap_or(0), thread);
    assert!(first[0].seconds > 0.0 && later[0].seconds > first[0].seconds);

    world.gate.open();
    ended(&task);
    assert_eq!(world.engine.running_tasks(host), []);
    assert_eq!(world.engine.running_tasks(HostId(1_000_000)), []);
}

#[test]
fn a_visitor_is_sent_with_its_message_and_without_it_if_nobody_can_enter() {
    let world = World::ready(2);
    let host = world.host(HostKind::Interpreter);
    for to in [host, HostId::MAIN, HostId(1_000_000)] {
        let message = Message::inline(b"look around").unwrap();
        world.engine.send_visitor(to, message);
    }
    let errands = std::mem::take(&mut *world.errands.lock().unwrap());
    let sent: Vec<_> = errands
        .iter()
        .map(|(host, message)| (*host, message.bytes()))
        .collect();
    assert_eq!(
        sent,
        [
            (host, b"look around".as_slice()),
            (HostId::MAIN, b"look around".as_slice())
        ]
    );
}

#[test]
fn nobody_visits_the_main_host_once_the_process_has_begun_to_end() {
    let world = World::ready(2);
    let visit = world.engine.visit_host(HostId::MAIN).expect("it is there");
    let shut_down = world.engine.shutdown(&briefly());
    assert_eq!(shut_down.threads, 1, "the visitor is still there");

    drop(visit);
    assert_eq!(world.engine.shutdown(&soon()).threads, 0);
    assert!(world.engine.visit_host(HostId::MAIN).is_none());
}
