//! The token that a cluster's connections share: fetched when it is wanted, once however many want it.
//!
//! It is replaced when a part of its lifetime is over (`sasl.login.refresh.*`), at the first use after that. While it
//! is valid, a failure to replace it is no failure: the old one serves, and the origin is asked again after a back-off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use rand::Rng;
use tokio::time::Instant;

use super::{Refresh, Token};
use crate::kafka::Error;
use crate::supervise::Backoff;

/// Where tokens come from.
pub(crate) trait TokenSource: Send + Sync {
    /// Asks for a new token. It bounds its own waiting (law 10).
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>>;
}

/// A broker counts a session's end by its own clock.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

type Fetching = BoxFuture<'static, Result<Arc<Token>, Error>>;

/// The shared token.
pub(crate) struct Tokens {
    source: Arc<dyn TokenSource>,
    state: Arc<Mutex<State>>,
    refresh: Refresh,
}

struct State {
    held: Option<Held>,
    fetching: Option<WeakShared<Fetching>>,
    failed: Option<(Instant, Error)>,
    backoff: Backoff,
}

#[derive(Clone)]
struct Held {
    token: Arc<Token>,
    replace_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub(crate) fn new(source: Arc<dyn TokenSource>, refresh: Refresh) -> Self {
        let backoff = Backoff::new(refresh.backoff, refresh.backoff_max);
        let state = State { held: None, fetching: None, failed: None, backoff };
        Self { source, state: Arc::new(Mutex::new(state)), refresh }
    }

    /// A valid token; a new one if the one that is kept ends no later than `outlive`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn current(&self, outlive: Option<Instant>) -> Result<Arc<Token>, Error> {
        let fetching = {
            let mut state = lock(&self.state);
            let now = Instant::now();
            let outlives = |held: &&Held| outlive.is_none_or(|at| held.ends_at > at + CLOCKS_DIFFER);
            if let Some(held) = state.held.as_ref().filter(|held| now < held.replace_at).filter(outlives) {
                return Ok(held.token.clone());
            }
            if let Some((until, error)) = &state.failed
                && now < *until
            {
                return state.valid().ok_or_else(|| error.clone());
            }
            let running = state.fetching.as_ref().and_then(|weak| weak.upgrade());
            match running.filter(|shared| shared.peek().is_none()) {
                Some(shared) => shared,
                None => self.start(&mut state),
            }
        };
        match fetching.await {
            Ok(token) => Ok(token),
            Err(error) => lock(&self.state).valid().ok_or(error),
        }
    }

    fn start(&self, state: &mut State) -> Shared<Fetching> {
        let (source, shared, refresh) = (self.source.clone(), self.state.clone(), self.refresh.clone());
        let fetching: Fetching = Box::pin(async move {
            let fetched = source.fetch().await;
            lock(&shared).settle(fetched, &refresh)
        });
        let fetching = fetching.shared();
        state.fetching = fetching.downgrade();
        fetching
    }
}

impl State {
    fn valid(&self) -> Option<Arc<Token>> {
        self.held.as_ref().filter(|held| Instant::now() < held.ends_at).map(|held| held.token.clone())
    }

    fn settle(&mut self, fetched: Result<Token, Error>, refresh: &Refresh) -> Result<Arc<Token>, Error> {
        let (now, today) = (Instant::now(), SystemTime::now());
        match fetched {
            Ok(token) => {
                let left = token.left(today);
                let after = refresh.after(token.age(today), left, rand::rng().random());
                let token = Arc::new(token);
                self.held = Some(Held { token: token.clone(), replace_at: now + after, ends_at: now + left });
                self.failed = None;
                self.backoff.reset();
                Ok(token)
            }
            Err(error) => {
                tracing::warn!(%error, "no new token");
                self.failed = Some((now + self.backoff.next_delay(), error.clone()));
                Err(error)
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here is left half-changed by a panic.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives tokens of a lifetime, counted; fails while told to.
    #[derive(Default)]
    struct Counted {
        fetched: AtomicUsize,
        failing: std::sync::atomic::AtomicBool,
        lifetime: Duration,
    }

    impl TokenSource for Counted {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
            Box::pin(async {
                let number = self.fetched.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                if self.failing.load(Ordering::SeqCst) {
                    return Err(Error::Settings { what: "test".into(), message: format!("failure {number}") });
                }
                let now = SystemTime::now();
                Ok(Token::new(format!("token {number}"), now, now + self.lifetime))
            })
        }
    }

    fn tokens(lifetime: Duration) -> (Arc<Counted>, Tokens) {
        let source = Arc::new(Counted { lifetime, ..Counted::default() });
        let refresh = Refresh { window_jitter: 0, backoff: Duration::from_secs(10), ..Refresh::default() };
        (source.clone(), Tokens::new(source, refresh))
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_however_many_want_it() {
        let (source, tokens) = tokens(Duration::from_secs(1000));
        let all = futures::future::join_all((0..50).map(|_| tokens.current(None))).await;
        assert!(all.into_iter().all(|token| token.unwrap().expose() == "token 0"));
        assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(690)).await;
        assert_eq!(tokens.current(None).await.unwrap().expose(), "token 0");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(tokens.current(None).await.unwrap().expose(), "token 1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_valid_token_serves_while_its_origin_fails() {
        let (source, tokens) = tokens(Duration::from_secs(1000));
        tokens.current(None).await.unwrap();
        source.failing.store(true, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(800)).await;
        for _ in 0..3 {
            assert_eq!(tokens.current(None).await.unwrap().expose(), "token 0");
        }
        // The second and third did not ask again: the origin is left alone for a moment.
        assert_eq!(source.fetched.load(Ordering::SeqCst), 2);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(tokens.current(None).await.unwrap_err().to_string().contains("failure 2"));
        source.failing.store(false, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(tokens.current(None).await.unwrap().expose(), "token 3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_renewed_with_a_token_that_outlives_it() {
        let (_, tokens) = tokens(Duration::from_secs(1000));
        tokens.current(None).await.unwrap();
        let in_seconds = |s| Some(Instant::now() + Duration::from_secs(s));
        assert_eq!(tokens.current(in_seconds(100)).await.unwrap().expose(), "token 0");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(tokens.current(in_seconds(990)).await.unwrap().expose(), "token 1");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_does_not_stop_the_others() {
        let (source, tokens) = tokens(Duration::from_secs(1000));
        let impatient = tokio::time::timeout(Duration::from_millis(1), tokens.current(None));
        let (impatient, patient) = tokio::join!(impatient, tokens.current(None));
        assert!(impatient.is_err());
        assert_eq!(patient.unwrap().expose(), "token 0");
        // Everybody gives up: the next one begins anew.
        tokio::time::advance(Duration::from_secs(990)).await;
        assert!(tokio::time::timeout(Duration::from_millis(1), tokens.current(None)).await.is_err());
        assert_eq!(tokens.current(None).await.unwrap().expose(), "token 2");
        assert_eq!(source.fetched.load(Ordering::SeqCst), 3);
    }
}
