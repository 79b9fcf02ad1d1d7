//! Catches a panic of a future without output on stderr, for panics that are not bugs.
//!
//! Used by the supervisor. Looking up a name needs a thread, and where the system gives none, tokio panics: that is a cause
//! to report, and to try again.

use std::{
    any::Any,
    cell::Cell,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    pin::pin,
    sync::Once,
    task::Poll,
};

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What the future gives, or what it panicked with.
pub(super) async fn refusable<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                former(panic);
            }
        }));
    });
    let mut future = pin!(future);
    poll_fn(|context| {
        IS_QUIET.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        IS_QUIET.set(false);
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::message_of;

    #[tokio::test]
    async fn a_panic_is_what_the_future_ends_with() {
        assert_eq!(refusable(async { 1 }).await.ok(), Some(1));
        let panic = refusable(async { panic!("no thread") as u8 }).await.expect_err("it panics");
        assert_eq!(message_of(&*panic), "no thread");
        assert!(!IS_QUIET.get());
    }
}
