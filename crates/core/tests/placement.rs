//! Which kind of host a task goes to, how many of them there are, and what becomes of it when one does not start.

mod world;

use atoll_core::client::{HostKind, Placement, Restless, SubmitError, TaskOutcome};
use world::{INTERPRETERS, ISOLATES, World, ended, soon, until_running, value};

const AUTO: Placement = Placement::Auto;

fn folders() -> Vec<String> {
    vec!["/here".to_owned(), "/there".to_owned()]
}

/// What the front does before each task: a set-up for whatever would start.
fn set_up(world: &World, placement: Placement) -> Option<HostKind> {
    let kind = world.engine.wants_setup(placement)?;
    world
        .engine
        .set_setup(kind, Some(&folders()), Some(b"\0blob\0"));
    Some(kind)
}

#[test]
fn a_crews_next_host_starts_with_the_set_up_of_its_kind() {
    let world = World::ready(2);
    world.set_room(1);
    assert_eq!(set_up(&world, AUTO), Some(HostKind::Isolate));
    let task = world.submit(AUTO, "value").unwrap();
    assert_eq!(value(&task), "42");
    let launches = world.launches.lock().unwrap();
    let launch = launches.first().unwrap();
    assert_eq!(launch.host, task.host());
    assert_eq!(launch.kind, HostKind::Isolate);
    assert_eq!(launch.name, format!("isolate-{}", task.host().0));
    assert_eq!(launch.path, Some(folders()));
    assert_eq!(launch.environment.as_deref(), Some(&b"\0blob\0"[..]));
}

#[test]
fn tasks_for_any_kind_go_to_interpreters_as_long_as_nobody_has_set_isolates_up() {
    let world = World::ready(2);
    world.set_room(5);
    let task = world.submit(AUTO, "gate").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Interpreter);
    world.gate.open();
    ended(&task);
}

#[test]
fn tasks_for_any_kind_go_to_interpreters_while_there_is_no_room_for_an_isolate() {
    let world = World::ready(2);
    assert_eq!(
        set_up(&world, AUTO),
        Some(HostKind::Interpreter),
        "no room: an isolate's set-up is not worth making"
    );
    world.engine.set_setup(HostKind::Isolate, None, None);
    let task = world.submit(AUTO, "value").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Interpreter);
    ended(&task);

    world.set_room(1);
    let task = world.submit(AUTO, "gate").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Isolate);
    world.gate.open();
    ended(&task);
}

#[test]
fn tasks_for_any_kind_share_the_one_isolate_that_there_is_room_for() {
    let world = World::ready(4);
    world.set_room(1);
    set_up(&world, AUTO);
    let tasks: Vec<_> = (0..6)
        .map(|_| world.submit(AUTO, "gate").unwrap())
        .collect();
    let host = tasks[0].host();
    assert!(tasks.iter().all(|task| task.host() == host));
    assert_eq!(world.kind_of(&tasks[0]), HostKind::Isolate);
    assert_eq!(world.launched(HostKind::Isolate), 1);
    assert_eq!(
        world.engine.wants_setup(AUTO),
        None,
        "nothing more would start"
    );
    world.until_inside(6);
    world.gate.open();
    for task in &tasks {
        ended(task);
    }
}

#[test]
fn a_crew_of_isolates_grows_to_its_size_where_there_is_room_for_many() {
    let world = World::ready(3);
    world.set_room(15);
    let tasks: Vec<_> = (0..7)
        .map(|_| {
            set_up(&world, AUTO);
            world.submit(AUTO, "gate").unwrap()
        })
        .collect();
    assert_eq!(world.launched(HostKind::Isolate), 3);
    assert_eq!(world.launched(HostKind::Interpreter), 0);
    assert_eq!(world.engine.wants_setup(AUTO), None);
    world.gate.open();
    for task in &tasks {
        ended(task);
    }
}

#[test]
fn each_kind_has_a_crew_of_its_own() {
    let world = World::ready(2);
    world.set_room(9);
    let isolated: Vec<_> = (0..4)
        .map(|_| world.submit(ISOLATES, "gate").unwrap())
        .collect();
    let interpreted: Vec<_> = (0..4)
        .map(|_| world.submit(INTERPRETERS, "gate").unwrap())
        .collect();
    assert_eq!(world.launched(HostKind::Isolate), 2);
    assert_eq!(world.launched(HostKind::Interpreter), 2);
    for task in &isolated {
        assert_eq!(world.kind_of(task), HostKind::Isolate);
    }
    for task in &interpreted {
        assert_eq!(world.kind_of(task), HostKind::Interpreter);
    }
    world.gate.open();
    for task in isolated.iter().chain(&interpreted) {
        ended(task);
    }
}

#[test]
fn isolates_that_were_refused_are_asked_for_no_more_unless_by_name() {
    let world = World::ready(2);
    world.set_room(5);
    world.engine.refuse_isolates();
    assert_eq!(world.engine.wants_setup(AUTO), Some(HostKind::Interpreter));
    assert_eq!(world.engine.wants_setup(ISOLATES), Some(HostKind::Isolate));
    let task = world.submit(AUTO, "gate").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Interpreter);
    world.gate.open();
    ended(&task);
}

#[test]
fn a_platform_without_isolates_is_asked_once() {
    let world = World::ready(2);
    *world.room.lock().unwrap() = Err("no such thing here".to_owned());
    assert_eq!(world.engine.wants_setup(AUTO), Some(HostKind::Interpreter));
    // Room by miracle: it is known that there is none ever.
    world.set_room(5);
    assert_eq!(world.engine.wants_setup(AUTO), Some(HostKind::Interpreter));
    ended(&world.submit(AUTO, "value").unwrap());
    assert_eq!(
        world.engine.wants_setup(AUTO),
        None,
        "an interpreter is idle"
    );
}

#[test]
fn an_idle_host_wants_no_set_up() {
    let world = World::ready(2);
    assert_eq!(
        world.engine.wants_setup(INTERPRETERS),
        Some(HostKind::Interpreter)
    );
    ended(&world.spawn("value"));
    assert_eq!(world.engine.wants_setup(INTERPRETERS), None);
    let busy = world.spawn("gate");
    assert_eq!(
        world.engine.wants_setup(INTERPRETERS),
        Some(HostKind::Interpreter)
    );
    assert_eq!(world.engine.wants_setup(Placement::On(busy.host())), None);
    world.gate.open();
    ended(&busy);
}

#[test]
fn tasks_of_an_isolate_that_does_not_start_go_to_the_others_of_its_crew() {
    let world = World::ready(3);
    world.set_room(3);
    let busy = world.submit(ISOLATES, "gate").unwrap();
    world.until_inside(1);

    world.launch_gate.close();
    *world.refuse.lock().unwrap() = Some("the loader has no room".to_owned());
    let moved = world.submit(ISOLATES, "gate").unwrap();
    let first_host = moved.host();
    assert_ne!(first_host, busy.host());
    world.launch_gate.open();
    world.until_inside(2);
    assert_eq!(moved.host(), busy.host());
    world.engine.wait_host_ended(first_host, &soon()).unwrap();

    // The crew makes do with what it has, and tries again when one has ended.
    *world.refuse.lock().unwrap() = None;
    assert_eq!(world.engine.wants_setup(ISOLATES), None);
    let third = world.submit(ISOLATES, "gate").unwrap();
    assert_eq!(third.host(), busy.host());
    let other = world.host(HostKind::Isolate);
    world.engine.close_host(other);
    world.engine.wait_host_ended(other, &soon()).unwrap();
    assert_eq!(world.engine.wants_setup(ISOLATES), Some(HostKind::Isolate));
    world.gate.open();
    for task in [&busy, &moved, &third] {
        assert!(matches!(ended(task), TaskOutcome::Value(_)));
    }
}

#[test]
fn a_launch_that_is_refused_at_once_leaves_its_task_to_the_others_of_the_crew() {
    let world = World::ready(3);
    world.set_room(3);
    let busy = world.submit(ISOLATES, "gate").unwrap();
    *world.is_overbooked.lock().unwrap() = true;
    let other = world.submit(ISOLATES, "gate").unwrap();
    assert_eq!(other.host(), busy.host());
    world.gate.open();
    ended(&busy);
    ended(&other);
}

#[test]
fn a_moved_task_is_cancelled_like_any_other() {
    let world = World::ready(2);
    world.set_room(2);
    let busy = world.submit(ISOLATES, "gate").unwrap();
    world.until_inside(1);
    world.launch_gate.close();
    *world.refuse.lock().unwrap() = Some("no".to_owned());
    let moved = world.submit(ISOLATES, "wait").unwrap();
    world.launch_gate.open();
    until_running(&moved);
    moved.cancel();
    assert!(matches!(ended(&moved), TaskOutcome::Cancelled));
    world.gate.open();
    ended(&busy);
}

#[test]
fn tasks_for_any_kind_go_to_interpreters_when_the_only_isolate_does_not_start() {
    let world = World::new(2);
    world.set_room(1);
    set_up(&world, AUTO);
    *world.refuse.lock().unwrap() = Some("a package is broken".to_owned());
    let task = world.submit(AUTO, "value").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Isolate);
    // The interpreter's launch waits until refusals are over.
    let isolate = task.host();
    world.launch_gate.open();
    world.engine.wait_host_ended(isolate, &soon()).unwrap();
    let outcome = ended(&task);
    assert!(
        matches!(&outcome, TaskOutcome::Unavailable(text) if text.starts_with("cannot start an interpreter")),
        "{outcome:?}"
    );
    *world.refuse.lock().unwrap() = None;
    // A crew that has failed before it had a host is not tried again by tasks that can do without.
    set_up(&world, AUTO);
    let task = world.submit(AUTO, "value").unwrap();
    assert_eq!(world.kind_of(&task), HostKind::Interpreter);
    assert_eq!(value(&task), "42");
    let launches = world.launches.lock().unwrap();
    assert_eq!(
        launches.last().unwrap().path,
        Some(folders()),
        "an interpreter in an isolate's stead finds the same modules"
    );
}

#[test]
fn an_isolate_wanted_by_name_that_does_not_start_is_tried_again_by_the_next_task() {
    let world = World::new(2);
    world.set_room(1);
    *world.refuse.lock().unwrap() = Some("a package is broken".to_owned());
    let task = world.submit(ISOLATES, "value").unwrap();
    world.launch_gate.open();
    assert!(matches!(
        ended(&task),
        TaskOutcome::Unavailable(text)
            if text == "cannot start an isolate (a package is broken); use kind='interpreter'"
    ));
    *world.refuse.lock().unwrap() = None;
    assert_eq!(value(&world.submit(ISOLATES, "value").unwrap()), "42");
}

#[test]
fn tasks_for_any_kind_that_come_at_once_from_many_threads_never_fail() {
    for room in [0, 1, 3] {
        let world = World::ready(4);
        world.set_room(room);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        set_up(&world, AUTO);
                        assert_eq!(value(&world.submit(AUTO, "value").unwrap()), "42");
                    }
                });
            }
        });
        assert_eq!(world.engine.shutdown(&soon()), Restless::default());
    }
}

#[test]
fn a_launch_that_fails_before_anybody_waits_for_it_says_why_once() {
    let world = World::ready(2);
    *world.refuse.lock().unwrap() = Some("no memory".to_owned());
    let host = world.launch(HostKind::Interpreter, None).unwrap();
    world.engine.wait_host_ended(host, &soon()).unwrap();
    let refusal = |host| world.engine.wait_ready(host, &soon()).unwrap().unwrap_err();
    assert_eq!(
        refusal(host).to_string(),
        "cannot start an interpreter (no memory)"
    );
    assert_eq!(refusal(host), SubmitError::NoSuchHost(host.0));
}

#[test]
fn a_refusal_names_the_kind_the_reason_and_the_remedy() {
    let world = World::ready(2);
    let error = world.launch(HostKind::Isolate, None).unwrap_err();
    assert!(matches!(
        error,
        SubmitError::Unavailable {
            kind: HostKind::Isolate,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "cannot start an isolate (all are in use); close one"
    );
    *world.room.lock().unwrap() = Err("this is no Linux".to_owned());
    assert_eq!(
        world.submit(ISOLATES, "value").unwrap_err().to_string(),
        "cannot start an isolate (this is no Linux); use kind='interpreter'"
    );
    world.engine.shutdown(&soon());
    assert_eq!(
        world.submit(INTERPRETERS, "value").unwrap_err().to_string(),
        "cannot start an interpreter (the process is ending); start it earlier"
    );
}
