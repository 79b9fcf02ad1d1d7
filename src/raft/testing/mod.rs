//! Breaks the core on purpose: a simulated cluster whose network, clock and JavaScript are the test's.
//!
//! `application` stands for the façade, `cluster` for the world (with each node's `disk`, which may be one of the
//! `slow_disks`, its `link` to Redis, its direct `connections`, and the network's `echoes`), `checker` and `logs`
//! check after every step what must hold, `run` what clients were promised. `script` runs the golden scripts of
//! `../scripts/`, `scenarios`, `divergences`, `removals`, `recoveries`, `recovery_votes`, `successors`, `load`,
//! `copies`, `sessions`, `strangers`, `foundings` and `hanging_disks` have longer scenarios, and `hibernation` those of
//! idle groups. `simulation` runs seeds under faults, `churn` under faults while members come and go, `losses` while
//! quorums are lost and recovered, `steadiness` under faults that a cluster must bear without an election.
//! `exploration` draws nothing: it goes through all schedules that differ in a few steps from one in which nothing goes
//! wrong. `faults` holds those that they share, `seeds` says which run. `bugs` puts known bugs back, so that the checks
//! are checked. `timers` are those of simulated applications, `hostile` sends a node what no peer would, and `formats`
//! holds the bytes that another version reads.

mod application;
pub mod bugs;
mod checker;
mod churn;
mod cluster;
mod connections;
mod copies;
mod describe;
mod disk;
mod divergences;
mod echoes;
pub mod exploration;
mod faults;
pub(super) mod formats;
mod foundings;
mod hanging_disks;
mod hibernation;
mod hostile;
mod javascript;
mod link;
mod load;
mod logs;
mod losses;
mod orders;
mod recoveries;
mod recovery_votes;
mod removals;
mod run;
mod scenario;
mod scenarios;
mod script;
pub mod seeds;
mod sessions;
mod simulation;
mod slow_disks;
mod slow_links;
mod steadiness;
mod strangers;
mod successors;
mod timers;
