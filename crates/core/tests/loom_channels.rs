//! Loom models: every interleaving (up to three preemptions) of small programs over channels.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p atoll-core --release --test loom_channels`
#![cfg(loom)]

use atoll_core::channel::{Capacity, Channel, RecvError, SendError};
use atoll_core::park::{Interrupt, Wait};
use atoll_core::select::{Case, Op, Outcome, Pending, SelectError, select};
use loom::sync::Arc;
use loom::thread;

fn model(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(program);
}

/// As [`model`], for programs with three threads or rendezvous selects.
fn large_model(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 10_000;
    builder.check(program);
}

fn bounded(capacity: usize) -> Capacity {
    Capacity::Bounded(capacity.try_into().unwrap())
}

fn channel<T>(capacity: Capacity) -> (Arc<Channel<T>>, Arc<Channel<T>>) {
    let channel = Arc::new(Channel::new(capacity));
    (channel.clone(), channel)
}

fn forever() -> Wait<'static> {
    Wait::forever()
}

const ALL: [fn() -> Capacity; 3] = [
    || Capacity::Rendezvous,
    || bounded(1),
    || Capacity::Unbounded,
];

#[test]
fn a_parked_receiver_is_woken_by_a_send() {
    for capacity in ALL {
        model(move || {
            let (sender, receiver) = channel(capacity());
            let peer = thread::spawn(move || sender.send(7, &forever()));
            assert_eq!(receiver.recv(&forever()), Ok(7));
            assert_eq!(peer.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn a_parked_sender_is_woken_by_a_receive() {
    model(|| {
        let (sender, receiver) = channel(bounded(1));
        sender.try_send(1).unwrap();
        let peer = thread::spawn(move || sender.send(2, &forever()));
        assert_eq!(receiver.recv(&forever()), Ok(1));
        assert_eq!(receiver.recv(&forever()), Ok(2));
        peer.join().unwrap().unwrap();
    });
}

#[test]
fn two_senders_lose_nothing() {
    for capacity in ALL {
        large_model(move || {
            let (first, receiver) = channel(capacity());
            let second = first.clone();
            let peers = [
                thread::spawn(move || first.send(1, &forever()).unwrap()),
                thread::spawn(move || second.send(2, &forever()).unwrap()),
            ];
            let got = [0; 2].map(|_: i32| receiver.recv(&forever()).unwrap());
            assert!(got == [1, 2] || got == [2, 1]);
            for peer in peers {
                peer.join().unwrap();
            }
        });
    }
}

#[test]
fn two_receivers_share_two_messages() {
    for capacity in [bounded(2), Capacity::Unbounded] {
        large_model(move || {
            let (sender, first) = channel(capacity);
            let second = first.clone();
            // Sent first: two receivers that wait for one slow sender take turns in loom's unfair
            // scheduler for ever.
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
            let peers = [first, second]
                .map(|receiver| thread::spawn(move || receiver.recv(&forever()).unwrap()));
            let got = peers.map(|peer| peer.join().unwrap());
            assert!(got == [1, 2] || got == [2, 1]);
        });
    }
}

#[test]
fn a_list_that_crosses_blocks_keeps_every_message_in_order() {
    // Blocks hold three messages under loom.
    large_model(|| {
        let (sender, receiver) = channel(Capacity::Unbounded);
        let peer = thread::spawn(move || {
            for i in 0..5 {
                sender.try_send(i).unwrap();
            }
        });
        for i in 0..5 {
            assert_eq!(receiver.recv(&forever()), Ok(i));
        }
        peer.join().unwrap();
    });
}

#[test]
fn a_send_that_beats_close_is_delivered() {
    for capacity in [bounded(1), Capacity::Unbounded] {
        model(move || {
            let (sender, receiver) = channel(capacity);
            let closer = sender.clone();
            let peer = thread::spawn(move || sender.try_send(1));
            closer.close();
            let sent = peer.join().unwrap();
            match sent {
                Ok(()) => assert_eq!(receiver.recv(&forever()), Ok(1)),
                Err(error) => assert_eq!(error, SendError::Closed(1)),
            }
            assert_eq!(receiver.recv(&forever()), Err(RecvError::Closed));
        });
    }
}

#[test]
fn close_wakes_a_parked_receiver_and_a_parked_sender() {
    for capacity in ALL {
        model(move || {
            let (receiver, closer) = channel::<i32>(capacity());
            let peer = thread::spawn(move || receiver.recv(&forever()));
            closer.close();
            assert_eq!(peer.join().unwrap(), Err(RecvError::Closed));
        });
    }
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        model(move || {
            let (sender, closer) = channel(capacity);
            let _ = sender.try_send(0);
            let peer = thread::spawn(move || sender.send(1, &forever()));
            closer.close();
            assert_eq!(peer.join().unwrap(), Err(SendError::Closed(1)));
        });
    }
}

#[test]
fn poison_beside_a_send_and_a_receive_drops_each_message_once() {
    for capacity in [bounded(2), Capacity::Unbounded] {
        large_model(move || {
            // A loom Arc tells loom about leaks and double drops.
            let (sender, receiver) = channel::<Arc<()>>(capacity);
            let poisoner = sender.clone();
            sender.try_send(Arc::new(())).ok().unwrap();
            let peers = (
                thread::spawn(move || sender.try_send(Arc::new(())).map_err(drop)),
                thread::spawn(move || receiver.try_recv().map(drop)),
            );
            assert!(poisoner.poison(b"reason"));
            let _ = peers.0.join().unwrap();
            let _ = peers.1.join().unwrap();
            assert_eq!(poisoner.len(), 0);
            assert!(matches!(poisoner.try_recv(), Err(RecvError::Poisoned)));
        });
    }
}

#[test]
fn a_select_takes_exactly_one_of_two_messages() {
    for capacity in [Capacity::Rendezvous, bounded(1)] {
        large_model(move || {
            let (to_left, left) = channel(capacity);
            let (to_right, right) = channel(capacity);
            let peers = [to_left, to_right].map(|sender| {
                thread::spawn(move || match sender.send(1, &forever()) {
                    Ok(()) | Err(SendError::Closed(1)) => {}
                    Err(error) => panic!("{error:?}"),
                })
            });
            let mut cases = [&*left, &*right].map(|channel| Case {
                channel,
                op: Op::Recv,
            });
            let (index, outcome) = select(&mut cases, &forever()).unwrap();
            assert_eq!(outcome, Outcome::Received(1));
            let other = [&left, &right][1 - index];
            assert_eq!(other.recv(&forever()), Ok(1));
            for peer in peers {
                peer.join().unwrap();
            }
            assert_eq!(left.counts().blocked_receivers, 0);
            assert_eq!(right.counts().blocked_receivers, 0);
        });
    }
}

#[test]
fn two_selects_meet_at_a_rendezvous() {
    large_model(|| {
        let (a, b) = channel(Capacity::Rendezvous);
        let peer = thread::spawn(move || {
            let mut cases = [Case {
                channel: &*a,
                op: Op::Send(Some(1)),
            }];
            select(&mut cases, &forever()).unwrap().1
        });
        let mut cases = [Case {
            channel: &*b,
            op: Op::Recv,
        }];
        assert_eq!(
            select(&mut cases, &forever()).unwrap().1,
            Outcome::Received(1)
        );
        assert_eq!(peer.join().unwrap(), Outcome::Sent);
    });
}

#[test]
fn a_message_and_an_interrupt_at_once_lose_nothing() {
    for capacity in ALL {
        large_model(move || {
            let (sender, receiver) = channel(capacity());
            let interrupt = Interrupt::new();
            let raiser = interrupt.clone();
            let peer = thread::spawn(move || {
                raiser.raise();
                sender.try_send(1)
            });
            let wait = Wait {
                interrupt: Some(&interrupt),
                ..forever()
            };
            let first = receiver.recv(&wait);
            let sent = peer.join().unwrap();
            match (first, sent) {
                (Ok(1), Ok(())) | (Err(RecvError::Interrupted), Err(SendError::Full(1))) => {}
                (Err(RecvError::Interrupted), Ok(())) => {
                    assert_eq!(receiver.try_recv(), Ok(1));
                }
                other => panic!("{other:?}"),
            }
        });
    }
}

#[test]
fn a_wake_up_that_its_waiter_cannot_use_is_not_lost_for_the_others() {
    // Two receivers wait; one is interrupted just as a message comes: the other must get it. On a list,
    // where only the one who claimed a message waits for its sender (see the note above).
    large_model(|| {
        let (sender, first) = channel(Capacity::Unbounded);
        let second = first.clone();
        let interrupt = Interrupt::new();
        let raiser = interrupt.clone();
        let interrupted = thread::spawn(move || {
            let wait = Wait {
                interrupt: Some(&interrupt),
                ..forever()
            };
            first.recv(&wait)
        });
        let patient = thread::spawn(move || second.recv(&forever()));
        sender.try_send(1).unwrap();
        raiser.raise();
        if interrupted.join().unwrap() == Ok(1) {
            sender.try_send(2).unwrap();
            assert_eq!(patient.join().unwrap(), Ok(2));
        } else {
            assert_eq!(patient.join().unwrap(), Ok(1));
        }
    });
}

#[test]
fn a_select_without_a_ready_case_says_so() {
    model(|| {
        let (only, _) = channel::<i32>(bounded(1));
        let mut cases = [Case {
            channel: &*only,
            op: Op::Recv,
        }];
        let now = Wait::until(atoll_core::clock::Deadline::NOW);
        assert_eq!(select(&mut cases, &now), Err(SelectError::NoneReady));
    });
}

#[test]
fn a_pending_receive_is_told_of_the_message_that_it_may_take() {
    for capacity in ALL {
        large_model(move || {
            let (sender, receiver) = channel(capacity());
            let called = Arc::new(Channel::new(Capacity::Unbounded));
            let calls = called.clone();
            let peer = thread::spawn(move || sender.send(7, &forever()).unwrap());
            let wake = std::sync::Arc::new(move || called.try_send(()).unwrap());
            let case = Case {
                channel: &*receiver,
                op: Op::Recv,
            };
            let mut state = Pending::begin(vec![case], wake);
            let (_, outcome, _) = loop {
                match state {
                    Ok(chosen) => break chosen,
                    Err(pending) => {
                        calls.recv(&forever()).unwrap();
                        state = pending.finish();
                    }
                }
            };
            assert_eq!(outcome, Outcome::Received(7));
            peer.join().unwrap();
        });
    }
}

#[test]
fn a_pending_receive_that_is_cancelled_leaves_its_message_to_another_receiver() {
    for capacity in ALL {
        large_model(move || {
            let (sender, receiver) = channel(capacity());
            let case = Case {
                channel: &*receiver,
                op: Op::Recv,
            };
            let Err(pending) = Pending::begin(vec![case], std::sync::Arc::new(|| ())) else {
                panic!("nothing was sent yet")
            };
            let peer = thread::spawn(move || sender.send(7, &forever()).unwrap());
            let got = match pending.cancel() {
                // Of a rendezvous: the sender was served already.
                Ok((_, Outcome::Received(message), _)) => message,
                Ok((_, outcome, _)) => panic!("{outcome:?}"),
                Err(_) => receiver.recv(&forever()).unwrap(),
            };
            assert_eq!(got, 7);
            peer.join().unwrap();
        });
    }
}
