//! Channels under real threads: everything arrives once, in order, and every wait ends.
#![cfg(not(loom))]

use atoll_core::channel::{Batch, Capacity, Channel, RecvError, SendError};
use atoll_core::clock::Deadline;
use atoll_core::park::{Bell, Interrupt, Wait};
use atoll_core::select::{Case, Op, Outcome, Pending, SelectError, select};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

fn bounded(capacity: usize) -> Capacity {
    Capacity::Bounded(capacity.try_into().unwrap())
}

const ALL: [Capacity; 4] = [
    Capacity::Rendezvous,
    Capacity::Bounded(std::num::NonZeroUsize::MIN),
    Capacity::Bounded(std::num::NonZeroUsize::new(64).unwrap()),
    Capacity::Unbounded,
];

/// Waits until so many senders and receivers are parked on the channel.
fn wait_until_blocked<T>(channel: &Channel<T>, senders: u64, receivers: u64) {
    loop {
        let counts = channel.counts();
        if counts.blocked_senders >= senders && counts.blocked_receivers >= receivers {
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn many_senders_and_receivers_exchange_every_message_exactly_once_in_order() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 20_000;
    for capacity in ALL {
        let channel = Channel::new(capacity);
        let sum = AtomicU64::new(0);
        let count = AtomicU64::new(0);
        thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let channel = &channel;
                    scope.spawn(move || {
                        for i in 0..EACH {
                            channel.send((sender, i), &Wait::forever()).unwrap();
                        }
                    })
                })
                .collect();
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = [None; SENDERS as usize];
                    while let Ok((sender, i)) = channel.recv(&Wait::forever()) {
                        let last = &mut last[sender as usize];
                        assert!(last.is_none_or(|last| last < i), "per-sender order");
                        *last = Some(i);
                        sum.fetch_add(i, Ordering::Relaxed);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for sender in senders {
                sender.join().unwrap();
            }
            channel.close();
        });
        assert_eq!(count.into_inner(), SENDERS * EACH, "{capacity:?}");
        assert_eq!(sum.into_inner(), SENDERS * (EACH * (EACH - 1) / 2));
    }
}

#[test]
fn batches_from_many_senders_arrive_whole_and_in_order() {
    for capacity in ALL {
        let channel = Channel::<u64>::new(capacity);
        let total = AtomicU64::new(0);
        thread::scope(|scope| {
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        for chunk in 0..200u64 {
                            let mut messages: Vec<_> = (chunk * 50..chunk * 50 + 50)
                                .map(ManuallyDrop::new)
                                .collect();
                            // SAFETY: fifty initialised messages in ManuallyDrop's transparent layout.
                            let mut batch =
                                unsafe { Batch::from_raw(messages.as_mut_ptr().cast(), 50) };
                            channel.send_batch(&mut batch, &Wait::forever()).unwrap();
                            assert!(batch.is_empty());
                        }
                    })
                })
                .collect();
            for _ in 0..3 {
                scope.spawn(|| {
                    while channel
                        .recv_batch(37, &Wait::forever(), |message| {
                            total.fetch_add(message, Ordering::Relaxed);
                        })
                        .is_ok()
                    {}
                });
            }
            for sender in senders {
                sender.join().unwrap();
            }
            channel.close();
        });
        assert_eq!(total.into_inner(), 3 * (10_000 * 9_999 / 2), "{capacity:?}");
    }
}

/// Counts how many of it live.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(live.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn poison_in_the_middle_of_traffic_ends_every_wait_and_drops_every_message_once() {
    for capacity in ALL {
        for round in 0..60 {
            let live = Arc::new(AtomicUsize::new(0));
            let channel = Channel::new(capacity);
            let start = Barrier::new(7);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        start.wait();
                        loop {
                            match channel.send(Counted::new(&live), &Wait::forever()) {
                                Ok(()) => {}
                                Err(SendError::Poisoned(_)) => break,
                                Err(_) => panic!("only poison ends this"),
                            }
                        }
                    });
                    scope.spawn(|| {
                        start.wait();
                        loop {
                            match channel.recv(&Wait::forever()) {
                                Ok(_) => {}
                                Err(RecvError::Poisoned) => break,
                                Err(error) => panic!("only poison ends this: {error:?}"),
                            }
                        }
                    });
                }
                start.wait();
                for _ in 0..round * 10 {
                    std::hint::spin_loop();
                }
                assert!(channel.poison(b"enough"));
                assert!(!channel.poison(b"again"));
            });
            assert_eq!(channel.poison_reason().as_deref(), Some(&b"enough"[..]));
            assert_eq!(live.load(Ordering::SeqCst), 0, "{capacity:?}");
        }
    }
}

#[test]
fn dropping_a_channel_drops_the_messages_inside() {
    for capacity in [bounded(200), Capacity::Unbounded] {
        for sent in [0, 1, 63, 64, 150] {
            let live = Arc::new(AtomicUsize::new(0));
            let channel = Channel::new(capacity);
            for _ in 0..sent {
                assert!(channel.try_send(Counted::new(&live)).is_ok());
            }
            assert_eq!(live.load(Ordering::SeqCst), sent);
            drop(channel);
            assert_eq!(live.load(Ordering::SeqCst), 0);
        }
    }
}

#[test]
fn close_lets_receivers_drain_and_refuses_senders() {
    for capacity in [bounded(5), Capacity::Unbounded] {
        let channel = Channel::new(capacity);
        for i in 0..3 {
            channel.try_send(i).unwrap();
        }
        assert!(channel.close());
        assert!(!channel.close());
        assert_eq!(channel.try_send(9), Err(SendError::Closed(9)));
        assert_eq!(channel.send(9, &Wait::forever()), Err(SendError::Closed(9)));
        let drained: Vec<_> = std::iter::from_fn(|| channel.recv(&Wait::forever()).ok()).collect();
        assert_eq!(drained, [0, 1, 2]);
        assert_eq!(channel.try_recv(), Err(RecvError::Closed));
    }
}

#[test]
fn close_wakes_everybody_who_waits() {
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        let full = Channel::new(capacity);
        let empty = Channel::<i32>::new(capacity);
        let _ = full.try_send(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    assert_eq!(full.send(1, &Wait::forever()), Err(SendError::Closed(1)));
                });
                scope.spawn(|| {
                    assert_eq!(empty.recv(&Wait::forever()), Err(RecvError::Closed));
                });
            }
            wait_until_blocked(&full, 3, 0);
            wait_until_blocked(&empty, 0, 3);
            full.close();
            empty.close();
        });
    }
}

#[test]
fn a_deadline_gives_the_message_back_and_leaves_no_trace() {
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        let channel = Channel::new(capacity);
        while channel.try_send(0).is_ok() {}
        let begun = Instant::now();
        let soon = Wait::until(Deadline::after(Duration::from_millis(20)));
        assert_eq!(channel.send(1, &soon), Err(SendError::TimedOut(1)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert_eq!(channel.counts().blocked_senders, 0);
        let empty = Channel::<i32>::new(capacity);
        assert_eq!(
            empty.recv(&Wait::until(Deadline::after(Duration::from_millis(5)))),
            Err(RecvError::TimedOut)
        );
        assert_eq!(
            empty.recv(&Wait::until(Deadline::NOW)),
            Err(RecvError::Empty)
        );
        assert_eq!(empty.counts().blocked_receivers, 0);
    }
}

#[test]
fn an_interrupt_ends_waits_now_and_later_until_it_is_cleared() {
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        let channel = Channel::<i32>::new(capacity);
        let interrupt = Interrupt::new();
        let wait = Wait {
            interrupt: Some(&interrupt),
            ..Wait::forever()
        };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(channel.recv(&wait), Err(RecvError::Interrupted)));
            }
            wait_until_blocked(&channel, 0, 2);
            interrupt.raise();
        });
        assert_eq!(channel.recv(&wait), Err(RecvError::Interrupted));
        interrupt.clear();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(channel.recv(&wait), Ok(7)));
            channel.send(7, &Wait::forever()).unwrap();
        });
    }
}

#[test]
fn a_thread_that_sleeps_by_a_bell_is_woken_by_messages_and_by_signals() {
    let channel = Channel::new(bounded(1));
    let bell = Bell::new().unwrap();
    let wait = Wait {
        bell: Some(&bell),
        ..Wait::forever()
    };
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(channel.recv(&wait), Ok(1)));
        wait_until_blocked(&channel, 0, 1);
        channel.try_send(1).unwrap();
    });
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(channel.recv(&wait), Err(RecvError::Interrupted)));
        wait_until_blocked(&channel, 0, 1);
        // SAFETY: an open descriptor and one byte.
        unsafe { libc::write(bell.write_fd(), [2u8].as_ptr().cast(), 1) };
    });
    assert_eq!(bell.take_signals(8), [2]);
}

#[test]
fn select_takes_exactly_one_of_the_ready_cases_and_is_fair() {
    let channels: Vec<_> = (0..3).map(|_| Channel::new(bounded(3000))).collect();
    for channel in &channels {
        for i in 0..3000 {
            channel.try_send(i).unwrap();
        }
    }
    let mut taken = [0u32; 3];
    for _ in 0..3000 {
        let mut cases: Vec<_> = channels
            .iter()
            .map(|channel| Case {
                channel,
                op: Op::Recv,
            })
            .collect();
        let (index, outcome) = select(&mut cases, &Wait::forever()).unwrap();
        assert!(matches!(outcome, Outcome::Received(_)));
        taken[index] += 1;
    }
    assert_eq!(taken.iter().sum::<u32>(), 3000);
    for (taken, channel) in taken.into_iter().zip(&channels) {
        assert_eq!(channel.len(), 3000 - taken as usize);
        // Binomial(3000, 1/3): six standard deviations are 155.
        assert!((845..=1155).contains(&taken), "{taken} of 3000");
    }
}

#[test]
fn select_with_the_same_channel_twice_moves_one_message() {
    for capacity in [Capacity::Rendezvous, bounded(2), Capacity::Unbounded] {
        let channel = Channel::new(capacity);
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut cases = [0, 1].map(|_| Case {
                    channel: &channel,
                    op: Op::Recv,
                });
                select(&mut cases, &Wait::forever()).unwrap().1
            });
            channel.send(5, &Wait::forever()).unwrap();
            assert_eq!(receiver.join().unwrap(), Outcome::Received(5));
        });
        assert_eq!(channel.counts().sent, 1);
    }
}

#[test]
fn a_select_that_could_meet_itself_waits_for_somebody_else() {
    let channel = Channel::new(Capacity::Rendezvous);
    let soon = Wait::until(Deadline::after(Duration::from_millis(10)));
    let mut cases = [
        Case {
            channel: &channel,
            op: Op::Recv,
        },
        Case {
            channel: &channel,
            op: Op::Send(Some(1)),
        },
    ];
    assert_eq!(select(&mut cases, &soon), Err(SelectError::TimedOut));
    assert!(matches!(cases[1].op, Op::Send(Some(1))));
}

#[test]
fn selects_on_both_sides_of_rendezvous_channels_pair_up() {
    const EACH: u64 = 3000;
    let channels = [0, 1].map(|_| Channel::<u64>::new(Capacity::Rendezvous));
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for i in 0..EACH {
                    let mut cases = channels.each_ref().map(|channel| Case {
                        channel,
                        op: Op::Send(Some(i)),
                    });
                    let (index, outcome) = select(&mut cases, &Wait::forever()).unwrap();
                    assert_eq!(outcome, Outcome::Sent);
                    for (other, case) in cases.iter().enumerate() {
                        let kept = matches!(case.op, Op::Send(Some(_)));
                        assert_eq!(kept, other != index, "one case sends, the other keeps");
                    }
                }
            });
            scope.spawn(|| {
                for _ in 0..EACH {
                    let mut cases = channels.each_ref().map(|channel| Case {
                        channel,
                        op: Op::Recv,
                    });
                    let (_, outcome) = select(&mut cases, &Wait::forever()).unwrap();
                    let Outcome::Received(message) = outcome else {
                        panic!("a receive receives")
                    };
                    received.fetch_add(message, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(received.into_inner(), 2 * (EACH * (EACH - 1) / 2));
}

#[test]
fn select_loses_no_message_when_closes_race_with_it() {
    for _ in 0..300 {
        let data = Channel::new(bounded(4));
        let stop = Channel::new(bounded(1));
        let mut got = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..10 {
                    data.send(i, &Wait::forever()).unwrap();
                }
                stop.close();
            });
            loop {
                let mut cases = [&data, &stop].map(|channel| Case {
                    channel,
                    op: Op::Recv,
                });
                match select(&mut cases, &Wait::forever()).unwrap() {
                    (0, Outcome::Received(_)) => got += 1,
                    (1, Outcome::RecvRefused) => break,
                    other => panic!("neither a message nor the stop: {other:?}"),
                }
            }
        });
        got += std::iter::from_fn(|| data.try_recv().ok()).count();
        assert_eq!(got, 10);
    }
}

/// An event loop in miniature: counts the calls and lets a thread wait for the next.
fn event_loop() -> (atoll_core::park::Wake, std::sync::mpsc::Receiver<()>) {
    let (called, calls) = std::sync::mpsc::channel();
    let called = std::sync::Mutex::new(called);
    let wake = move || {
        let _ = called.lock().unwrap().send(());
    };
    (Arc::new(wake), calls)
}

#[test]
fn a_pending_select_receives_what_many_senders_send_without_a_thread_of_its_own() {
    for capacity in ALL {
        let channels = [0, 1].map(|_| Channel::<u64>::new(capacity));
        let (wake, calls) = event_loop();
        let mut sum = 0;
        thread::scope(|scope| {
            for channel in &channels {
                scope.spawn(move || {
                    for i in 0..2000 {
                        channel.send(i, &Wait::forever()).unwrap();
                    }
                });
            }
            for _ in 0..4000 {
                let cases = channels.each_ref().map(|channel| Case {
                    channel,
                    op: Op::Recv,
                });
                let mut state = Pending::begin(cases.into(), wake.clone());
                let (_, outcome, _) = loop {
                    match state {
                        Ok(chosen) => break chosen,
                        Err(pending) => {
                            calls.recv().unwrap();
                            state = pending.finish();
                        }
                    }
                };
                let Outcome::Received(message) = outcome else {
                    panic!("a receive receives")
                };
                sum += message;
            }
        });
        assert_eq!(sum, 2 * (2000 * 1999 / 2), "{capacity:?}");
    }
}

#[test]
fn a_cancelled_pending_send_gives_its_message_back() {
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        let channel = Channel::new(capacity);
        while channel.try_send(0).is_ok() {}
        let (wake, calls) = event_loop();
        let case = Case {
            channel: &channel,
            op: Op::Send(Some(1)),
        };
        let Err(pending) = Pending::begin(vec![case], wake) else {
            panic!("there is no room")
        };
        let Err(cases) = pending.cancel() else {
            panic!("nothing happened meanwhile")
        };
        assert!(matches!(cases[0].op, Op::Send(Some(1))));
        assert!(calls.try_recv().is_err(), "nobody was told");
        let counts = channel.counts();
        assert_eq!((counts.blocked_senders, counts.sent), (0, counts.depth));
    }
}

#[test]
fn a_cancelled_pending_receive_passes_its_wake_up_on_to_a_receiver_that_sleeps() {
    for capacity in [bounded(4), Capacity::Unbounded] {
        let channel = Channel::new(capacity);
        let (wake, calls) = event_loop();
        let case = Case {
            channel: &channel,
            op: Op::Recv,
        };
        let Err(pending) = Pending::begin(vec![case], wake) else {
            panic!("there is nothing inside")
        };
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| channel.recv(&Wait::forever()).unwrap());
            while channel.counts().blocked_receivers < 2 {
                std::thread::yield_now();
            }
            // It is first in the queue, so it is told; and it does not want the message any more.
            channel.try_send(1).unwrap();
            calls.recv().unwrap();
            assert!(pending.cancel().is_err(), "nothing was taken");
            assert_eq!(sleeper.join().unwrap(), 1);
        });
    }
}
