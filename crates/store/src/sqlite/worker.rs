//! Threads that hold the connections to the database: a caller sends a job and waits for its answer.
//!
//! SQLite blocks, so no connection is ever touched on a thread of the async runtime. A caller that goes away
//! loses only the answer: a job that has begun ends as it would have, inside of its transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// How long a caller waits in all, for its turn and for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a query may take once it runs.
pub(super) const LONGEST_QUERY: Duration = Duration::from_secs(5);
/// Jobs that may wait; further callers wait to hand theirs over.
const QUEUE: usize = 64;
/// How many steps of SQLite's machine pass between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// One or several threads with a connection each, and the queue in front of them.
pub(super) struct Workers {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    longest_query: Duration,
    waiting: Waiting,
}

/// How many jobs have not begun.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// Whether long work that nobody waits for should end where it is, since somebody waits behind it.
    pub(super) fn is_anybody(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn one_more(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(&self.0))
    }
}

/// Of a job that waits: given up when it begins, or is never done.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts one thread for each connection.
    pub(super) fn start(
        name: &str,
        connections: Vec<Connection>,
        longest_query: Duration,
    ) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::with_capacity(connections.len());
        for mut connection in connections {
            let jobs = Arc::clone(&jobs);
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    // One thread waits in the lock for the next job, the others wait for the lock.
                    while let Some(job) = next(&jobs) {
                        job(&mut connection);
                    }
                })
                .map_err(|error| {
                    StoreError::internal("cannot start a thread for the database").because(error)
                })?;
            threads.push(thread);
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
            longest_query,
            waiting: Waiting::default(),
        })
    }

    /// How many wait for what is being done.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Runs a job that writes: once begun it is never cut short.
    pub(super) async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(job).await
    }

    /// Runs a job that only reads: it is ended when it takes too long or when its caller is gone.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let gone = Arc::new(AtomicBool::new(false));
        let caller = Caller(Arc::clone(&gone));
        let longest = self.longest_query;
        let answer = self
            .write(move |connection| {
                if gone.load(Ordering::Relaxed) {
                    return Err(StoreError::unavailable("the caller is gone"));
                }
                let deadline = Instant::now() + longest;
                let too_long = move || gone.load(Ordering::Relaxed) || Instant::now() >= deadline;
                connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(too_long)).map_err(super::failed)?;
                let answer = job(connection);
                connection.progress_handler(0, None::<fn() -> bool>).map_err(super::failed)?;
                answer
            })
            .await;
        drop(caller);
        answer
    }

    async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let (answer, wait) = oneshot::channel();
        let place = self.waiting.one_more();
        let job: Job = Box::new(move |connection| {
            drop(place);
            // A panic rolls the transaction back while it unwinds; the thread and the connection stay of use.
            let result = catch_unwind(AssertUnwindSafe(|| job(connection))).unwrap_or_else(|_| {
                Err(StoreError::internal("a query of the database panicked; see the log"))
            });
            // Whoever asked may be gone; the work is done all the same.
            let _ = answer.send(result);
        });
        let handed_over = async {
            queue.send(job).await.map_err(|_| closed())?;
            wait.await.map_err(|_| closed())?
        };
        tokio::time::timeout(PATIENCE, handed_over).await.unwrap_or_else(|_| {
            Err(StoreError::unavailable(format!(
                "the database did not answer within {} s: its disk may be slow or another process may hold it",
                PATIENCE.as_secs()
            )))
        })
    }

    /// Lets the threads finish what waits, and waits for them; called off the runtime's threads.
    pub(super) fn finish(&self) {
        drop(lock(&self.queue).take());
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // Jobs catch their panics, so there is nothing to report.
            let _ = thread.join();
        }
    }
}

/// Tells the job that its caller waits no longer, when this or the caller's future is dropped.
pub(super) struct Caller(pub(super) Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn next(jobs: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    lock(jobs).blocking_recv()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}
