//! Asks JavaScript for what a channel needs to connect: the credentials of a Redis server, or the addresses of peers.
//!
//! Called by the channel, through [`Credentials`] and [`AskedPeers`]. It has a thread-safe function of its own: no
//! order between its answers and deliveries matters. No answer is ever part of an error: it may be a password.

use std::{pin::Pin, sync::Arc};

use napi::{
    Status,
    bindgen_prelude::{Function, Promise},
    threadsafe_function::ThreadsafeFunction,
};
use serde::Deserialize;

use crate::channel::{
    redis::{AskedCredentials, Credentials},
    tcp::AskedPeers,
};

type Ask = ThreadsafeFunction<(), Promise<String>, (), Status, false, true, 0>;

/// A function of the façade that promises a JSON text (`lib/asked.js`).
#[derive(Clone)]
pub(super) struct Asked {
    ask: Arc<Ask>,
    /// Equal for functions that give the same (`lib/credentials.js`).
    identity: Option<Arc<str>>,
}

/// The content of the text; `error` says why everything else is missing.
#[derive(Deserialize)]
struct Answer {
    username: Option<String>,
    password: Option<String>,
    #[serde(default)]
    peers: Vec<String>,
    error: Option<String>,
}

impl Asked {
    pub(super) fn new(ask: Function<'_, (), Promise<String>>) -> napi::Result<Self> {
        let ask = ask
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .max_queue_size::<0>()
            .build()?;
        Ok(Self { ask: Arc::new(ask), identity: None })
    }

    pub(super) fn with_identity(self, identity: Option<String>) -> Self {
        Self { identity: identity.map(Into::into), ..self }
    }

    async fn answer(self, what: &str) -> Result<Answer, String> {
        let failed = |error: napi::Error| format!("asking for {what}: {error}");
        let text = self.ask.call_async_catch(()).await.map_err(failed)?.await.map_err(failed)?;
        let answer: Answer =
            serde_json::from_str(&text).map_err(|_| format!("asking for {what}: no answer"))?;
        match answer.error {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }
}

impl Credentials for Asked {
    fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<AskedCredentials, String>> + Send>> {
        let asked = self.clone();
        Box::pin(async move {
            let Answer { username, password, .. } = asked.answer("the credentials").await?;
            Ok(AskedCredentials { username, password })
        })
    }
}

impl AskedPeers for Asked {
    fn ask(&self) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>> {
        let asked = self.clone();
        Box::pin(async move { Ok(asked.answer("the peers").await?.peers) })
    }
}
