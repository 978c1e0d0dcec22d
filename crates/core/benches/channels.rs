//! Channels beside crossbeam-channel, flume and kanal, on the same work: a 24-byte message, one and
//! several threads a side, bounded and unbounded, single and in batches; and the round trip.
//!
//! `cargo bench -p atoll-core` prints them group by group.

use atoll_core::channel::{Batch, Capacity, Channel};
use atoll_core::park::Wait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::mem::ManuallyDrop;
use std::thread;
use std::time::{Duration, Instant};

type Payload = [u64; 3];

const MESSAGES: usize = 100_000;
const CAPACITY: usize = 1024;

/// One side's view of a channel under test.
trait Sender: Clone + Send {
    fn send(&self, message: Payload);
}
trait Receiver: Clone + Send {
    fn recv(&self) -> Payload;
}

#[derive(Clone)]
struct Atoll(std::sync::Arc<Channel<Payload>>);
impl Sender for Atoll {
    fn send(&self, message: Payload) {
        self.0.send(message, &Wait::forever()).unwrap();
    }
}
impl Receiver for Atoll {
    fn recv(&self) -> Payload {
        self.0.recv(&Wait::forever()).unwrap()
    }
}
fn atoll(capacity: Option<usize>) -> (Atoll, Atoll) {
    let capacity = match capacity {
        None => Capacity::Unbounded,
        Some(0) => Capacity::Rendezvous,
        Some(n) => Capacity::Bounded(n.try_into().unwrap()),
    };
    let channel = Atoll(std::sync::Arc::new(Channel::new(capacity)));
    (channel.clone(), channel)
}

macro_rules! rival {
    ($name:ident, $sender:ty, $receiver:ty, $bounded:path, $unbounded:path) => {
        impl Sender for $sender {
            fn send(&self, message: Payload) {
                <$sender>::send(self, message).unwrap();
            }
        }
        impl Receiver for $receiver {
            fn recv(&self) -> Payload {
                <$receiver>::recv(self).unwrap()
            }
        }
        fn $name(capacity: Option<usize>) -> ($sender, $receiver) {
            match capacity {
                Some(capacity) => $bounded(capacity),
                None => $unbounded(),
            }
        }
    };
}
rival!(
    crossbeam,
    crossbeam_channel::Sender<Payload>,
    crossbeam_channel::Receiver<Payload>,
    crossbeam_channel::bounded,
    crossbeam_channel::unbounded
);
rival!(
    flume_,
    flume::Sender<Payload>,
    flume::Receiver<Payload>,
    flume::bounded,
    flume::unbounded
);
rival!(
    kanal_,
    kanal::Sender<Payload>,
    kanal::Receiver<Payload>,
    kanal::bounded,
    kanal::unbounded
);

/// Moves `MESSAGES` messages from *n* senders to *n* receivers; the time of the whole.
fn stream<S: Sender, R: Receiver>(make: &impl Fn() -> (S, R), n: usize) -> Duration {
    let (sender, receiver) = make();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..n {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            scope.spawn(move || {
                for i in 0..MESSAGES / n {
                    sender.send([i as u64; 3]);
                }
            });
            scope.spawn(move || {
                for _ in 0..MESSAGES / n {
                    std::hint::black_box(receiver.recv());
                }
            });
        }
    });
    begun.elapsed()
}

/// Messages there and back between two threads; the time of the whole.
fn round_trips<S: Sender, R: Receiver>(make: &impl Fn() -> (S, R), count: u64) -> Duration {
    let ((there, at_peer), (back, here)) = (make(), make());
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..count {
                back.send(at_peer.recv());
            }
        });
        let begun = Instant::now();
        for i in 0..count {
            there.send([i; 3]);
            std::hint::black_box(here.recv());
        }
        begun.elapsed()
    })
}

/// As `stream` with one thread a side, in batches of 64 published a chunk at a time.
fn batch_stream(capacity: Capacity) -> Duration {
    let channel = Channel::<Payload>::new(capacity);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for chunk in 0..MESSAGES / 64 {
                let mut messages = [ManuallyDrop::new([chunk as u64; 3]); 64];
                // SAFETY: 64 initialised messages in ManuallyDrop's transparent layout.
                let mut batch = unsafe { Batch::from_raw(messages.as_mut_ptr().cast(), 64) };
                channel.send_batch(&mut batch, &Wait::forever()).unwrap();
            }
            channel.close();
        });
        while channel
            .recv_batch(64, &Wait::forever(), |message| {
                std::hint::black_box(message);
            })
            .is_ok()
        {}
    });
    begun.elapsed()
}

fn compare(c: &mut Criterion) {
    macro_rules! beside_rivals {
        ($group:expr, $run:ident, $capacity:expr, $argument:expr) => {
            for (name, time) in [
                (
                    "atoll",
                    (&|x| $run(&|| atoll($capacity), x)) as &dyn Fn(_) -> Duration,
                ),
                ("crossbeam", &|x| $run(&|| crossbeam($capacity), x)),
                ("flume", &|x| $run(&|| flume_($capacity), x)),
                ("kanal", &|x| $run(&|| kanal_($capacity), x)),
            ] {
                $group.bench_function(BenchmarkId::from_parameter(name), |b| {
                    b.iter_custom(|iterations| $argument(iterations, time));
                });
            }
        };
    }
    for n in [1usize, 4] {
        for (flavour, capacity) in [("bounded", Some(CAPACITY)), ("unbounded", None)] {
            let mut group = c.benchmark_group(format!("{n} to {n} {flavour}"));
            group.throughput(Throughput::Elements(MESSAGES as u64));
            beside_rivals!(group, stream, capacity, |iterations,
                                                     time: &dyn Fn(
                usize,
            )
                -> Duration| {
                (0..iterations).map(|_| time(n)).sum()
            });
            group.finish();
        }
    }
    for (flavour, capacity) in [("bounded", Some(1)), ("rendezvous", Some(0))] {
        let mut group = c.benchmark_group(format!("round trip {flavour}"));
        beside_rivals!(group, round_trips, capacity, |iterations,
                                                      time: &dyn Fn(
            u64,
        )
            -> Duration| {
            time(iterations)
        });
        group.finish();
    }
    let mut group = c.benchmark_group("1 to 1 in batches of 64");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for (name, capacity) in [
        ("bounded", Capacity::Bounded(CAPACITY.try_into().unwrap())),
        ("unbounded", Capacity::Unbounded),
    ] {
        group.bench_function(BenchmarkId::new("atoll", name), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| batch_stream(capacity)).sum());
        });
    }
    group.finish();
}

criterion_group! {
    name = channels;
    config = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = compare
}
criterion_main!(channels);
