//! `--instructions N`: what a request and an event cost in instructions, which no other load on the machine changes.
//!
//! One thread that serves, one connection, one request after another; the mock sends the next event of a stream once
//! the client has the one before. So nothing depends on who is scheduled when, but the storing of records, which is
//! counted apart. With `--threads 2` there are several threads and connections, that have their turn one after the other:
//! what a request costs more than on one thread is what the threads do because of each other.

use std::{collections::VecDeque, path::PathBuf, process::Command, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use crate::{
    answer::Answer,
    callgrind::Profile,
    compare::{Contender, Mock, Pace, Place, Workload, gateway_of, record, times_of_threads},
    layers::Division,
    load,
    process::free_port,
};

/// Requests before it is counted: connections, caches and the first use of everything.
const WARM_UP: u64 = 100;
/// Tokens of the stream.
const TOKENS: u32 = 1_000;
const MODEL: &str = "Qwen3-32B";

/// What was counted, divided by requests or events.
pub(crate) struct Counted {
    pub(crate) count: u64,
    pub(crate) division: Division,
    /// Where the profile is.
    pub(crate) profile: PathBuf,
}

impl Counted {
    pub(crate) fn hot(&self) -> f64 {
        self.division.hot() / self.count as f64
    }

    pub(crate) fn storing(&self) -> f64 {
        self.division.storing() / self.count as f64
    }

    pub(crate) fn allocations(&self) -> f64 {
        self.division.allocations() / self.count as f64
    }

    pub(crate) fn how_to_look(&self) -> String {
        format!("callgrind_annotate --inclusive=yes {} | c++filt", self.profile.display())
    }
}

/// Counts over so many requests, and over one stream, and prints both by layer.
pub(crate) async fn measure(program: &str, requests: u64, threads: usize) -> Result<(), String> {
    let mut counting = Counting::start(program, threads).await?;
    for (what, counted) in
        [("a request", counting.requests(requests).await), ("an event", counting.events().await)]
    {
        println!(
            "{what}, over {} of them: {:.0} instructions and {:.1} allocations, and {:.0} instructions to store records",
            counted.count,
            counted.hot(),
            counted.allocations(),
            counted.storing()
        );
        println!("by function: {}\n\n{}", counted.how_to_look(), counted.division.table(counted.count));
    }
    if threads > 1 {
        let times = times_of_threads(counting.gateway.process_id(), "serve-");
        println!("time of the threads that serve, so that each is seen to have had its part: {times:?}");
    }
    Ok(())
}

/// A gateway under callgrind, and one client.
pub(crate) struct Counting {
    gateway: Contender,
    _mock: Mock,
    whole: Arc<Workload>,
    stream: Arc<Workload>,
    /// Lets the mock send one event each.
    turns: Arc<Semaphore>,
    /// They have their turn one after the other.
    sockets: VecDeque<TcpStream>,
    profile: PathBuf,
    dumps: u32,
}

impl Counting {
    pub(crate) async fn start(program: &str, threads: usize) -> Result<Self, String> {
        for tool in ["valgrind", "callgrind_control", "taskset"] {
            let found = Command::new(tool).arg("--version").output();
            found.map_err(|error| {
                format!("`{tool}` cannot be run ({error}): install the packages valgrind and util-linux")
            })?;
        }
        let turns = Arc::new(Semaphore::new(0));
        let mut whole = Workload::new(4, false, 900, Pace::Free);
        let mut stream = Workload::new(TOKENS, true, 900, Pace::Turns(Arc::clone(&turns)));
        let replays = record(&mut [&mut whole, &mut stream], MODEL).await;
        let upstream = free_port();
        let mock = Mock::start(&[upstream], replays).unwrap();
        // The folder of the gateway goes with it, and people want to look into the profile.
        let profile = std::env::temp_dir().join(format!("gateway.callgrind.{}", std::process::id()));
        // As many threads serve as there are cores for them, on every machine.
        let under = format!(
            "taskset --cpu-list 0-{} valgrind --tool=callgrind --demangle=no --callgrind-out-file={}",
            threads - 1,
            profile.display()
        );
        let under = under.split(' ').map(str::to_owned).collect();
        let place = Place { under, upstream, model: MODEL };
        let gateway = Contender::start(&gateway_of(program), &place).await?;
        let mut sockets = VecDeque::new();
        // Each thread takes those for which it has time: of eight, each has some.
        for _ in 0..if threads == 1 { 1 } else { 8 * threads } {
            sockets.push_back(load::connect(gateway.address).await);
        }
        let (whole, stream) = (Arc::new(whole), Arc::new(stream));
        let mut this = Self { gateway, _mock: mock, whole, stream, turns, sockets, profile, dumps: 0 };
        this.ask(&this.stream.clone()).await;
        for _ in 0..WARM_UP {
            this.ask(&this.whole.clone()).await;
        }
        Ok(this)
    }

    pub(crate) async fn requests(&mut self, requests: u64) -> Counted {
        let whole = Arc::clone(&self.whole);
        self.begin().await;
        for _ in 0..requests {
            self.ask(&whole).await;
        }
        self.end(requests).await
    }

    pub(crate) async fn events(&mut self) -> Counted {
        let stream = Arc::clone(&self.stream);
        self.begin().await;
        self.ask(&stream).await;
        self.end(stream.ends.len() as u64).await
    }

    async fn begin(&self) {
        self.gateway.settle().await;
        self.tell("--zero");
    }

    /// Instructions since the counting began, those for the records that are still to be stored included.
    async fn end(&mut self, count: u64) -> Counted {
        // Not by asking the gateway, which would count.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.tell("--dump");
        self.dumps += 1;
        let profile = PathBuf::from(format!("{}.{}", self.profile.display(), self.dumps));
        let text = std::fs::read_to_string(&profile).unwrap();
        Counted { count, division: Division::of(&Profile::read(&text)), profile }
    }

    /// Sends one request and reads its answer, which has to be the expected one.
    async fn ask(&mut self, workload: &Workload) {
        // What the last events of the stream before have left: with a permit too many, two events come at once.
        self.turns.forget_permits(usize::MAX);
        let request = workload.request(&self.gateway.keys[0], MODEL);
        self.sockets.rotate_left(1);
        let socket = self.sockets.front_mut().expect("there is one at least");
        socket.write_all(&request).await.unwrap();
        let (mut answer, mut body, mut events) = (Answer::new(), Vec::new(), 0);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the connection was closed");
            let ended = answer.take(&buffer[..read], &mut |bytes| body.extend_from_slice(bytes));
            while workload.ends.get(events).is_some_and(|end| *end <= body.len()) {
                events += 1;
                self.turns.add_permits(1);
            }
            if ended {
                break;
            }
        }
        assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&body));
        assert!(body == workload.expected, "not what was expected: {}", String::from_utf8_lossy(&body));
    }

    fn tell(&self, what: &str) {
        let mut control = Command::new("callgrind_control");
        let told = control.args([what, &self.gateway.process_id().to_string()]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    }
}
