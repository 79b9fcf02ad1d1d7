//! This room is the edge to JavaScript, and the only one that knows it.
//!
//! Called by the façade (`lib/native.js`), and by `driver.rs` through [`Application`]. Whatever crosses is one JSON
//! text a turn, each way; nothing here waits, decides, or runs a method. A node has one thread-safe function: two
//! would have no order between them, and an evaluation could overtake the commit that it must see.

mod batch;
mod json;
mod options;
mod status;
mod turn;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::driver::{self, Application, Handle};
use crate::error::Error;
use crate::raft::{Delivery, Input};
use crate::storage::memory::Memory;

/// `deliver(text)`. Weak: the process may exit while a node is open (what keeps it alive is the façade's timer).
/// Its queue has no bound of its own: the core delivers one batch at a time.
type Deliver = ThreadsafeFunction<String, (), String, Status, false, true, 0>;

/// Opens a node. `deliver` is called with one batch at a time (`batch.rs` says what it holds) and must neither throw
/// nor end without calling `answered`.
#[napi(catch_unwind)]
pub fn open(options: String, deliver: Function<'_, String, ()>) -> napi::Result<NativeNode> {
    let options = options::parse(&options).map_err(napi::Error::from_reason)?;
    let deliver = deliver
        .build_threadsafe_function()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<0>()
        .build()?;
    let turn = Arc::new(Turn::default());
    let application = Edge { deliver, turn: turn.clone() };
    let handle = driver::start(options.raft, options.tick, options.channel, Box::new(Memory), application);
    // Nobody else sets it; a node that could not be stopped after a throw would merely wait for its answer.
    let _ = turn.handle.set(handle.clone());
    Ok(NativeNode { handle, turn })
}

/// A node as the façade holds it.
#[napi]
pub struct NativeNode {
    handle: Handle,
    turn: Arc<Turn>,
}

#[napi]
impl NativeNode {
    /// Performs, in this order: `[[sequence,"method",[…args]],…]`.
    #[napi(catch_unwind)]
    pub fn perform(&self, text: String) -> napi::Result<()> {
        let performs = turn::performs(&text).map_err(napi::Error::from_reason)?;
        self.handle.send(Input::Perform(performs));
        Ok(())
    }

    /// Ends the delivered batch: `[0]` for nothing, `[1,action]`, `[2,error]`, one after the other in one flat array.
    #[napi(catch_unwind)]
    pub fn answered(&self, text: String) -> napi::Result<()> {
        let refused = std::mem::take(&mut *self.turn.refused.lock().unwrap_or_else(PoisonError::into_inner));
        let answers = turn::answers(&text, &refused).map_err(napi::Error::from_reason)?;
        self.handle.send(Input::Answered(answers));
        Ok(())
    }

    /// Nobody waits for these performs any longer: `[sequence,…]`.
    #[napi(catch_unwind)]
    pub fn abandon(&self, text: String) -> napi::Result<()> {
        let sequences = turn::sequences(&text).map_err(napi::Error::from_reason)?;
        self.handle.send(Input::Abandon(sequences));
        Ok(())
    }

    /// The node as it last described itself, as the text of a JSON object.
    #[napi(catch_unwind)]
    pub fn status(&self) -> String {
        status::encode(&self.handle.status())
    }

    /// Leaves gracefully; the last delivery says when it is done.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.handle.send(Input::Close { ticks: 200, leaves: true });
    }

    /// Stops now, without grace.
    #[napi(catch_unwind)]
    pub fn kill(&self) {
        self.handle.kill();
    }
}

/// The façade holds the object for as long as its node is open, so it goes only with its environment: when a worker
/// is terminated, or the process ends. Native tasks outlive both; without this a dead worker's voter went on voting.
impl Drop for NativeNode {
    fn drop(&mut self) {
        self.handle.kill();
    }
}

/// What the two directions of a turn share.
#[derive(Default)]
struct Turn {
    /// Which evaluations of the delivered batch were refused here, without asking JavaScript: their positions.
    refused: Mutex<Vec<usize>>,
    handle: OnceLock<Handle>,
}

struct Edge {
    deliver: Deliver,
    turn: Arc<Turn>,
}

impl Edge {
    fn call(&self, text: String) {
        let turn = self.turn.clone();
        // The façade catches whatever its application throws. What still gets here is a bug of the façade, or a
        // worker being terminated in the middle of it: this node ends, the process does not.
        self.deliver.call_with_return_value(
            text,
            ThreadsafeFunctionCallMode::NonBlocking,
            move |returned, _| {
                if let (Err(_), Some(handle)) = (returned, turn.handle.get()) {
                    handle.kill();
                }
                Ok(())
            },
        );
    }
}

impl Application for Edge {
    fn deliver(&self, deliveries: Vec<Delivery>) {
        let batch = batch::encode(&deliveries);
        *self.turn.refused.lock().unwrap_or_else(PoisonError::into_inner) = batch.refused;
        self.call(batch.text);
    }

    fn stopped(&self, error: Option<Error>) {
        self.call(batch::encode_stopped(error.as_ref()));
    }
}
