//! Dials the addresses of a link's peers, and follows whether the link can reach anything.
//!
//! One task per link, which waits for events alone; each dial is a task of its own.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout, timeout_at},
};

use super::{
    super::lock,
    Health, Network, Shared,
    hello::{LinkId, Unwelcome},
    targets::{Failure, Reached, Targets},
};

pub(super) enum Event<A> {
    Listening(Result<(), String>),
    Discovered {
        addresses: BTreeSet<A>,
        causes: Vec<String>,
    },
    Dialed {
        address: A,
        result: Result<Reached, Failure>,
    },
    /// A connection was taken in, or has ended.
    PeersChanged,
    /// The connection to this link must be replaced.
    Renew(LinkId),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run<N: Network>(
    shared: Arc<Shared<N>>,
    mut events: UnboundedReceiver<Event<N::Address>>,
) {
    /// Longer than any backoff: without addresses there is nothing to do but wait.
    const IDLE: Duration = Duration::from_secs(3_600);
    let mut targets = Targets::new(shared.link.as_bytes(), Instant::now());
    loop {
        let now = Instant::now();
        let (due, has_peers) = {
            let peers = lock(&shared.peers);
            (targets.due(now, |link| peers.has(link)), !peers.open().is_empty())
        };
        for address in due {
            shared.spawn(dial(shared.clone(), address));
        }
        set_health(&shared, targets.health(has_peers, now));
        let next = targets.next_due().unwrap_or(now + IDLE);
        match timeout_at(next, events.recv()).await {
            Ok(Some(Event::Listening(result))) => targets.listening(result),
            Ok(Some(Event::Discovered { addresses, causes })) => {
                targets.discovered(addresses, causes, Instant::now())
            }
            Ok(Some(Event::Dialed { address, result })) => targets.dialed(&address, result, Instant::now()),
            Ok(Some(Event::Renew(link))) => targets.renew(link, Instant::now()),
            Ok(Some(Event::PeersChanged)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

fn set_health<N: Network>(shared: &Shared<N>, health: Health) {
    shared.health.send_if_modified(|former| {
        let is_news = *former != health;
        *former = health;
        is_news
    });
}

async fn dial<N: Network>(shared: Arc<Shared<N>>, address: N::Address) {
    let result = reach(&shared, &address).await.map_err(|unwelcome| {
        if matches!(&unwelcome, Unwelcome::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
            shared.network.refused(&address);
        }
        let cause = format!("connecting to {address}: {}", shared.describe(&unwelcome));
        if unwelcome.is_refusal() {
            shared.refusals.report(cause.clone());
        }
        Failure { cause, is_answer: is_answer(&unwelcome) }
    });
    let _ = shared.events.send(Event::Dialed { address, result });
}

async fn reach<N: Network>(shared: &Arc<Shared<N>>, address: &N::Address) -> Result<Reached, Unwelcome> {
    let stream = match timeout(CONNECT_TIMEOUT, shared.network.dial(address)).await {
        Ok(dialed) => dialed?,
        Err(_) => {
            let what = format!("no answer within {CONNECT_TIMEOUT:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, what).into());
        }
    };
    let dial = {
        let mut dials = lock(&shared.dials);
        *dials += 1;
        *dials
    };
    let link = shared.clone().meet(stream, Some(dial)).await?;
    Ok(if link == shared.link { Reached::Own } else { Reached::Peer(link) })
}

/// Whether the way to the address works, although no peer was reached.
fn is_answer(unwelcome: &Unwelcome) -> bool {
    match unwelcome {
        Unwelcome::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
        ),
        Unwelcome::Untrusted(_) | Unwelcome::Foreign | Unwelcome::OtherChannel(_) | Unwelcome::Secret(_) => {
            true
        }
    }
}
