//! The boundary to JavaScript, and the only module that uses it.
//!
//! Called by the façade (`lib/native.js`), and by `driver.rs` through [`Application`]. One JSON text per turn crosses
//! in each direction; beside it, large texts, and the states of snapshots in pieces. Nothing here waits, decides, or
//! runs a method. A node has one thread-safe function: two would have no order between them, and an evaluation could
//! overtake the commit that it must see.

mod asked;
mod batch;
mod channel;
mod custom;
mod delivery_kinds;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod options;
mod state_pieces;
mod status;
mod turn;
mod turn_functions;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use napi::Env;
use napi::Status;
use napi::bindgen_prelude::{
    Buffer, BufferSlice, ClassInstance, Either, FnArgs, Function, JavaScriptClassExt, Promise,
};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::channel::custom::OpenLinks;
use crate::channel::memory::Isolation;
use crate::channel::sealed::Security;
use crate::driver::{self, Application, Handle};
use crate::error::Error;
use crate::raft::events::{Hashed, TakenSnapshot};
use crate::raft::{Delivery, Input, Target};
use asked::Asked;
use batch::Batch;
use state_pieces::StatePieces;

/// A batch: its text, and the texts beside it, if there are any.
type BatchTexts = (String, Option<Vec<String>>);
/// `deliver(text, beside)`
type Arguments = FnArgs<BatchTexts>;

/// Weak: the process may exit while a node is open (what keeps it alive is the façade's timer).
/// Its queue has no bound of its own: the core delivers at most two batches at a time.
type Deliver = ThreadsafeFunction<BatchTexts, (), Arguments, Status, false, true, 0>;

/// Leaves 53 bits of a seed: a JavaScript number holds no more.
const SEED_SHIFT: u32 = 11;

/// Opens a node. `deliver` is called with one batch after the other (`batch.rs` says what it holds) and must neither throw
/// nor end without calling `answered`. `asked`, if given, is called whenever the channel needs what only the
/// application knows; `channel` is notified of the work of a custom channel. The text of an error begins with its
/// code, because napi has only codes of its own.
#[napi(catch_unwind)]
pub fn open<'env>(
    env: &'env Env,
    options: String,
    deliver: Function<'_, Arguments, ()>,
    asked: Option<Function<'_, (), Promise<String>>>,
    channel: Option<Function<'_, custom::Arguments, ()>>,
) -> napi::Result<ClassInstance<'env, NativeNode>> {
    let asked = asked.map(Asked::new).transpose()?;
    let script = channel.map(custom::of).transpose()?;
    let options = options::parse(&options, asked, script).map_err(refusal)?;
    let deliver = deliver
        .build_threadsafe_function::<BatchTexts>()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<0>()
        .build_callback(|call| Ok(FnArgs { data: call.value }))?;
    let turn = Arc::new(Turn::default());
    let application = JavaScriptApplication { deliver: Arc::new(deliver), turn: turn.clone() };
    let (tick, isolation, security, links) =
        (options.tick, options.isolation, options.security, options.links);
    let handle =
        driver::start(options.raft, tick, options.channel, options.storage, application).map_err(refusal)?;
    // Set only here. Without it, a node could not be stopped after an exception, and would wait for its answer.
    let _ = turn.handle.set(handle.clone());
    // If one of these fails, the node is dropped, and with it ends the core.
    let node = NativeNode { handle: handle.clone(), turn: turn.clone(), tick, isolation, security, links };
    let native = node.into_instance(env)?;
    turn_functions::set(env, &mut native.as_object(env), &handle, &turn)?;
    Ok(native)
}

/// The façade checks the options, so a fault in them is a bug.
fn bug(error: impl ToString) -> Error {
    Error::Panic { message: format!("the options: {}", error.to_string()) }
}

fn refusal(error: Error) -> napi::Error {
    napi::Error::from_reason(format!("{} {error}", error.code()))
}

/// A node as the façade holds it.
#[napi]
pub struct NativeNode {
    handle: Handle,
    turn: Arc<Turn>,
    tick: Duration,
    isolation: Isolation,
    security: Security,
    links: OpenLinks,
}

#[napi]
impl NativeNode {
    /// The seed of random numbers for the evaluation at this position of the oldest delivered batch, a safe integer. It is
    /// the same wherever the call is evaluated.
    #[napi(catch_unwind)]
    pub fn evaluation_seed(&self, position: f64) -> f64 {
        let (batch, position) = self.turn.position(position as usize);
        (self.handle.evaluation_seed(batch, position) >> SEED_SHIFT) as f64
    }

    /// JavaScript works on the delivered batch, and has reduced everything up to this index; 0: it does not know.
    #[napi(catch_unwind)]
    pub fn progressed(&self, index: f64) {
        self.handle.run_inline(Input::Progressed { index: index as u64 });
    }

    /// The next piece of the text of a snapshot that a delivered batch asked for; the first one replaces what there is.
    #[napi(catch_unwind)]
    pub fn snapshot_piece(&self, text: String, is_first: bool) {
        let mut image = lock(&self.turn.image);
        if is_first {
            // About as large as the last one, with room for what the core adds: growing may copy.
            let last = self.turn.image_bytes.load(Ordering::Relaxed);
            *image = BytesMut::with_capacity((last + last / 8).max(text.len()));
        }
        image.extend_from_slice(text.as_bytes());
    }

    /// All pieces of the snapshot at this index are handed over; how long it occupied JavaScript, and its longest slice,
    /// in microseconds.
    #[napi(catch_unwind)]
    pub fn snapshot_taken(&self, index: f64, micros: f64, longest: f64) {
        let state = std::mem::take(&mut *lock(&self.turn.image)).freeze();
        self.turn.image_bytes.store(state.len(), Ordering::Relaxed);
        self.snapshot_ended(index, Ok(state), micros, longest);
    }

    /// Why there is no snapshot.
    #[napi(catch_unwind)]
    pub fn snapshot_failed(&self, index: f64, why: String, micros: f64, longest: f64) {
        *lock(&self.turn.image) = BytesMut::new();
        self.snapshot_ended(index, Err(why), micros, longest);
    }

    /// The next piece of a state that the delivered batch restores, by its position among them (`state_pieces.rs`); null
    /// if it is no text.
    #[napi(catch_unwind)]
    pub fn state_piece(&self, position: u32) -> Option<String> {
        lock(&self.turn.batches).queue.front_mut()?.states.get_mut(position as usize)?.next()
    }

    /// The hash that a delivered batch asked for, as 32 hexadecimal digits, null if there is none, and how long it
    /// occupied JavaScript, in microseconds.
    #[napi(catch_unwind)]
    pub fn hashed(&self, index: f64, hash: Option<String>, micros: f64) {
        let hash = hash.and_then(|hash| u128::from_str_radix(&hash, 16).ok()).map(u128::to_be_bytes);
        self.handle.run_inline(Input::Hashed(Hashed { index: index as u64, hash, micros: micros as u64 }));
    }

    /// The state cannot continue from the delivered batch's index.
    #[napi(catch_unwind)]
    pub fn reducer_failed(&self, index: f64, why: String) {
        self.handle.send(Input::ReducerFailed { index: index as u64, why });
    }

    /// Starts an operation: `[ticket,milliseconds,operation]`.
    #[napi(catch_unwind)]
    pub fn begin_operation(&self, text: String) -> napi::Result<()> {
        let (ticket, timeout, operation) = turn::operation(&text).map_err(napi::Error::from_reason)?;
        self.handle.send(Input::Operation { ticket, operation, ticks: options::ticks(timeout, self.tick) });
        Ok(())
    }

    /// The application no longer waits for these calls: `[sequence,…]`.
    #[napi(catch_unwind)]
    pub fn abandon(&self, text: String) -> napi::Result<()> {
        let sequences = turn::sequences(&text).map_err(napi::Error::from_reason)?;
        self.handle.send(Input::Abandon(sequences));
        Ok(())
    }

    /// The application no longer waits for this call. Returns whether the call has thereby ended: it was not sent,
    /// and will not be.
    #[napi(catch_unwind)]
    pub fn withdraw(&self, sequence: f64) -> bool {
        self.handle.withdraw(sequence as u64)
    }

    /// The node as it last described itself, as the text of a JSON object.
    #[napi(catch_unwind)]
    pub fn status(&self) -> String {
        status::encode(&self.handle.status(), self.tick, &self.security)
    }

    /// From now on, seals frames with the first of these secrets, and opens them with any: `[{"id":…,"secret":…},…]`.
    #[napi(catch_unwind)]
    pub fn set_secrets(&self, text: String) -> napi::Result<()> {
        self.security.set_secrets(&options::parse_secrets(&text).map_err(refusal)?);
        Ok(())
    }

    /// The committed actions from index `from` on, at most up to `until`: `[first index that the log has, last index that
    /// was read, index, time, action, …]`; time 0: the entry does not say.
    #[napi(catch_unwind)]
    pub fn commits(&self, from: f64, until: f64) -> String {
        batch::encode_commits(&self.handle.commits(from as u64, until as u64))
    }

    /// The clock has reached this time, for which the core is waiting.
    #[napi(catch_unwind)]
    pub fn timers_due(&self, at: f64) {
        self.handle.run_inline(Input::TimersDue { at: at as u64 });
    }

    /// All timers, as the text of a flat JSON array.
    #[napi(catch_unwind)]
    pub fn timers(&self) -> String {
        self.handle.timers(|timers, _| batch::encode_timers(timers)).unwrap_or_else(|| "[]".into())
    }

    /// `[count,bytes]` of the timers once everything that is appended is applied, at most.
    #[napi(catch_unwind)]
    pub fn timer_room(&self) -> Vec<f64> {
        let (count, bytes) = self.handle.timers(|_, expected| expected).unwrap_or_default();
        vec![count as f64, bytes as f64]
    }

    #[napi(catch_unwind)]
    pub fn has_timer(&self, name: String) -> bool {
        self.handle.timers(|timers, _| timers.get(&name).is_some()).unwrap_or_default()
    }

    /// Ends gracefully within so many milliseconds, leaving the cluster or staying a member; the last delivery says
    /// when it is done.
    #[napi(catch_unwind)]
    pub fn close(&self, timeout: f64, leaves: bool) {
        self.handle.send(Input::Close { ticks: options::ticks(timeout as u64, self.tick), leaves });
    }

    /// Stops now, without grace.
    #[napi(catch_unwind)]
    pub fn kill(&self) {
        self.handle.kill();
    }

    /// For tests of applications: while it is isolated, the memory channel loses every frame from and to this node.
    #[napi(catch_unwind)]
    pub fn set_isolated(&self, is_isolated: bool) {
        self.isolation.set(is_isolated);
    }

    /// The oldest frames that wait for the custom channel, each preceded by its receiver's incarnation, which is
    /// empty for a frame to all. If there are none, JavaScript is notified of the next one.
    #[napi(catch_unwind)]
    pub fn channel_take<'env>(
        &self,
        env: &'env Env,
        link: u32,
    ) -> napi::Result<Vec<Either<String, BufferSlice<'env>>>> {
        let frames = self.links.take(link);
        let mut taken = Vec::with_capacity(2 * frames.len());
        for (to, frame) in frames {
            taken.push(Either::A(match to {
                Target::All => String::new(),
                Target::One(incarnation) => incarnation.to_string(),
            }));
            // A copy that JavaScript owns: an application may hand it to another thread.
            taken.push(Either::B(BufferSlice::copy_from(env, frame)?));
        }
        Ok(taken)
    }

    /// These frames have arrived on the custom channel.
    #[napi(catch_unwind)]
    pub fn channel_received(&self, link: u32, frames: Vec<Buffer>) {
        self.links.received(link, frames.iter().map(|frame| Bytes::copy_from_slice(frame)));
    }

    /// The custom channel works (null), or does not, for this cause.
    #[napi(catch_unwind)]
    pub fn channel_health(&self, link: u32, cause: Option<String>) {
        self.links.set_health(link, cause);
    }

    /// The custom channel has been left.
    #[napi(catch_unwind)]
    pub fn channel_left(&self, link: u32) {
        self.links.left(link);
    }
}

impl NativeNode {
    fn snapshot_ended(&self, index: f64, state: Result<Bytes, String>, micros: f64, longest: f64) {
        self.handle.send(Input::SnapshotTaken(TakenSnapshot {
            index: index as u64,
            state,
            micros: micros as u64,
            longest_micros: longest as u64,
        }));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The façade holds the object for as long as its node is open, so it is dropped only with its environment: when a
/// worker is terminated, or the process ends. Native tasks outlive a worker: without this, its voter would continue
/// to vote.
impl Drop for NativeNode {
    fn drop(&mut self) {
        self.handle.kill();
    }
}

/// The batches with JavaScript, oldest first.
#[derive(Default)]
struct Batches {
    queue: VecDeque<DeliveredBatch>,
    /// How many it has answered before: the number of the oldest one.
    answered: u64,
}

struct DeliveredBatch {
    /// Which of its evaluations were refused here, without asking JavaScript: their positions.
    refused: Vec<usize>,
    /// The states that it restores.
    states: Vec<StatePieces>,
}

/// What the two directions of a turn share.
#[derive(Default)]
struct Turn {
    batches: Mutex<Batches>,
    /// The text of a snapshot that is being taken, up to the last piece that was handed over.
    image: Mutex<BytesMut>,
    /// The length of the last one.
    image_bytes: AtomicUsize,
    handle: OnceLock<Handle>,
}

impl Turn {
    /// The number of the batch that JavaScript works on, and the position, among all its evaluations, of one that
    /// JavaScript counts among those that it is asked.
    fn position(&self, asked: usize) -> (u64, usize) {
        let batches = lock(&self.batches);
        let refused = batches.queue.front().map_or(&[][..], |batch| &batch.refused);
        let position =
            refused.iter().fold(asked, |position, refused| position + usize::from(*refused <= position));
        (batches.answered, position)
    }

    /// JavaScript has answered the oldest batch: which of its evaluations were refused, and whether there is another batch.
    fn end_batch(&self) -> (Vec<usize>, bool) {
        let mut batches = lock(&self.batches);
        batches.answered += 1;
        let refused = batches.queue.pop_front().map_or_else(Vec::new, |batch| batch.refused);
        (refused, !batches.queue.is_empty())
    }

    /// The text of the batch, and those beside it.
    fn encode(&self, batch: &[Delivery]) -> BatchTexts {
        let Batch { text, beside, states, refused } = batch::encode(batch);
        let states = states.into_iter().map(StatePieces::new).collect();
        lock(&self.batches).queue.push_back(DeliveredBatch { refused, states });
        (text, (!beside.is_empty()).then_some(beside))
    }
}

struct JavaScriptApplication {
    deliver: Arc<Deliver>,
    turn: Arc<Turn>,
}

impl JavaScriptApplication {
    fn call(&self, text: String, beside: Option<Vec<String>>) {
        let (turn, deliver) = (self.turn.clone(), self.deliver.clone());
        // The façade catches what its application throws. An exception that still arrives here is a bug of the
        // façade, a text that cannot become a JavaScript string, or the termination of a worker. It ends this node,
        // and not the process; the façade is notified, so that every call of this node ends.
        self.deliver.call_with_return_value(
            (text, beside),
            ThreadsafeFunctionCallMode::NonBlocking,
            move |returned, _| {
                if let Err(error) = returned {
                    if let Some(handle) = turn.handle.get() {
                        handle.kill();
                    }
                    let message = format!("a delivery could not be handed over: {error}");
                    let stopped = batch::encode_stopped(Some(&Error::Panic { message }));
                    // If even this cannot be handed over, no JavaScript is left to notify. Without a callback, an
                    // exception would end the process.
                    deliver.call_with_return_value(
                        (stopped, None),
                        ThreadsafeFunctionCallMode::NonBlocking,
                        |_, _| Ok(()),
                    );
                }
                Ok(())
            },
        );
    }
}

impl Application for JavaScriptApplication {
    fn deliver(&self, deliveries: Vec<Delivery>) {
        let (text, beside) = self.turn.encode(&deliveries);
        self.call(text, beside);
    }

    fn stopped(&self, error: Option<Error>) {
        self.call(batch::encode_stopped(error.as_ref()), None);
    }
}
