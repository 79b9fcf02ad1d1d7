//! The timers of simulated applications: some actions set one, which fires up to three times.
//!
//! Used by `application.rs`. An action of a timer is named after it and its time, so that the checker sees one that was
//! applied twice.

use crate::raft::coordination::TimerChange;
use crate::raft::events::DueTimer;

/// Between two times of a timer.
const PERIOD_MS_MIN: u64 = 50;
const PERIOD_MS_SPREAD: u64 = 500;
const TIMES_MAX: u64 = 3;

/// What the method of a timer does.
pub struct Effect {
    pub action: String,
    /// When the timer fires again.
    pub next: Option<u64>,
}

/// What an action does to the timers. `tag` is different for each action.
pub fn changes_of(tag: &str, now: u64) -> Vec<TimerChange> {
    let hash = tag.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    // A few names, so that timers are replaced and removed, also while they fire.
    let name = format!("t{}", hash / 7 % 5).into();
    match hash % 4 {
        0 => {
            let (period, times) = (PERIOD_MS_MIN + hash / 11 % PERIOD_MS_SPREAD, 1 + hash / 13 % TIMES_MAX);
            let rule = format!("{} {period} {}", tag.replace('/', "-"), now + period * times);
            let (due, method, args) = (now + period, "tick".into(), "[]".into());
            vec![TimerChange::Set { name, due, method, args, rule: rule.into() }]
        }
        1 => vec![TimerChange::Remove { name }],
        _ => Vec::new(),
    }
}

/// Of a script: sets the timer `NAME PERIOD TIMES`, and removes the timer `NAME`.
pub fn change_of(args: &str, now: u64) -> TimerChange {
    let words: Vec<&str> = args.split(' ').collect();
    match words[..] {
        [name, period, times] => {
            let [period, times] =
                [period, times].map(|text| text.parse::<u64>().expect("a timer has two numbers"));
            let rule = format!("{name} {period} {}", now + period * times).into();
            let (due, method, args) = (now + period, "tick".into(), "[]".into());
            TimerChange::Set { name: name.into(), due, method, args, rule }
        }
        [name] => TimerChange::Remove { name: name.into() },
        _ => panic!("`{args}` is no timer"),
    }
}

/// What the method of a timer does, and its next time.
pub fn fire(timer: &DueTimer) -> Effect {
    let rule = String::from_utf8(timer.rule.to_vec()).expect("the tests speak text");
    let mut parts = rule.split(' ');
    let tag = parts.next().unwrap_or_default();
    let mut number =
        || parts.next().and_then(|part| part.parse::<u64>().ok()).expect("a rule has two numbers");
    let (period, last) = (number(), number());
    let action = format!("{} of {tag} fires at {}", timer.name, timer.due);
    Effect { action, next: Some(timer.due + period).filter(|next| *next <= last) }
}
