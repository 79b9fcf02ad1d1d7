//! Requests the username and the password of a Redis connection from JavaScript.
//!
//! Called by the channel on every connect, through [`Credentials`]. It has a thread-safe function of its own: no order
//! between credentials and deliveries matters. What it hears is never part of an error.

use std::{pin::Pin, sync::Arc};

use napi::{
    Status,
    bindgen_prelude::{Function, Promise},
    threadsafe_function::ThreadsafeFunction,
};
use serde::Deserialize;

use crate::channel::redis::{AskedCredentials, Credentials};

type Ask = ThreadsafeFunction<(), Promise<String>, (), Status, false, true, 0>;

struct FromJavaScript(Arc<Ask>);

/// What the promise of `lib/credentials.js` is of; `error` says why there is no more.
#[derive(Deserialize)]
struct Answer {
    username: Option<String>,
    password: Option<String>,
    error: Option<String>,
}

pub(super) fn of(ask: Function<'_, (), Promise<String>>) -> napi::Result<Arc<dyn Credentials>> {
    let ask = ask
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<0>()
        .build()?;
    Ok(Arc::new(FromJavaScript(Arc::new(ask))))
}

impl Credentials for FromJavaScript {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<AskedCredentials, String>> + Send>> {
        let ask = self.0.clone();
        Box::pin(async move {
            let failed = |error: napi::Error| format!("asking for the credentials: {error}");
            let text = ask.call_async_catch(()).await.map_err(failed)?.await.map_err(failed)?;
            let answer: Answer =
                serde_json::from_str(&text).map_err(|_| "no credentials were given".to_string())?;
            match answer.error {
                Some(error) => Err(error),
                None => Ok(AskedCredentials { username: answer.username, password: answer.password }),
            }
        })
    }
}
