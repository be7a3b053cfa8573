//! Memory for fetched records: a number of bytes shared by all fetchers of the process.
//!
//! Anyone may hold a [`Permit`]. Laws: a fetch reserves before it asks, gives back what the answer did not use, and the
//! rest is released when the last owner drops it; waiters are served in the order in which they came; one batch larger
//! than what was reserved may pass (brokers send at least one batch, KIP-74), and the next waits until it is paid back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A bounded number of bytes. Cheap to clone; clones share the bytes.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Negative while an oversized batch is out.
    free: i64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    least: i64,
    most: i64,
    ready: oneshot::Sender<Permit>,
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Permit {
    bytes: usize,
    shared: Option<Arc<Shared>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    // The state is two fields changed without a panic between them, so a poisoned lock still holds the truth.
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Budget {
        let capacity = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        let state = Mutex::new(State { free: capacity, waiters: VecDeque::new() });
        Budget { shared: Arc::new(Shared { capacity, state }) }
    }

    /// All of its bytes.
    pub fn capacity(&self) -> usize {
        self.shared.capacity as usize
    }

    /// Bytes that are out, more than the capacity while an oversized batch is held.
    pub fn used(&self) -> usize {
        usize::try_from(self.shared.capacity - lock(&self.shared).free).unwrap_or(0)
    }

    /// Waits until at least `least` bytes are free (never more than the capacity) and takes up to `most` of them.
    pub async fn reserve(&self, least: usize, most: usize) -> Permit {
        let receiver = {
            let mut state = lock(&self.shared);
            let most = i64::try_from(most).unwrap_or(i64::MAX).clamp(1, self.shared.capacity);
            let least = i64::try_from(least).unwrap_or(i64::MAX).clamp(1, most);
            if state.waiters.is_empty() && state.free >= least {
                return self.shared.clone().take(&mut state, most);
            }
            let (ready, receiver) = oneshot::channel();
            state.waiters.push_back(Waiter { least, most, ready });
            receiver
        };
        receiver.await.unwrap_or_else(|_| Permit::none())
    }

    /// Takes bytes without waiting, beyond the capacity if need be: for what is already in memory.
    pub fn take(&self, bytes: usize) -> Permit {
        lock(&self.shared).free -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Permit { bytes, shared: Some(self.shared.clone()) }
    }
}

impl Shared {
    fn take(self: Arc<Self>, state: &mut State, most: i64) -> Permit {
        let bytes = most.min(state.free);
        state.free -= bytes;
        Permit { bytes: bytes as usize, shared: Some(self) }
    }

    fn give(self: &Arc<Self>, bytes: usize) {
        let mut ready = Vec::new();
        {
            let mut state = lock(self);
            state.free += bytes as i64;
            while state.waiters.front().is_some_and(|waiter| state.free >= waiter.least) {
                let Some(waiter) = state.waiters.pop_front() else { break };
                if waiter.ready.is_closed() {
                    continue;
                }
                let permit = self.clone().take(&mut state, waiter.most);
                ready.push((waiter.ready, permit));
            }
        }
        // Outside the lock: a waiter that went away drops its permit right here, which locks again.
        for (waiter, permit) in ready {
            let _ = waiter.send(permit);
        }
    }
}

impl Permit {
    /// Holds nothing.
    pub const fn none() -> Permit {
        Permit { bytes: 0, shared: None }
    }

    /// Bytes held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            drop(self.split(self.bytes - bytes));
        }
    }

    /// Takes `bytes` out of this permit into one of its own; what is missing is taken beyond the capacity.
    pub fn split(&mut self, bytes: usize) -> Permit {
        let Some(shared) = &self.shared else { return Permit::none() };
        if bytes > self.bytes {
            lock(shared).free -= (bytes - self.bytes) as i64;
            self.bytes = bytes;
        }
        self.bytes -= bytes;
        Permit { bytes, shared: Some(shared.clone()) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared
            && self.bytes > 0
        {
            shared.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waiters_are_served_in_order_and_the_rest_comes_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(10, 80).now_or_never().expect("free");
        assert_eq!((first.bytes(), budget.used()), (80, 80));
        let mut second = Box::pin(budget.reserve(50, 60));
        let mut third = Box::pin(budget.reserve(1, 10));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none(), "no overtaking");
        first.shrink_to(30);
        assert_eq!(second.now_or_never().expect("served").bytes(), 60);
        drop(first);
        assert_eq!(third.now_or_never().expect("served").bytes(), 10);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_oversized_batch_passes_and_is_paid_back() {
        let budget = Budget::new(100);
        let mut reserved = budget.reserve(1, 40).now_or_never().expect("free");
        let batch = reserved.split(500);
        drop(reserved);
        assert_eq!(budget.used(), 500);
        assert!(budget.reserve(1, 1).now_or_never().is_none());
        drop(batch);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(1000, 1000).now_or_never().is_some_and(|permit| permit.bytes() == 100));
    }

    #[test]
    fn a_waiter_that_left_costs_nothing() {
        let budget = Budget::new(10);
        let held = budget.reserve(10, 10).now_or_never().expect("free");
        let mut gone = Box::pin(budget.reserve(5, 5));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(10, 10).now_or_never().is_some());
    }

    proptest! {
        /// Whatever is reserved, split, shrunk and dropped: in the end everything is free again, and the sum held is what is used.
        #[test]
        fn bytes_are_conserved(steps in prop::collection::vec((0..4_u8, 0..50_usize, 0..8_usize), 0..60)) {
            let budget = Budget::new(100);
            let mut held: Vec<Permit> = Vec::new();
            for (step, bytes, at) in steps {
                match step {
                    0 => held.extend(budget.reserve(1, bytes).now_or_never()),
                    1 if !held.is_empty() => { let at = at % held.len(); let part = held[at].split(bytes); held.push(part); }
                    2 if !held.is_empty() => { let at = at % held.len(); held[at].shrink_to(bytes); }
                    3 if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    _ => {}
                }
                prop_assert_eq!(budget.used(), held.iter().map(Permit::bytes).sum::<usize>());
            }
            drop(held);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
