//! One thread and one runtime for all nodes of a process: starts with the first node and ends with the last, so that no
//! thread remains after the last `close`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::error::Error;

type Start = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

enum Event {
    Start(Start),
    Ended,
}

/// Where new nodes go while the thread lives. The thread decides to end under this lock, so no node is ever handed to
/// a thread that has ended.
static THREAD: Mutex<Option<UnboundedSender<Event>>> = Mutex::new(None);

/// Runs the future that `start` makes on the thread, until it ends.
pub fn spawn<F, R>(start: F) -> Result<(), Error>
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let mut event = Event::Start(Box::new(move || Box::pin(start())));
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(events) = &*thread {
        match events.send(event) {
            Ok(()) => return Ok(()),
            Err(refused) => event = refused.0,
        }
    }
    *thread = Some(start_thread(event)?);
    Ok(())
}

/// If the system refuses the runtime or the thread, nothing is left behind, and the next node tries again.
fn start_thread(first: Event) -> Result<UnboundedSender<Event>, Error> {
    // Built on the calling thread, so that an error reaches the caller.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Resources { what: "an event queue", cause: error.to_string() })?;
    // Unbounded: it holds no more than the nodes that the application opens.
    let (events, queue) = mpsc::unbounded_channel();
    let _ = events.send(first);
    let back = events.clone();
    std::thread::Builder::new()
        .name("conflux".into())
        .spawn(move || run(&runtime, queue, back))
        .map_err(|error| Error::Resources { what: "a thread", cause: error.to_string() })?;
    Ok(events)
}

fn run(runtime: &Runtime, mut queue: UnboundedReceiver<Event>, events: UnboundedSender<Event>) {
    // Nodes are tasks, as their links are, so that one wakes the other without a system call. It could not wake this
    // outer future that way.
    runtime.block_on(async {
        let mut nodes = 0;
        while let Some(event) = queue.recv().await {
            match event {
                Event::Start(start) => {
                    nodes += 1;
                    let (node, ended) = (start(), Ended(events.clone()));
                    tokio::spawn(async move {
                        let _ended = ended;
                        node.await;
                    });
                }
                Event::Ended => nodes -= 1,
            }
            if nodes == 0 {
                let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.is_empty() {
                    *thread = None;
                    return;
                }
            }
        }
    });
}

/// Reports the end of a node, even if its task panicked.
struct Ended(UnboundedSender<Event>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Ended);
    }
}
