//! Lists what is explored: how each scenario begins, what is done in it, and for how long it continues.

use super::processes::{Act, Processes};
use super::world::NodeId;
use crate::raft::testing::script::ask_of;

/// A cluster, and what is done with it.
pub struct Scenario {
    pub name: &'static str,
    /// Commands of a golden script: what has happened before.
    pub setup: &'static str,
    /// Commands of a golden script, each at any time, one after the other.
    pub acts: &'static [&'static str],
    /// How often time passes because nothing else happens.
    pub waits: u16,
    pub crash: Crash,
    /// Every operation ends while a majority lives; not if an operator must repeat it.
    pub must_serve: bool,
}

/// What becomes of the one node that may crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// None does.
    Never,
    /// It comes back from its disk.
    Returns,
    ForGood,
}

impl Scenario {
    pub fn parsed_acts(&self) -> Vec<Act> {
        self.acts.iter().map(|act| parse(act)).collect()
    }

    /// The node that a command is for.
    pub fn node_of(&self, act: &str, processes: &Processes) -> NodeId {
        let name = act.split(' ').nth(1).expect("a command names its node");
        let place = (0..).find(|place| processes.name(*place) == name);
        place.expect("the node is in the setup") as NodeId
    }
}

fn parse(act: &str) -> Act {
    let words: Vec<&str> = act.split(' ').collect();
    match words[..] {
        ["perform", _, method, args] => Act::Perform { method: method.into(), args: args.into() },
        ["ask", _, what] => Act::Operation(ask_of(what, None).expect("it can be asked")),
        ["ask", _, what, about] => Act::Operation(ask_of(what, Some(about)).expect("it can be asked")),
        ["close", _] => Act::Close,
        _ => panic!("no command of a scenario: {act}"),
    }
}

/// The leader of each setup is `a`, whose incarnation is the lowest.
pub const SCENARIOS: [Scenario; 20] = [
    Scenario {
        name: "two found a cluster",
        setup: "start a b",
        acts: &["perform b append x"],
        waits: 9,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "three found a cluster",
        setup: "start a b c storage=disk",
        acts: &["perform b append x"],
        waits: 9,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "two elect",
        setup: "found a b storage=disk",
        acts: &["perform a append x", "ask b sync"],
        waits: 4,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "three elect",
        setup: "found a b c storage=disk\ntick 40 b c\nlose",
        acts: &["perform a append x", "perform b append y", "ask a sync"],
        waits: 4,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "two accept an action",
        setup: "found a b storage=disk",
        acts: &["perform b append x", "ask a sync", "perform a append y"],
        waits: 3,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "three accept an action",
        setup: "found a b c storage=disk",
        acts: &["perform c append x", "ask b sync"],
        waits: 3,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "two refuse",
        setup: "found a b storage=disk\nperform a append z\nsettle",
        acts: &["perform a append x", "perform b refuse no", "perform a refuse no"],
        waits: 3,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "three refuse",
        setup: "found a b c storage=disk\nperform a lock a\nsettle",
        acts: &["perform a unlock a", "perform b lock b", "perform c lock c"],
        waits: 3,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "one of two is removed",
        setup: "found a b",
        acts: &["ask a remove b", "perform a append x", "ask b sync"],
        waits: 6,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "a leader of three is removed",
        setup: "found a b c storage=disk",
        acts: &["ask b remove a", "perform b append x", "ask a sync"],
        waits: 6,
        crash: Crash::Returns,
        must_serve: true,
    },
    // The removal is in both logs and committed nowhere, and the one that goes is elected.
    Scenario {
        name: "a leader of two is removed",
        setup: "found a b\nask a remove b\ndeliver rounds=2\ntick 2 a\ndeliver to=b\nlose\ntick 70 a\nlose\ntick 80 b\ndeliver rounds=3\ndeliver from=a to=b",
        acts: &["perform a append x", "ask b sync"],
        waits: 3,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "a leader of two is demoted",
        setup: "found a b\nask a resize 1\ndeliver rounds=2\ntick 1 a\ndeliver to=b\ndeliver to=a\ntick 1 a\ndeliver to=b\nlose\ntick 60 a\nlose\ntick 70 b\ndeliver rounds=3\ndeliver from=a to=b",
        acts: &["perform a append x", "ask b sync"],
        waits: 3,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "a cluster of three becomes one of two",
        setup: "found a b c storage=disk",
        acts: &["ask a resize 2", "perform b append x", "ask c sync"],
        waits: 6,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "a cluster of two becomes one of one",
        setup: "found a b",
        acts: &["ask a resize 1", "perform a append x", "ask b sync"],
        waits: 6,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "a cluster of two becomes one of three",
        setup: "found a b storage=disk\nask a resize 3\nsettle\nstart c size=3 storage=disk",
        acts: &["perform c append x", "ask b sync"],
        waits: 6,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "a dead one of three is replaced",
        setup: "found a b c storage=disk\nstart d size=3 storage=disk\nsettle\ncrash c\nrun 498\nlose",
        acts: &["perform b append x", "ask a sync"],
        waits: 6,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "a dead one of three is replaced, and another dies",
        setup: "found a b c\nstart d size=3\nsettle\ncrash c\nrun 498\nlose",
        acts: &[],
        waits: 5,
        crash: Crash::ForGood,
        must_serve: true,
    },
    // Its followers' answers to a read are in flight to it, twice over, and another leads.
    Scenario {
        name: "a leader that was deposed reads",
        setup: "found a b c\nask a sync\ndeliver to=b\ndeliver to=c\nrepeat\ntick 31 c\ntick 55 b\ndeliver from=b to=c\ndeliver from=c to=b\ndeliver from=b to=c\ndeliver from=c to=b\ndeliver from=b to=c\ndeliver from=c to=b",
        acts: &["perform b append x", "ask a sync"],
        waits: 3,
        crash: Crash::Never,
        must_serve: true,
    },
    Scenario {
        name: "leadership is handed over",
        setup: "found a b c storage=disk",
        acts: &["perform a append x", "ask b transfer c", "perform c append y", "ask a sync"],
        waits: 4,
        crash: Crash::Returns,
        must_serve: true,
    },
    Scenario {
        name: "two survivors recover a cluster at once",
        setup: "found a b c d e storage=disk\ncrash c\ncrash d\ncrash e\nlose\ntick 700\ndeliver rounds=8",
        acts: &["ask a recover", "ask b recover", "perform b append x"],
        waits: 5,
        crash: Crash::Returns,
        must_serve: false,
    },
];
