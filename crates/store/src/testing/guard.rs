//! A shell between the tests and their server: when the tests end, in whatever way, so does the server.
//!
//! The shell reads from a pipe whose other end only the test process holds. A panic, `abort`, a kill from
//! outside: the kernel closes that end, the shell reads the end of the file, kills the server and removes its
//! data. (`PR_SET_PDEATHSIG` would fire when the *thread* ends that started the server, and static values are
//! never dropped.)

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

const STARTING: Duration = Duration::from_mins(1);

/// Its own name is the folder. A line on its input kills the server and leaves the data.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1
shift
"$@" </dev/null 2>&1 &
echo "pid $!"
if read -r order; then keep=1; else keep=0; fi
kill -KILL $! 2>/dev/null
wait $! 2>/dev/null
[ "$keep" = 1 ] || rm -rf "$folder"
"#;

pub(super) struct Guard {
    shell: Child,
    input: Option<ChildStdin>,
    pid: u32,
}

impl Guard {
    /// Starts the server and waits until it listens; gives its port.
    pub(super) fn start(program: &Path, folder: &Path, arguments: &[String]) -> (Self, u16) {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a test machine has sh");
        let input = shell.stdin.take();
        let output = shell.stdout.take().expect("it was asked for");
        let (found, wait) = mpsc::channel();
        // Reads on after the start: a full pipe would block the server.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = found.send(line);
            }
        });
        let (mut pid, mut said) = (None, Vec::new());
        let deadline = std::time::Instant::now() + STARTING;
        loop {
            match wait.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())) {
                Ok(line) => {
                    if let Some(number) = line.strip_prefix("pid ") {
                        pid = number.parse().ok();
                    }
                    if let Some(port) = port_in(&line) {
                        let pid = pid.expect("the shell writes it before the server starts");
                        return (Self { shell, input, pid }, port);
                    }
                    said.push(line);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    drop(input);
                    let _ = shell.wait();
                    let last = said.iter().rev().take(5).rev().cloned().collect::<Vec<_>>().join("\n");
                    panic!(
                        "{} did not start; run `scripts/test-tools` to check the installation. It said:\n{last}",
                        program.display()
                    );
                }
            }
        }
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the server and leaves its data.
    pub(super) fn kill(mut self) {
        if let Some(input) = &mut self.input {
            input.write_all(b"keep\n").expect("the shell waits for a line");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

/// The port in the server's line about it: `… "Waiting for connections","attr":{"port":27017,…`.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("\"Waiting for connections\"")?;
    let (_, digits) = rest.split_once("\"port\":")?;
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
