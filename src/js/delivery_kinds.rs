//! The kinds of deliveries in a batch, with the fields that follow each of them.
//!
//! This table holds for both languages: `batch.rs` writes by it, `lib/deliveries.js` reads, and the tests below compare
//! the three.

macro_rules! delivery_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal ($($field:ident),*);)*) => {
        $($(#[$doc])* pub const $name: u8 = $number;)*
        #[cfg(test)]
        const TABLE: &[Kind] =
            &[$(Kind { name: stringify!($name), number: $number, fields: &[$(stringify!($field)),*] }),*];
    };
}

delivery_kinds! {
    /// `leader` is an id, or null.
    ROLE = 0 (role, term, leader);
    RESET_PROVISIONAL = 1 ();
    EVALUATE = 2 (method, args);
    /// Takes the oldest provisional state.
    COMMITTED_PROVISIONAL = 3 (index);
    /// Takes the oldest provisional state, and resolves with the action.
    COMMITTED_PROVISIONAL_OWN = 4 (index, sequence, action);
    /// Reduces the action.
    COMMITTED = 5 (index, action);
    /// Reduces `action`, and resolves with `copy`: the action again, or 0. It is there if the action is an array or
    /// object: the caller may change what it gets, and the state may hold the other.
    COMMITTED_OWN = 6 (index, sequence, action, copy);
    /// Resolves with nothing.
    SETTLED_NOTHING = 7 (sequence);
    SETTLED_REFUSED = 8 (sequence, error);
    SETTLED_FAILED = 9 (sequence, code, message, outcome);
    WARNING = 10 (code, message, facts);
    /// Code and message are null if the node was closed.
    STOPPED = 11 (code, message);
    TAKE_SNAPSHOT = 12 (index);
    /// `position` is that of the state among the states of the batch; null restores the initial state.
    RESTORE = 13 (index, position);
    HASH = 14 (index);
    REPLAYED = 15 ();
    OPERATION_DONE = 16 (ticket);
    OPERATION_FAILED = 17 (ticket, code, message);
    /// `index` is null if no action is the cause.
    DIVERGED = 18 (code, message, index);
    RESTORED = 19 ();
    /// Resolves with the action.
    SETTLED_DONE = 20 (sequence, action);
    /// Needs only an answer.
    APP_PROBE = 21 ();
    REPORT_PROGRESS = 22 ();
    /// 1: the state is up to date; 0: not any more.
    CAUGHT_UP = 23 (value);
    /// Reduces an action that the leader logs on its own account, and answers with it.
    EVALUATE_SYSTEM = 24 (action);
    /// The caller of the evaluations that follow; `session` is null if it has none, and `ended` is 1 if the session in
    /// which it called has ended.
    CALLER = 25 (id, session, ended);
    /// The live sessions, as the evaluations that follow see them.
    SESSIONS = 26 (list);
    /// The session of this node has changed; null: it has none.
    OWN_SESSION = 27 (session, previous, reason);
    /// The time of the commits that follow in this batch; 0: they have none.
    AT = 28 (at);
    /// Runs the method of a timer.
    EVALUATE_TIMER = 29 (name, due, method, args, rule);
    /// `due` is null if there is no timer.
    NEXT_TIMER = 30 (due);
    /// The same as the kinds above, for large arguments and actions.
    EVALUATE_BESIDE = 31 (method, position);
    COMMITTED_BESIDE = 32 (index, position);
    COMMITTED_OWN_BESIDE = 33 (index, sequence, position);
    SETTLED_DONE_BESIDE = 34 (sequence, position);
    /// The action is the one that is kept with the oldest provisional state.
    COMMITTED_PROVISIONAL_OWN_KEPT = 35 (index, sequence);
}

#[cfg(test)]
pub struct Kind {
    name: &'static str,
    number: u8,
    fields: &'static [&'static str],
}

/// The names of the deliveries in a batch; panics if one has not as many items as the table gives it.
#[cfg(test)]
pub fn names_in(batch: &serde_json::Value) -> Vec<&'static str> {
    let items = batch.as_array().expect("a batch is an array");
    let mut names = Vec::new();
    let mut next = 0;
    while next < items.len() {
        let number = &items[next];
        let kind = TABLE.iter().find(|kind| *number == kind.number);
        let kind = kind.unwrap_or_else(|| panic!("item {next} is not a kind: {number} in {batch}"));
        names.push(kind.name);
        next += 1 + kind.fields.len();
    }
    assert_eq!(next, items.len(), "the last delivery of {batch} lacks items");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = include_str!("../../lib/deliveries.js");

    #[test]
    fn numbers_and_names_are_unique() {
        for (position, kind) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(kind.number), position, "{}", kind.name);
            assert_eq!(TABLE.iter().filter(|other| other.name == kind.name).count(), 1, "{}", kind.name);
        }
    }

    #[test]
    fn javascript_declares_the_same_kinds() {
        let declared: Vec<&str> =
            READER.lines().filter(|line| line.starts_with("const ") && line.contains(" //")).collect();
        let expected: Vec<String> = TABLE
            .iter()
            .map(|Kind { name, number, fields }| {
                let fields = if fields.is_empty() { "no fields".to_owned() } else { fields.join(", ") };
                format!("const {name} = {number} // {fields}")
            })
            .collect();
        assert_eq!(declared, expected);
    }

    #[test]
    fn javascript_reads_every_field_of_every_kind() {
        for Kind { name, fields, .. } in TABLE {
            let case = READER.split(&format!("case {name}:")).nth(1);
            let case = case.unwrap_or_else(|| panic!("lib/deliveries.js does not read {name}"));
            let case = case.split("case ").next().and_then(|case| case.split("default:").next());
            let read = case.map_or(0, |case| case.matches("items[i++]").count());
            assert_eq!(read, fields.len(), "{name} has the fields {fields:?}");
        }
    }
}
