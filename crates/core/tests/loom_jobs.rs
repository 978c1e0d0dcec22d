//! Loom models of who takes the next job: no job is lost, none waits while a thread is idle, and everybody goes home.
//!
//! Loom reports a program that gets stuck, which is what a lost job looks like here: the threads go home only after the last
//! job was done.
#![cfg(loom)]

use atoll_core::channel::{Capacity, Channel};
use atoll_core::jobs::{AgentRole, Jobs, Seat};
use atoll_core::park::Wait;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

fn model(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 10_000;
    builder.check(program);
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Return,
    /// Waits until another job has signalled.
    Await,
    Signal,
}

struct World {
    jobs: Jobs<Job, usize>,
    signal: Channel<()>,
    /// Jobs that are still to be done; whoever does the last one closes.
    left: AtomicUsize,
    by_owner: AtomicUsize,
}

impl World {
    fn new(owner_first: bool, total: usize) -> Arc<Self> {
        let jobs = Jobs::new(0, true, owner_first);
        jobs.open(&mut jobs.desk());
        Arc::new(Self {
            jobs,
            signal: Channel::new(Capacity::Unbounded),
            left: AtomicUsize::new(total),
            by_owner: AtomicUsize::new(0),
        })
    }

    fn work(world: &Arc<Self>, role: AgentRole) {
        let mut seat = Seat::new(role);
        let start = |done: &mut usize, _: &Job| {
            *done += 1;
            true
        };
        while let Some(taken) = world.jobs.next(&mut seat, start, |_| unreachable!()) {
            if taken.needs_thread {
                Self::add_thread(world);
            }
            if role == AgentRole::Owner {
                world.by_owner.fetch_add(1, Ordering::Relaxed);
            }
            match taken.job {
                Job::Return => {}
                Job::Await => world.signal.recv(&Wait::forever()).unwrap(),
                Job::Signal => world.signal.try_send(()).unwrap(),
            }
            world.jobs.desk().is_done(role);
            world.is_done();
        }
        if role == AgentRole::Extra {
            world.jobs.leave(&seat);
        }
    }

    fn is_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    fn close(&self) {
        let queue = self.jobs.close(&mut self.jobs.desk());
        assert!(queue.is_empty());
        self.jobs.send_home();
    }

    fn put(world: &Arc<Self>, job: Job) {
        if world.jobs.put(job).unwrap() {
            Self::add_thread(world);
        }
    }

    /// It goes home by itself: nobody joins it.
    fn add_thread(world: &Arc<Self>) {
        let world = world.clone();
        thread::spawn(move || Self::work(&world, AgentRole::Extra));
    }

    /// Does *jobs*, put by this thread, on an owner and whoever is asked for.
    fn run(owner_first: bool, jobs: &'static [Job]) -> Arc<Self> {
        let world = Self::new(owner_first, jobs.len());
        let owner = world.clone();
        let owner = thread::spawn(move || Self::work(&owner, AgentRole::Owner));
        for job in jobs {
            Self::put(&world, *job);
        }
        owner.join().unwrap();
        assert_eq!(world.jobs.desk().state, jobs.len());
        world
    }
}

#[test]
fn a_job_is_done_while_its_thread_falls_asleep() {
    for owner_first in [false, true] {
        model(move || {
            World::run(owner_first, &[Job::Return]);
        });
    }
}

#[test]
fn jobs_that_come_one_after_the_other_are_all_done() {
    for owner_first in [false, true] {
        model(move || {
            World::run(owner_first, &[Job::Return, Job::Return]);
        });
    }
}

#[test]
fn a_job_that_waits_for_another_one_does_not_keep_it_from_a_thread() {
    for owner_first in [false, true] {
        model(move || {
            World::run(owner_first, &[Job::Await, Job::Signal]);
        });
    }
}

/// An owner and an extra thread, both on their way, and nothing to do: others did what they were asked for.
fn two_arrive(owner_first: bool, total: usize) -> (Arc<World>, [thread::JoinHandle<()>; 2]) {
    let world = World::new(owner_first, total);
    assert_eq!(world.jobs.put(Job::Return), Ok(false));
    assert_eq!(world.jobs.put(Job::Return), Ok(true));
    while world.jobs.take_back(|_| true).is_some() {}
    let threads = [AgentRole::Owner, AgentRole::Extra].map(|role| {
        let world = world.clone();
        thread::spawn(move || World::work(&world, role))
    });
    (world, threads)
}

#[test]
fn a_job_that_meets_two_idle_threads_is_done_by_one() {
    for owner_first in [false, true] {
        model(move || {
            let (world, [owner, extra]) = two_arrive(owner_first, 1);
            World::put(&world, Job::Return);
            owner.join().unwrap();
            extra.join().unwrap();
            assert_eq!(world.jobs.desk().state, 1);
        });
    }
}

#[test]
fn a_job_that_is_taken_back_strands_no_other_one() {
    for owner_first in [false, true] {
        model(move || {
            let (world, [owner, extra]) = two_arrive(owner_first, 2);
            World::put(&world, Job::Await);
            World::put(&world, Job::Return);
            // Either of them may be under way already; the other one is done in any case.
            if world.jobs.take_back(|job| *job == Job::Await).is_some() {
                world.is_done();
            } else {
                world.signal.try_send(()).unwrap();
            }
            owner.join().unwrap();
            extra.join().unwrap();
        });
    }
}

#[test]
fn a_job_does_not_wait_while_a_thread_is_idle_and_another_one_busy() {
    for owner_first in [false, true] {
        model(move || {
            let (world, [owner, extra]) = two_arrive(owner_first, 2);
            World::put(&world, Job::Await);
            World::put(&world, Job::Signal);
            owner.join().unwrap();
            extra.join().unwrap();
            assert_eq!(world.left.load(Ordering::Relaxed), 0);
        });
    }
}
