//! Notifies JavaScript of the work of a custom channel.
//!
//! Called by `channel/custom.rs` through [`Script`]; `lib/custom-channel.js` acts on it, and takes the frames by the
//! methods of `NativeNode`. It has a thread-safe function of its own: no order between frames and deliveries matters.

use std::sync::Arc;

use napi::{
    Status,
    bindgen_prelude::{FnArgs, Function},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};

use crate::channel::custom::{Notice, Script};

/// `notify(what, link, incarnation)`
pub(super) type Arguments = FnArgs<(String, u32, String)>;

type Notify = ThreadsafeFunction<Notice, (), Arguments, Status, false, true, 0>;

struct InJavaScript(Notify);

pub(super) fn of(notify: Function<'_, Arguments, ()>) -> napi::Result<Arc<dyn Script>> {
    let notify = notify
        .build_threadsafe_function::<Notice>()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<0>()
        .build_callback(|call| {
            let (what, link, incarnation) = match call.value {
                Notice::Join { link, me } => ("join", link, me.to_string()),
                Notice::Frames { link } => ("frames", link, String::new()),
                Notice::Leave { link } => ("leave", link, String::new()),
            };
            Ok(FnArgs { data: (what.to_owned(), link, incarnation) })
        })?;
    Ok(Arc::new(InJavaScript(notify)))
}

impl Script for InJavaScript {
    fn notify(&self, notice: Notice) {
        // Its queue needs no bound: there is one notice of frames at a time. The function throws nothing of its own, but
        // a worker may be terminated in the middle of it; without a callback that would end the process.
        self.0.call_with_return_value(notice, ThreadsafeFunctionCallMode::NonBlocking, |_, _| Ok(()));
    }
}
