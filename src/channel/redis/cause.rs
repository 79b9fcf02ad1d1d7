//! Why a link does not work, as a sentence for people. It never holds a password.

use std::time::Duration;

use super::{ended::Ended, endpoint::Endpoint};

/// A connect attempt that takes longer is given up: a frozen server accepts connections and answers none.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The cause for people, unless the last link has left.
pub(super) fn cause(ended: &Ended, endpoint: &Endpoint) -> Option<String> {
    let address = endpoint.address();
    Some(match ended {
        Ended::Closed => return None,
        Ended::Unconnected { error } => format!("connecting to {address}: {}", endpoint.describe(error)),
        Ended::Refused { cause } => format!("connecting to {address}: {cause}"),
        Ended::Unanswered => {
            format!("connecting to {address}: no answer within {:?}", CONNECT_TIMEOUT)
        }
        Ended::Failed { doing, error } => format!("{doing} over {address}: {}", endpoint.describe(error)),
        Ended::Replica => format!(
            "{address} is a replica: PUBLISH there reaches only its own subscribers, not those of its primary; \
             this node needs the primary"
        ),
        Ended::Moved { to } => format!("{address} is not the primary any more: the Sentinels name {to}"),
        Ended::SubscriberClosed => format!("listening to {address}: the connection was closed"),
        Ended::Silent { patience } => format!("listening to {address}: no echo within {patience:?}"),
        Ended::Crashed { error } => format!("serving {address}: {error}"),
    })
}
