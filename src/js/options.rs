//! Turns the façade's options into those of the core, the driver, a channel and a storage.
//!
//! Called by `mod.rs`. The façade has checked them and filled in the defaults (`lib/options.js`), so a fault found
//! here is a bug of the façade, or one that only a channel can detect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::asked::Asked;
use super::bug;
use super::channel::{ChannelParts, GivenChannel};
use crate::channel::Channel;
use crate::channel::custom::{OpenLinks, Script};
use crate::channel::memory::Isolation;
use crate::channel::sealed::{Sealed, Secret, Security};
use crate::error::Error;
use crate::raft;
use crate::storage::Storage;
use crate::storage::disk::Disk;
use crate::storage::memory::Memory as MemoryStorage;

/// The longest tick. If the heartbeat interval is shorter than five of these, the tick is shorter.
const TICK_MAX: Duration = Duration::from_millis(10);

/// The minimum for how long a server may fail to echo. The patience is two election timeouts, but no server answers
/// every time within a few milliseconds.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// What a node is started with.
pub struct Options {
    pub raft: raft::Options,
    pub tick: Duration,
    pub channel: Box<dyn Channel>,
    /// Of the channel.
    pub security: Security,
    pub storage: Box<dyn Storage>,
    /// Of a memory channel; other channels ignore it.
    pub isolation: Isolation,
    /// Of a custom channel, likewise.
    pub links: OpenLinks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    id: String,
    cluster_size: usize,
    voter: bool,
    election_timeout: Range,
    heartbeat_interval: u64,
    channel: GivenChannel,
    /// The first one seals; none: frames are not sealed.
    #[serde(default)]
    secrets: Vec<GivenSecret>,
    /// An absolute path; none: nothing survives a restart.
    storage_path: Option<PathBuf>,
    snapshot_entries: u64,
    snapshot_bytes: u64,
    version: String,
    application: Option<String>,
    /// The names of the application's methods.
    methods: Vec<String>,
    compare_states: bool,
    /// Milliseconds without a quorum; none: wait forever.
    recover_after: Option<u64>,
    /// Milliseconds; none: no sessions.
    session_timeout: Option<u64>,
    /// 64 hexadecimal digits, drawn by the façade.
    seed: String,
}

/// Milliseconds.
#[derive(Deserialize)]
struct Range {
    min: u64,
    max: u64,
}

#[derive(Deserialize)]
struct GivenSecret {
    id: Option<String>,
    secret: String,
}

pub fn parse(text: &str, asked: Option<Asked>, script: Option<Arc<dyn Script>>) -> Result<Options, Error> {
    let given: Given = serde_json::from_str(text).map_err(bug)?;
    let tick = Duration::from_millis(given.heartbeat_interval / 5).clamp(Duration::from_millis(1), TICK_MAX);
    let patience = PATIENCE_MIN.max(Duration::from_millis(2 * given.election_timeout.max));
    let raft = raft_options(&given, tick).map_err(bug)?;
    let storage = storage(given.storage_path, &given.id, raft.nonce);
    let isolation = Isolation::default();
    let links = OpenLinks::default();
    let parts = ChannelParts { asked, script, links: links.clone(), isolation: isolation.clone(), patience };
    let (channel, security) = given.channel.open(parts, &secrets(given.secrets))?;
    let channel = Box::new(Sealed::new(channel, security.clone()));
    Ok(Options { raft, tick, channel, security, storage, isolation, links })
}

/// The secrets of `setSecret`.
pub fn parse_secrets(text: &str) -> Result<Vec<Secret>, Error> {
    // What serde quotes may be a secret.
    let given = serde_json::from_str(text).map_err(|_| bug("the secrets are not a list of objects"))?;
    Ok(secrets(given))
}

fn secrets(given: Vec<GivenSecret>) -> Vec<Secret> {
    given.into_iter().map(|GivenSecret { id, secret }| Secret { id, secret }).collect()
}

/// How many ticks are at least this long.
pub fn ticks(milliseconds: u64, tick: Duration) -> u64 {
    milliseconds.div_ceil(tick.as_millis() as u64)
}

/// Rounds the heartbeat interval down and the election timeout up, so that their order stays the same in ticks.
fn raft_options(given: &Given, tick: Duration) -> Result<raft::Options, String> {
    let mut options = raft::Options::new(&given.id, given.cluster_size, seed(&given.seed)?);
    options.may_vote = given.voter;
    options.election_timeout_ticks_min = ticks(given.election_timeout.min, tick);
    options.election_timeout_ticks_max = ticks(given.election_timeout.max, tick);
    options.heartbeat_ticks = given.heartbeat_interval / tick.as_millis() as u64;
    options.snapshot_entries = given.snapshot_entries;
    options.snapshot_bytes = given.snapshot_bytes;
    options.version = given.version.as_str().into();
    let methods = given.methods.iter().map(String::as_str);
    options.application = raft::Application::new(given.application.as_deref(), methods)
        .with_sessions(given.session_timeout.is_some());
    options.session_timeout_ticks = given.session_timeout.map(|timeout| ticks(timeout, tick));
    options.channel_name = given.channel.channel_name().into();
    options.compares_states = given.compare_states;
    options.is_durable = given.storage_path.is_some();
    options.recover_ticks = given.recover_after.map(|after| ticks(after, tick));
    options.tick_micros = tick.as_micros() as u64;
    Ok(options)
}

fn seed(hexadecimal: &str) -> Result<[u8; 32], String> {
    let mut seed = [0; 32];
    if hexadecimal.len() != 64 || !hexadecimal.is_ascii() {
        return Err("the seed must be 64 hexadecimal digits".into());
    }
    for (byte, start) in seed.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hexadecimal[start..start + 2], 16).map_err(|error| error.to_string())?;
    }
    Ok(seed)
}

/// Every storage is opened by its first `load`, on the driver's thread: nothing here waits for a disk.
fn storage(path: Option<PathBuf>, id: &str, nonce: u64) -> Box<dyn Storage> {
    match path {
        Some(path) => Box::new(Disk::new(path, id).with_nonce(nonce)),
        None => Box::new(MemoryStorage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(heartbeat: u64, min: u64, max: u64) -> String {
        format!(
            r#"{{"id":"a","clusterSize":3,"voter":true,"electionTimeout":{{"min":{min},"max":{max}}},"heartbeatInterval":{heartbeat},
            "seed":"{}","channel":{{"name":"memory","channelName":"c"}},"snapshotEntries":10000,
            "snapshotBytes":16777216,"version":"","methods":[],"compareStates":true}}"#,
            "0f".repeat(32)
        )
    }

    #[test]
    fn the_defaults_are_those_of_the_core() {
        let options = parse(&text(50, 300, 500), None, None).unwrap();
        assert_eq!(options.tick, TICK_MAX);
        let (raft, defaults) = (options.raft, raft::Options::new("a", 3, [15; 32]));
        assert_eq!(raft.seed, defaults.seed);
        assert_eq!(raft.heartbeat_ticks, defaults.heartbeat_ticks);
        assert_eq!(raft.election_timeout_ticks_min, defaults.election_timeout_ticks_min);
        assert_eq!(raft.election_timeout_ticks_max, defaults.election_timeout_ticks_max);
        assert_eq!(raft.snapshot_entries, defaults.snapshot_entries);
        assert_eq!(raft.snapshot_bytes, defaults.snapshot_bytes);
        assert_eq!(raft.version, defaults.version);
        assert_eq!(raft.application, defaults.application);
        assert_eq!(raft.compares_states, defaults.compares_states);
        assert_eq!(raft.is_durable, defaults.is_durable);
        assert_eq!(raft.recover_ticks, defaults.recover_ticks);
        assert_eq!(raft.session_timeout_ticks, defaults.session_timeout_ticks);
        assert_eq!(raft.tick_micros, defaults.tick_micros);
    }

    #[test]
    fn what_is_given_reaches_the_core() {
        let given = text(20, 100, 200)
            .replace(
                r#""version":"""#,
                r#""version":"2","application":"shop","storagePath":"/x","recoverAfter":5001,"sessionTimeout":2001"#,
            )
            .replace("[]", r#"["b","a"]"#)
            .replace("10000", "10")
            .replace("16777216", "20")
            .replace("true", "false");
        let raft = parse(&given, None, None).unwrap().raft;
        assert_eq!((raft.snapshot_entries, raft.snapshot_bytes), (10, 20));
        assert_eq!((&*raft.version, raft.compares_states, raft.is_durable), ("2", false, true));
        assert_eq!((raft.tick_micros, raft.recover_ticks), (4_000, Some(1_251)));
        assert_eq!(raft.session_timeout_ticks, Some(501));
        let application = raft::Application::new(Some("shop"), ["a", "b"]);
        assert_eq!(raft.application, application.with_sessions(true));
        assert_eq!(&*raft.channel_name, "c");
    }

    #[test]
    fn whatever_the_façade_accepts_a_heartbeat_is_shorter_than_an_election_timeout() {
        for heartbeat in 1..400 {
            let raft = parse(&text(heartbeat, heartbeat + 1, heartbeat + 1), None, None).unwrap().raft;
            assert!(raft.heartbeat_ticks >= 1, "heartbeat {heartbeat}");
            assert!(raft.heartbeat_ticks < raft.election_timeout_ticks_min, "heartbeat {heartbeat}");
        }
    }

    #[test]
    fn what_is_no_seed_is_an_error() {
        for seed in ["", "00", &"zz".repeat(32), &"é".repeat(32)] {
            assert!(parse(&text(50, 300, 500).replace(&"0f".repeat(32), seed), None, None).is_err());
        }
    }
}
