use proptest::prelude::*;

use super::*;

fn done(tag: u64, base_offset: i64) -> Action {
    Action::Done { tag, records: 10, base_offset: Some(base_offset) }
}

fn written(base_offset: i64) -> Reply {
    Reply::Written { base_offset }
}

/// A window that has proven its identity with batch 0 (sequence 0, ten records at offset 0).
fn proven() -> Window {
    let mut window = Window::new(0);
    assert_eq!(window.push(10, 0), Some(0));
    assert_eq!(window.on_ack(0, written(0)), vec![done(0, 0)]);
    window
}

#[test]
fn the_first_batch_goes_alone() {
    let mut window = Window::new(0);
    assert_eq!(window.push(10, 0), Some(0));
    assert!(!window.room());
    assert_eq!(window.push(10, 1), None);
    assert_eq!(window.on_ack(0, Reply::Retry), vec![Action::Send { tag: 0, sequence: 0 }]);
    assert!(!window.room());
    assert_eq!(window.on_ack(0, written(7)), vec![done(0, 7)]);
    for tag in 1..=5 {
        assert_eq!(window.push(10, tag), Some(tag as i32 * 10));
    }
    assert!(!window.room());
}

#[test]
fn first_alone_comes_back_when_required() {
    let mut window = proven();
    window.require_first_alone();
    assert!(window.push(10, 1).is_some());
    assert!(!window.room());
    window.on_ack(1, Reply::Duplicate);
    assert!(window.push(10, 2).is_some() && window.room());
}

#[test]
fn followers_of_a_failed_batch_go_again_in_order_with_their_sequences() {
    let mut window = proven();
    for tag in 1..=3 {
        window.push(10, tag);
    }
    assert_eq!(window.on_ack(1, Reply::Retry), vec![]);
    assert_eq!(window.on_ack(2, Reply::OutOfOrder), vec![]);
    assert!(!window.room());
    assert_eq!(
        window.on_ack(3, Reply::OutOfOrder),
        vec![
            Action::Send { tag: 1, sequence: 10 },
            Action::Send { tag: 2, sequence: 20 },
            Action::Send { tag: 3, sequence: 30 }
        ]
    );
}

#[test]
fn done_waits_for_what_comes_before() {
    let mut window = proven();
    window.push(10, 1);
    window.push(10, 2);
    assert_eq!(window.on_ack(1, Reply::Retry), vec![], "the answer was lost, the batch was not");
    assert_eq!(window.on_ack(2, written(20)), vec![Action::Send { tag: 1, sequence: 10 }]);
    assert_eq!(window.on_ack(1, written(10)), vec![done(1, 10), done(2, 20)]);
    assert!(window.settled());
}

#[test]
fn out_of_order_without_a_reason_is_lost() {
    let mut window = proven();
    window.push(10, 1);
    window.push(10, 2);
    assert_eq!(window.on_ack(1, Reply::OutOfOrder), vec![], "2 still has to answer");
    assert_eq!(window.on_ack(2, Reply::OutOfOrder), vec![Action::End(Verdict::Lost)]);
    assert!(window.ended() && !window.room());
}

#[test]
fn a_batch_too_large_is_split_within_its_range() {
    let mut window = proven();
    window.push(10, 1);
    window.push(10, 2);
    window.on_ack(1, Reply::TooLarge);
    assert_eq!(window.on_ack(2, Reply::OutOfOrder), vec![Action::Split { tag: 1, records: 10 }]);
    assert_eq!(window.split(1, &[(11, 4), (12, 5)]), vec![], "9 of 10");
    assert_eq!(
        window.split(1, &[(11, 4), (12, 6)]),
        vec![
            Action::Send { tag: 11, sequence: 10 },
            Action::Send { tag: 12, sequence: 14 },
            Action::Send { tag: 2, sequence: 20 }
        ]
    );
    let mut single = proven();
    single.push(1, 1);
    assert_eq!(single.on_ack(1, Reply::TooLarge), vec![Action::End(Verdict::TooLarge { tag: 1 })]);
}

#[test]
fn parts_beyond_five_wait_for_room() {
    let mut window = proven();
    window.push(10, 1);
    window.on_ack(1, Reply::TooLarge);
    let parts: Vec<(u64, i32)> = (10..20).map(|tag| (tag, 1)).collect();
    assert_eq!(window.split(1, &parts).len(), 5);
    assert!(!window.room());
    let next = window.on_ack(10, written(10));
    assert_eq!(next[1..], [Action::Send { tag: 15, sequence: 15 }]);
}

#[test]
fn fenced_ends_and_a_refusal_names_its_code() {
    let mut window = proven();
    window.push(10, 1);
    assert_eq!(window.on_ack(1, Reply::from_code(47, -1)), vec![Action::End(Verdict::Fenced)]);
    let mut window = proven();
    window.push(10, 1);
    window.push(10, 2);
    assert_eq!(window.on_ack(1, written(10)), vec![done(1, 10)]);
    assert_eq!(window.on_ack(2, Reply::from_code(32, -1)), vec![Action::Send { tag: 2, sequence: 20 }]);
    assert_eq!(window.on_ack(2, Reply::Refused(32)), vec![Action::End(Verdict::Refused { tag: 2, code: 32 })]);
}

#[test]
fn plain_sends_one_at_a_time_without_sequences() {
    let mut window = Window::plain();
    assert_eq!(window.push(10, 0), Some(-1));
    assert!(!window.room());
    assert_eq!(window.on_ack(0, Reply::Retry), vec![Action::Send { tag: 0, sequence: -1 }]);
    window.on_ack(0, written(0));
    assert_eq!(window.push(10, 1), Some(-1));
    assert!(!window.room());
}

#[test]
fn sequences_wrap() {
    assert_eq!(advance(i32::MAX, 1), 0);
    assert_eq!(advance(i32::MAX - 4, 10), 5);
    let mut window = Window::new(i32::MAX - 4);
    window.push(10, 1);
    window.on_ack(1, Reply::TooLarge);
    window.split(1, &[(2, 5), (3, 5)]);
    assert_eq!(window.unresolved().collect::<Vec<_>>(), vec![(2, i32::MAX - 4), (3, 0)]);
    assert_eq!(window.next_sequence(), 5);
}

/// A batch as the broker sees it.
#[derive(Clone, Debug)]
struct Request {
    tag: u64,
    sequence: i32,
    payload: Vec<u32>,
}

/// One partition of a broker: what `ProducerAppendInfo` and `ProducerStateManager` do.
#[derive(Default)]
struct Broker {
    log: Vec<u32>,
    /// (first sequence, records, base offset) of the last five batches; empty = no state for the identity.
    last: VecDeque<(i32, i32, i64)>,
    most_records: usize,
}

impl Broker {
    fn produce(&mut self, request: &Request) -> (i16, i64) {
        let records = request.payload.len() as i32;
        if request.payload.len() > self.most_records {
            return (10, -1);
        }
        if let Some(repeat) = self.last.iter().find(|b| b.0 == request.sequence && b.1 == records) {
            return (0, repeat.2);
        }
        if let Some(&(first, count, _)) = self.last.back()
            && advance(first, count) != request.sequence
        {
            return (45, -1);
        }
        let base = self.log.len() as i64;
        self.log.extend(&request.payload);
        self.last.push_back((request.sequence, records, base));
        if self.last.len() > MAX_IN_FLIGHT {
            self.last.pop_front();
        }
        (0, base)
    }
}

/// What happens next in the world.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Push a new batch of so many records.
    Push(usize),
    /// The broker handles the oldest request on the connection.
    Handle,
    /// ... but refuses it before it is appended.
    RefuseBefore,
    /// ... or appends it and says that it timed out.
    TimeOutAfter,
    /// The connection breaks: all its requests are unanswered; the first so many still reach the broker, later.
    Break(usize),
    /// The broker handles a request left from a broken connection.
    Straggler,
    /// The caller was idle, or so.
    FirstAlone,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..8_usize).prop_map(Event::Push),
        6 => Just(Event::Handle),
        1 => Just(Event::RefuseBefore),
        1 => Just(Event::TimeOutAfter),
        1 => (0..6_usize).prop_map(Event::Break),
        1 => Just(Event::Straggler),
        1 => Just(Event::FirstAlone),
    ]
}

struct World {
    window: Window,
    broker: Broker,
    wire: VecDeque<Request>,
    stragglers: VecDeque<Request>,
    batches: std::collections::HashMap<u64, Vec<u32>>,
    tags: u64,
    written: u32,
    done: Vec<u32>,
}

impl World {
    fn send(&mut self, tag: u64, sequence: i32) {
        self.wire.push_back(Request { tag, sequence, payload: self.batches[&tag].clone() });
    }

    fn follow(&mut self, actions: Vec<Action>) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Send { tag, sequence } => self.send(tag, sequence),
                Action::Done { tag, base_offset, records } => {
                    let payload = self.batches.remove(&tag).expect("done once");
                    prop_assert_eq!(payload.len(), records as usize);
                    let at = base_offset.expect("told") as usize;
                    prop_assert_eq!(&self.broker.log[at..at + payload.len()], &payload[..]);
                    self.done.extend(payload);
                }
                Action::Split { tag, .. } => {
                    let payload = self.batches.remove(&tag).expect("there");
                    let mut parts = Vec::new();
                    for half in payload.chunks(payload.len().div_ceil(2)) {
                        self.tags += 1;
                        self.batches.insert(self.tags, half.to_vec());
                        parts.push((self.tags, half.len() as i32));
                    }
                    let actions = self.window.split(tag, &parts);
                    self.follow(actions)?;
                }
                Action::End(verdict) => return Err(TestCaseError::fail(format!("ended: {verdict:?}"))),
            }
        }
        Ok(())
    }

    fn ack(&mut self, tag: u64, code: i16, base: i64) -> Result<(), TestCaseError> {
        let actions = self.window.on_ack(tag, Reply::from_code(code, base));
        self.follow(actions)
    }

    fn step(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Push(records) => {
                self.tags += 1;
                if let Some(sequence) = self.window.push(records as i32, self.tags) {
                    let payload = (self.written..self.written + records as u32).collect();
                    self.written += records as u32;
                    self.batches.insert(self.tags, payload);
                    self.send(self.tags, sequence);
                }
            }
            Event::Handle | Event::RefuseBefore | Event::TimeOutAfter => {
                let Some(request) = self.wire.pop_front() else { return Ok(()) };
                let (code, base) = match event {
                    Event::RefuseBefore => (19, -1),
                    _ => self.broker.produce(&request),
                };
                let lost = matches!(event, Event::TimeOutAfter) && code == 0;
                self.ack(request.tag, if lost { 7 } else { code }, if lost { -1 } else { base })?;
            }
            Event::Break(arrive) => {
                let broken = std::mem::take(&mut self.wire);
                self.stragglers.extend(broken.iter().take(arrive).cloned());
                for request in broken {
                    self.ack(request.tag, 13, -1)?;
                }
            }
            Event::Straggler => {
                if let Some(request) = self.stragglers.pop_front() {
                    self.broker.produce(&request);
                }
            }
            Event::FirstAlone => self.window.require_first_alone(),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever fails, is lost, is late or is too large: the log is the input, each record once, in order.
    #[test]
    fn the_log_is_the_input(
        events in prop::collection::vec(event(), 0..150),
        most_records in 2..9_usize,
        start in prop_oneof![Just(0), Just(i32::MAX - 20)],
    ) {
        let mut world = World {
            window: Window::new(start),
            broker: Broker { most_records, ..Broker::default() },
            wire: VecDeque::new(),
            stragglers: VecDeque::new(),
            batches: std::collections::HashMap::new(),
            tags: 0,
            written: 0,
            done: Vec::new(),
        };
        for event in events {
            world.step(event)?;
            prop_assert!(world.wire.len() <= MAX_IN_FLIGHT);
        }
        for _ in 0..10_000 {
            if world.wire.is_empty() {
                break;
            }
            world.step(Event::Handle)?;
        }
        prop_assert!(world.window.settled());
        let input: Vec<u32> = (0..world.written).collect();
        prop_assert_eq!(&world.broker.log, &input);
        prop_assert_eq!(&world.done, &input);
    }
}
