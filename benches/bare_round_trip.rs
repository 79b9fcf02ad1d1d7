//! Measures the limit that Redis sets: A publishes, B hears and publishes, A hears, in two processes, through
//! the client that the Redis channel uses and nothing else.
//!
//! `cargo bench --bench bare_round_trip -- redis://… <seconds>`; it starts itself a second time, for B. Prints one line
//! of JSON, in milliseconds. Called by `peers/bare.js`.

mod bare;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bare::{connect, publish};
use futures_util::StreamExt;

const FRAME_BYTES: usize = 150;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo bench` adds an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [url, what] = arguments.as_slice() else { panic!("usage: <redis URL> <seconds>") };
    if what == "echo" {
        return echo(url).await;
    }
    let seconds = what.parse().expect("a number of seconds");
    let program = std::env::current_exe().expect("the program has a name");
    let mut other = Command::new(program)
        .args([url, "echo"])
        .stdin(Stdio::null())
        .spawn()
        .expect("the program can be started again");
    let times = ask(url, Duration::from_secs_f64(seconds)).await;
    other.kill().expect("the other process is ours");
    other.wait().expect("the other process is ours");
    report(times);
}

async fn echo(url: &str) {
    let (mut connection, mut messages) = connect(url, "conflux:bench:two").await;
    while let Some(message) = messages.next().await {
        publish(&mut connection, "conflux:bench:one", message.get_payload_bytes()).await;
    }
}

async fn ask(url: &str, duration: Duration) -> Vec<Duration> {
    let (mut connection, mut messages) = connect(url, "conflux:bench:one").await;
    let frame = vec![b'x'; FRAME_BYTES];
    // Until the other hears, what is published is lost.
    loop {
        publish(&mut connection, "conflux:bench:two", &frame).await;
        if tokio::time::timeout(Duration::from_millis(50), messages.next()).await.is_ok() {
            break;
        }
    }
    // What was published while the other was slow to come may be answered yet.
    while tokio::time::timeout(Duration::from_millis(50), messages.next()).await.is_ok() {}
    let mut times = Vec::new();
    let end = Instant::now() + duration;
    while times.is_empty() || Instant::now() < end {
        let begin = Instant::now();
        publish(&mut connection, "conflux:bench:two", &frame).await;
        messages.next().await.expect("the server lives");
        times.push(begin.elapsed());
    }
    times
}

fn report(mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!("{{\"p50\":{},\"p99\":{},\"samples\":{}}}", at(50), at(99), times.len());
}
