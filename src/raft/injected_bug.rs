//! Marks the places where the simulations reintroduce a known bug (`testing/bugs.rs`).
//!
//! Each mark is one statement, and a build that is shipped contains nothing of it.

/// `injected_bug!(Bug, statements)` executes the statements while the bug is reintroduced. `injected_bug!(Bug, name =>
/// value)` gives the local variable `name` another value.
macro_rules! injected_bug {
    ($bug:ident, $name:ident => $value:expr) => {
        #[cfg(test)]
        let $name = if $crate::raft::testing::bugs::is_injected($crate::raft::testing::bugs::Bug::$bug) {
            $value
        } else {
            $name
        };
    };
    ($bug:ident, $($statements:tt)*) => {
        #[cfg(test)]
        if $crate::raft::testing::bugs::is_injected($crate::raft::testing::bugs::Bug::$bug) {
            $($statements)*;
        }
    };
}
