//! Who of a host's threads takes the next job.
//!
//! Jobs queue under one lock, together with the counts of the threads that might take them. A thread that finds none looks
//! for a while and then sleeps; when all are busy and jobs are left, whoever notices asks for one more thread.
//!
//! # Protocol
//!
//! - Whoever puts a job counts it (`queued`), then reads how many threads are `looking`: if none, it wakes one. A thread that
//!   looks takes itself out of that count before it goes away, with a job or without one, and reads `queued` afterwards; if
//!   jobs are left, it wakes another. Both pairs are SeqCst: of a job that is put as a thread stops looking, one of the two
//!   knows. A thread that falls asleep registers first and looks once more (the protocol of [`crate::park`]).
//! - So every job is seen: by a thread that looks, by one that was woken for it, or by the next that takes one or leaves.
//!
//! # Owner first
//!
//! Where the owner is to do what it can (only its waits can be ended from outside, say), the others leave it a job while it
//! is idle: the oldest, so they take one if there are two. It looks and sleeps on a side of its own, so that it is the one
//! who is woken for the first job that comes while it is idle. An owner that becomes idle found no job, and one that takes a
//! job is idle no more; so a job that was left to it is taken by it, or was for somebody else all along, whom it then wakes.
//!
//! An owner that *returns*, between the end of its task and its next look, is left a job, too: whoever submits as soon as it
//! has a result would miss it otherwise. But it may be held up on the way (a destructor that blocks), so whoever leaves it
//! the job looks again after [`GRACE`], takes the job if it is there still, and counts on the owner no more until it comes.

use crate::clock::Deadline;
use crate::park::{SpinBudget, Wait, WaitQueue};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, lock, order_rmw_before_load};
use crate::waiting::wait_for;
use std::collections::VecDeque;
use std::time::Duration;

/// How many threads wait for work when there is none; the others go home.
const IDLE_THREADS: usize = 4;
/// How many threads are on their way at a time. Whoever takes a job and leaves others behind asks for the next one, so there
/// are soon as many threads as blocked tasks; but a burst of short tasks is done by a few.
const ARRIVING_THREADS: usize = 2;
/// How long a job waits for an owner that is on its way back from another one: longer than a busy machine keeps a thread
/// waiting for a core. What holds it up longer mostly holds the interpreter's lock, which others would wait for, too.
const GRACE: Duration = Duration::from_millis(50);

/// Which of a host's threads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AgentRole {
    /// The one that created the interpreter: it stays until the host closes.
    Owner = 0,
    /// Any other: it is sent home when there is nothing to do.
    Extra = 1,
}

/// Whether jobs are taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// They queue; only the owner is there, or on its way.
    Early,
    /// Threads do them, and more threads may be asked for.
    Open,
    /// None is accepted, and the threads go home.
    Closed,
}

/// The jobs of one host, the threads that do them, and `S`, what else the host keeps under the same lock.
pub struct Jobs<J, S> {
    desk: Mutex<Desk<J, S>>,
    /// How many jobs are queued: what an idle thread reads while it looks.
    queued: AtomicUsize,
    /// As `Stage::Closed`, to be read without the lock.
    closed: AtomicBool,
    /// As `Desk::owner_is_idle`, to be read without the lock.
    owner_is_idle: AtomicBool,
    owner_first: bool,
    grace: Duration,
    /// Of an owner that comes first.
    owner: Side,
    /// Of all other threads.
    others: Side,
}

/// Where idle threads are.
struct Side {
    /// Those that look for a job: while there is one, nobody need be woken for a new job.
    looking: AtomicUsize,
    /// Those that sleep.
    sleepers: WaitQueue,
    spin: SpinBudget,
}

impl Side {
    fn new() -> Self {
        Self {
            looking: AtomicUsize::new(0),
            sleepers: WaitQueue::new(),
            spin: SpinBudget::eager(),
        }
    }
}

/// What the lock guards.
pub struct Desk<J, S> {
    queue: VecDeque<J>,
    stage: Stage,
    /// Every thread that works here, from the moment it is asked for until it has left.
    threads: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that were asked for and have not asked for a job yet.
    arriving: usize,
    owner_first: bool,
    /// Only where it comes first.
    owner_is_idle: bool,
    /// It has done its job, or begun its life, and not looked for the next one yet. Only where it comes first.
    owner_returns: bool,
    /// How many jobs it has done. Only where it comes first.
    owner_round: u64,
    /// The host's own.
    pub state: S,
}

impl<J, S> Desk<J, S> {
    /// Whether jobs are accepted.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Every thread that works here, or is on its way.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// This thread has done its job, and will ask for the next one soon.
    pub fn is_done(&mut self, role: AgentRole) {
        if self.owner_first && role == AgentRole::Owner {
            self.owner_returns = true;
            self.owner_round += 1;
        }
    }

    /// There are no threads (any more), whatever was counted.
    pub fn forget_threads(&mut self) {
        self.threads = 0;
    }

    /// Whether the queue needs one more thread, which then counts.
    fn ask_for_thread(&mut self) -> bool {
        let needs_thread = self.stage == Stage::Open
            && self.arriving < ARRIVING_THREADS
            && self.queue.len() > self.idle + self.arriving;
        self.threads += usize::from(needs_thread);
        self.arriving += usize::from(needs_thread);
        needs_thread
    }
}

/// One thread's place among those that take jobs.
#[derive(Debug)]
pub struct Seat {
    role: AgentRole,
    arrived: bool,
    idle: bool,
    grace: Grace,
}

/// What a thread knows of an owner that returns.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Grace {
    /// It is to be left a job.
    Granted,
    /// It was left a job on its way back from this round, and this thread waits whether it takes one.
    Running(u64),
    /// It had its time for that.
    Over(u64),
}

impl Seat {
    /// Of a thread that was counted when it was asked for.
    pub fn new(role: AgentRole) -> Self {
        Self {
            role,
            arrived: false,
            idle: false,
            grace: Grace::Granted,
        }
    }
}

/// A job for a thread.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<J> {
    /// What to do.
    pub job: J,
    /// One more thread, counted already, is to be asked for.
    pub needs_thread: bool,
}

enum Found<J> {
    Job(Taken<J>),
    GoHome,
    /// There is a job that is left to an owner that returns. The thread counts as idle.
    NotYet,
}

impl<J, S> Jobs<J, S> {
    /// No jobs yet. `owner`: a thread that is counted and on its way. `owner_first`: it does what it can.
    pub fn new(state: S, owner: bool, owner_first: bool) -> Self {
        Self {
            desk: Mutex::new(Desk {
                queue: VecDeque::new(),
                stage: Stage::Early,
                threads: usize::from(owner),
                idle: 0,
                arriving: usize::from(owner),
                owner_first,
                owner_is_idle: false,
                owner_returns: owner && owner_first,
                owner_round: 0,
                state,
            }),
            queued: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            owner_is_idle: AtomicBool::new(false),
            owner_first,
            grace: GRACE,
            owner: Side::new(),
            others: Side::new(),
        }
    }

    /// The lock.
    pub fn desk(&self) -> MutexGuard<'_, Desk<J, S>> {
        lock(&self.desk)
    }

    /// From now on threads may be asked for. Returns how many more are needed, which count already.
    pub fn open(&self, desk: &mut Desk<J, S>) -> usize {
        desk.stage = Stage::Open;
        // The owner is arriving, too.
        let mut more = 0;
        while desk.ask_for_thread() {
            more += 1;
        }
        more
    }

    /// From now on no job is accepted, and the threads go home. Returns the jobs that nobody has taken. Follow it with
    /// [`Self::send_home`].
    pub fn close(&self, desk: &mut Desk<J, S>) -> VecDeque<J> {
        desk.stage = Stage::Closed;
        // ORDERING: SeqCst, the change of the wait queue's protocol.
        self.closed.store(true, Ordering::SeqCst);
        self.queued.swap(0, Ordering::SeqCst);
        std::mem::take(&mut desk.queue)
    }

    /// Wakes the threads that are to go home. Without the lock.
    pub fn send_home(&self) {
        self.owner.sleepers.notify_all();
        self.others.sleepers.notify_all();
    }

    /// Queues a job. Returns whether one more thread is to be asked for, which counts already. A closed desk gives the job
    /// back.
    pub fn put(&self, job: J) -> Result<bool, J> {
        let (needs_thread, side) = {
            let mut desk = self.desk();
            if desk.is_closed() {
                return Err(job);
            }
            let side = match desk.owner_is_idle && desk.queue.is_empty() {
                true => &self.owner,
                false => &self.others,
            };
            desk.queue.push_back(job);
            let needs_thread = desk.ask_for_thread();
            // ORDERING: SeqCst, see Protocol.
            self.queued.fetch_add(1, Ordering::SeqCst);
            (needs_thread, side)
        };
        order_rmw_before_load();
        // ORDERING: SeqCst, see Protocol.
        if side.looking.load(Ordering::SeqCst) == 0 {
            side.sleepers.notify(1);
        }
        Ok(needs_thread)
    }

    /// Takes a job back that nobody has taken.
    pub fn take_back(&self, is_it: impl Fn(&J) -> bool) -> Option<J> {
        let mut desk = self.desk();
        let at = desk.queue.iter().position(is_it)?;
        let job = desk.queue.remove(at);
        self.queued.fetch_sub(1, Ordering::SeqCst);
        job
    }

    /// A thread that was counted is not to be had, or has left.
    pub fn leave(&self, seat: &Seat) {
        let mut desk = self.desk();
        desk.arriving -= usize::from(!seat.arrived);
        desk.threads = desk.threads.saturating_sub(1);
    }

    /// The next job, waiting for one. `None`: go home. `start` is called under the lock and may decline a job; `declined` gets
    /// it, without the lock.
    pub fn next(
        &self,
        seat: &mut Seat,
        mut start: impl FnMut(&mut S, &J) -> bool,
        mut declined: impl FnMut(J),
    ) -> Option<Taken<J>> {
        let side = match self.owner_first && seat.role == AgentRole::Owner {
            true => &self.owner,
            false => &self.others,
        };
        seat.grace = Grace::Granted;
        let mut found = self.look(seat, &mut start, &mut declined).or_else(|| {
            side.looking.fetch_add(1, Ordering::SeqCst);
            let mut look = || self.look(seat, &mut start, &mut declined);
            // Loom has no time to spin, but wants to see the protocol.
            let found = if cfg!(loom) {
                look()
            } else {
                side.spin.spin(&mut look)
            };
            // ORDERING: SeqCst, see Protocol.
            side.looking.fetch_sub(1, Ordering::SeqCst);
            order_rmw_before_load();
            found
        });
        let taken = loop {
            let deadline = match found {
                Some(Found::Job(taken)) => break Some(taken),
                Some(Found::GoHome) => break None,
                Some(Found::NotYet) => Deadline::after(self.grace),
                None => Deadline::NEVER,
            };
            let mut look = || self.look(seat, &mut start, &mut declined);
            found = match deadline.is_never() || !cfg!(loom) {
                true => wait_for(&side.sleepers, None, &Wait::until(deadline), &mut look).ok(),
                // Loom has no clock: any time may have passed.
                false => None,
            };
            if found.is_none()
                && let Grace::Running(round) = seat.grace
            {
                seat.grace = Grace::Over(round);
                found = self.look(seat, &mut start, &mut declined);
            }
        };
        if self.is_for_others() {
            self.others.sleepers.notify(1);
        }
        taken
    }

    /// One look. `None`: nothing; the thread counts as idle from then on.
    fn look(
        &self,
        seat: &mut Seat,
        start: &mut impl FnMut(&mut S, &J) -> bool,
        declined: &mut impl FnMut(J),
    ) -> Option<Found<J>> {
        if seat.idle && !self.has_news(seat) {
            return None;
        }
        loop {
            let job = {
                let mut guard = self.desk();
                let desk = &mut *guard;
                desk.arriving -= usize::from(!seat.arrived);
                seat.arrived = true;
                self.settle(seat, desk);
                if desk.is_closed() {
                    self.get_up(seat, desk);
                    return Some(Found::GoHome);
                }
                let left_to_owner =
                    seat.role == AgentRole::Extra && (desk.owner_is_idle || desk.owner_returns);
                if desk.queue.len() <= usize::from(left_to_owner) {
                    let is_spare = seat.role == AgentRole::Extra && desk.idle >= IDLE_THREADS;
                    if !seat.idle && is_spare {
                        return Some(Found::GoHome);
                    }
                    self.sit_down(seat, desk);
                    if desk.owner_returns && !desk.queue.is_empty() && seat.grace == Grace::Granted
                    {
                        seat.grace = Grace::Running(desk.owner_round);
                        return Some(Found::NotYet);
                    }
                    return None;
                }
                // The owner was there first for the oldest job, or will be.
                let Some(job) = desk.queue.remove(usize::from(left_to_owner)) else {
                    unreachable!("there are more jobs than that")
                };
                self.queued.fetch_sub(1, Ordering::SeqCst);
                self.get_up(seat, desk);
                if start(&mut desk.state, &job) {
                    let needs_thread = desk.ask_for_thread();
                    return Some(Found::Job(Taken { job, needs_thread }));
                }
                job
            };
            declined(job);
        }
    }

    /// What a look tells of an owner that returns: it is back, or it is held up.
    fn settle(&self, seat: &mut Seat, desk: &mut Desk<J, S>) {
        let is_held_up = match seat.grace {
            Grace::Over(round) => {
                seat.grace = Grace::Granted;
                round == desk.owner_round
            }
            Grace::Granted | Grace::Running(_) => false,
        };
        if seat.role == AgentRole::Owner || is_held_up {
            desk.owner_returns = false;
        }
    }

    /// Whether an idle thread should look under the lock.
    fn has_news(&self, seat: &Seat) -> bool {
        // ORDERING: SeqCst, the look of the wait queue's protocol.
        let jobs = match seat.role {
            AgentRole::Owner => self.queued.load(Ordering::SeqCst) > 0,
            AgentRole::Extra => self.is_for_others(),
        };
        jobs || self.closed.load(Ordering::SeqCst)
    }

    /// Whether there are more jobs than an idle owner will take.
    fn is_for_others(&self) -> bool {
        // ORDERING: SeqCst, and in this order: an owner that has become idle since the count was read found nothing, so what
        // was counted then has been taken.
        let queued = self.queued.load(Ordering::SeqCst);
        queued > usize::from(self.owner_is_idle.load(Ordering::SeqCst))
    }

    /// The thread becomes idle, if it is not.
    fn sit_down(&self, seat: &mut Seat, desk: &mut Desk<J, S>) {
        if seat.idle {
            return;
        }
        desk.idle += 1;
        seat.idle = true;
        if self.owner_first && seat.role == AgentRole::Owner {
            desk.owner_is_idle = true;
            self.owner_is_idle.store(true, Ordering::SeqCst);
        }
    }

    /// The thread is not idle any more.
    fn get_up(&self, seat: &mut Seat, desk: &mut Desk<J, S>) {
        if !seat.idle {
            return;
        }
        desk.idle -= 1;
        seat.idle = false;
        if self.owner_first && seat.role == AgentRole::Owner {
            desk.owner_is_idle = false;
            self.owner_is_idle.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    type Numbers = Jobs<u32, ()>;

    fn open(owner_first: bool) -> Arc<Numbers> {
        let jobs = Arc::new(Numbers::new((), true, owner_first));
        assert_eq!(jobs.open(&mut jobs.desk()), 0);
        jobs
    }

    fn next(jobs: &Numbers, seat: &mut Seat) -> Option<u32> {
        let taken = jobs.next(seat, |_, _| true, |_| unreachable!("none is declined"));
        taken.map(|taken| taken.job)
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    /// As if it had been asked for.
    fn extra(jobs: &Numbers) -> Seat {
        let mut desk = jobs.desk();
        desk.threads += 1;
        desk.arriving += 1;
        Seat::new(AgentRole::Extra)
    }

    #[test]
    fn an_idle_owner_gets_the_job_although_another_thread_is_idle_and_one_asks_for_it() {
        for _ in 0..200 {
            let jobs = open(true);
            thread::scope(|scope| {
                let owner = scope.spawn(|| {
                    let got = next(&jobs, &mut Seat::new(AgentRole::Owner));
                    jobs.close(&mut jobs.desk());
                    jobs.send_home();
                    got
                });
                let other = scope.spawn(|| next(&jobs, &mut extra(&jobs)));
                until(|| jobs.desk().owner_is_idle && jobs.desk().idle == 2);
                let mut seat = extra(&jobs);
                assert_eq!(jobs.put(7), Ok(false));
                assert_eq!(next(&jobs, &mut seat), None);
                assert_eq!(other.join().unwrap(), None);
                assert_eq!(owner.join().unwrap(), Some(7));
            });
        }
    }

    #[test]
    fn an_idle_thread_does_what_a_single_owner_cannot() {
        for _ in 0..200 {
            let jobs = open(true);
            let (release, released) = mpsc::channel::<()>();
            thread::scope(|scope| {
                let jobs = &*jobs;
                let owner = scope.spawn(move || {
                    let got = next(jobs, &mut Seat::new(AgentRole::Owner));
                    released.recv().unwrap_err();
                    got
                });
                let other = scope.spawn(|| next(jobs, &mut extra(jobs)));
                until(|| jobs.desk().owner_is_idle && jobs.desk().idle == 2);
                for job in [1, 2] {
                    assert_eq!(jobs.put(job), Ok(false));
                }
                assert_eq!(other.join().unwrap(), Some(2));
                drop(release);
                assert_eq!(owner.join().unwrap(), Some(1));
            });
        }
    }

    /// The owner has done a job and is on its way back; another one waits.
    fn returning(grace: Duration) -> (Numbers, Seat) {
        let mut jobs = Numbers::new((), true, true);
        jobs.grace = grace;
        jobs.open(&mut jobs.desk());
        let mut owner = Seat::new(AgentRole::Owner);
        assert_eq!(jobs.put(0), Ok(false));
        assert_eq!(next(&jobs, &mut owner), Some(0));
        jobs.desk().is_done(AgentRole::Owner);
        // Counted, and on its way, too.
        assert_eq!(jobs.put(1), Ok(true));
        (jobs, owner)
    }

    fn look(jobs: &Numbers, seat: &mut Seat) -> Option<Found<u32>> {
        jobs.look(seat, &mut |_, _| true, &mut |_| ())
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_job_that_comes_while_the_owner_returns_is_left_to_it() {
        let (jobs, mut owner) = returning(LONG);
        let mut seat = Seat::new(AgentRole::Extra);
        assert!(matches!(look(&jobs, &mut seat), Some(Found::NotYet)));
        assert!(look(&jobs, &mut seat).is_none());
        assert_eq!(next(&jobs, &mut owner), Some(1));
        jobs.put(2).unwrap();
        assert!(matches!(
            look(&jobs, &mut seat),
            Some(Found::Job(Taken { job: 2, .. }))
        ));
    }

    #[test]
    fn an_owner_that_is_held_up_leaves_its_job_to_others_and_is_counted_on_no_more() {
        let (mut jobs, mut owner) = returning(Duration::from_millis(1));
        let mut seat = Seat::new(AgentRole::Extra);
        assert_eq!(next(&jobs, &mut seat), Some(1));
        jobs.grace = LONG;
        jobs.put(2).unwrap();
        assert_eq!(next(&jobs, &mut seat), Some(2));
        jobs.put(3).unwrap();
        assert_eq!(next(&jobs, &mut owner), Some(3));
    }

    #[test]
    fn an_owner_that_came_back_in_between_has_its_time_again() {
        let (jobs, mut owner) = returning(LONG);
        let mut seat = Seat::new(AgentRole::Extra);
        assert!(matches!(look(&jobs, &mut seat), Some(Found::NotYet)));
        let Grace::Running(round) = seat.grace else {
            panic!("it waits for the owner");
        };
        assert_eq!(next(&jobs, &mut owner), Some(1));
        jobs.desk().is_done(AgentRole::Owner);
        jobs.put(2).unwrap();
        seat.grace = Grace::Over(round);
        assert!(matches!(look(&jobs, &mut seat), Some(Found::NotYet)));
        assert_eq!(next(&jobs, &mut owner), Some(2));
    }

    #[test]
    fn elsewhere_an_idle_owner_comes_first_in_nothing() {
        let jobs = open(false);
        thread::scope(|scope| {
            let owner = scope.spawn(|| next(&jobs, &mut Seat::new(AgentRole::Owner)));
            until(|| jobs.desk().idle == 1);
            assert!(!jobs.desk().owner_is_idle);
            let other = scope.spawn(|| next(&jobs, &mut extra(&jobs)));
            until(|| jobs.desk().idle == 2);
            jobs.close(&mut jobs.desk());
            jobs.send_home();
            assert_eq!((owner.join().unwrap(), other.join().unwrap()), (None, None));
        });
    }

    #[test]
    fn a_closed_desk_gives_jobs_back() {
        let jobs = open(false);
        assert_eq!(jobs.put(1), Ok(false));
        assert_eq!(jobs.close(&mut jobs.desk()), [1]);
        assert_eq!(jobs.put(2), Err(2));
        assert_eq!(next(&jobs, &mut Seat::new(AgentRole::Owner)), None);
    }

    #[test]
    fn a_job_that_was_taken_back_is_nobodys() {
        let jobs = open(false);
        jobs.put(1).unwrap();
        jobs.put(2).unwrap();
        assert_eq!(jobs.take_back(|job| *job == 1), Some(1));
        assert_eq!(jobs.take_back(|job| *job == 1), None);
        assert_eq!(next(&jobs, &mut Seat::new(AgentRole::Owner)), Some(2));
    }
}
