//! A TCP proxy on loopback that delays what passes, each way, without narrowing it.
//!
//! Each chunk carries the time at which it is due, so any number of them are under way at once, as on a long wire.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Chunks under way per connection and direction: with 64 KiB each, 64 MiB.
const UNDER_WAY: usize = 1024;

/// A running proxy; dropped, it accepts no more.
pub(crate) struct Proxy {
    port: u16,
    delay: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
    /// Bytes of answers.
    answered: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a port that the system gives and passes to `target` on loopback.
    pub(crate) fn start(target: u16, one_way: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let delay = Arc::new(AtomicU64::new(micros(one_way)));
        let closed = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let proxy =
            Self { port, delay: Arc::clone(&delay), closed: Arc::clone(&closed), answered: Arc::clone(&answered) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                // A broker that is down refuses: so does the proxy, by closing.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    join(&client, &server, &delay, &answered);
                }
            }
        });
        proxy
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that came back from the broker so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Changes the delay of what comes from now on.
    pub(crate) fn set_one_way(&self, one_way: Duration) {
        self.delay.store(micros(one_way), Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn micros(delay: Duration) -> u64 {
    u64::try_from(delay.as_micros()).expect("a delay of less than centuries")
}

fn join(client: &TcpStream, server: &TcpStream, delay: &Arc<AtomicU64>, answered: &Arc<AtomicU64>) {
    for (from, to, counted) in [(client, server, None), (server, client, Some(Arc::clone(answered)))] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        // Nagle would hold back the small chunks whose timing is the point.
        let _ = to.set_nodelay(true);
        let (queue, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(UNDER_WAY);
        let delay = Arc::clone(delay);
        thread::spawn(move || read(from, &queue, &delay, counted.as_deref()));
        thread::spawn(move || write(to, &due));
    }
}

fn read(
    mut from: TcpStream,
    queue: &mpsc::SyncSender<(Instant, Vec<u8>)>,
    delay: &AtomicU64,
    counted: Option<&AtomicU64>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if let Some(counted) = counted {
            counted.fetch_add(length as u64, Ordering::Relaxed);
        }
        let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
        if queue.send((due, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn write(mut to: TcpStream, due: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Ok((when, chunk)) = due.recv() {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    // The other side learns of the end as it would without us.
    let _ = to.shutdown(Shutdown::Both);
}
