//! Owned tasks, back-off and deadlines: the only place that starts a task.
//!
//! Anyone may use it; it uses no sibling. Laws: a [`Task`] that is dropped is aborted, so no task outlives its owner;
//! a blocking call never runs on the runtime's threads and always has a deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;

/// A running task, owned: dropping it aborts it.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct Task<T> {
    name: String,
    handle: tokio::task::JoinHandle<T>,
}

/// A task ended without a value: it panicked or was aborted.
#[derive(Debug, thiserror::Error)]
#[error("task {name} {what}")]
pub struct TaskLost {
    /// The task's name.
    pub name: String,
    /// `panicked` or `was aborted`.
    pub what: &'static str,
}

/// Starts `future` as a task owned by the returned handle.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn<F>(name: impl Into<String>, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task { name: name.into(), handle: tokio::spawn(future) }
}

/// Runs a blocking call off the runtime and waits for it until `deadline`.
///
/// # Errors
/// [`Blocked::Late`] when the deadline passes (the thread is left to finish on its own: a blocking call can't be
/// aborted, so `call` must bound itself too), [`Blocked::Lost`] when it panicked.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub async fn blocking<T, F>(name: &'static str, deadline: Duration, call: F) -> Result<T, Blocked>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::time::timeout(deadline, tokio::task::spawn_blocking(call)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Blocked::Lost(name)),
        Err(_) => Err(Blocked::Late(name, deadline)),
    }
}

/// Why a blocking call gave no value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Blocked {
    /// It did not end in time.
    #[error("{0} did not end within {1:?}")]
    Late(&'static str, Duration),
    /// It panicked.
    #[error("{0} panicked")]
    Lost(&'static str),
}

/// Capped exponential back-off with full jitter.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempts: u32,
}

// === impl Task ===

impl<T> Task<T> {
    /// The task's name, for "still running: ..." lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks the task to stop at its next await; its value is lost.
    pub fn abort(&self) {
        self.handle.abort();
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.handle).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(value)) => Poll::Ready(Ok(value)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(TaskLost {
                name: self.name.clone(),
                what: if error.is_panic() { "panicked" } else { "was aborted" },
            })),
        }
    }
}

// === impl Backoff ===

impl Backoff {
    /// A back-off that starts near `first` and never waits longer than `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, attempts: 0 }
    }

    /// The next wait: between half of, and the whole of, the doubled step.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.first.saturating_mul(1u32 << self.attempts.min(20)).min(self.cap);
        self.attempts = self.attempts.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Attempts since the last reset.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Forgets the attempts: the next wait is a short one.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_cap_and_resets() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let delays: Vec<_> = (0..10).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(100));
        assert!(delays[9] >= Duration::from_secs(1) && delays[9] <= Duration::from_secs(2));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_dropped_task_is_aborted() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let task = spawn("holder", async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(receiver.await.is_err());
    }

    #[tokio::test]
    async fn a_late_blocking_call_is_an_error() {
        let late = blocking("sleep", Duration::from_millis(5), || std::thread::sleep(Duration::from_millis(200))).await;
        assert!(matches!(late, Err(Blocked::Late("sleep", _))));
    }
}
