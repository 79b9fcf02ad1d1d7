//! The application of a node: identified by a name, or else by the names of its methods.
//!
//! Nodes of two applications that share a channel by mistake must not become one cluster. Used by `bootstrap/` for
//! nodes without a cluster, and by `node/applications.rs` within one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A node with more methods sends those with the lowest digests: the same ones on every node that has them.
const METHODS_MAX: usize = 1_024;
/// Two shortened lists prove two applications if at least this many methods of each could be compared, and none is in
/// both.
const SAMPLE_MIN: usize = 64;
/// The limit of the names that are sent, and of one name; of the other methods only the digests are sent.
const NAMES_BYTES_MAX: usize = 2_048;
const NAME_BYTES_MAX: usize = 64;
/// The limit of names in a message.
const LISTED_MAX: usize = 12;

const NAMESPACE: Uuid = Uuid::from_u128(0x636f_6e66_6c75_7820_6d65_7468_6f64_2e31);

/// A node's description of its application, with a limit in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The option `application`.
    name: Option<Arc<str>>,
    /// Some methods were left out.
    is_shortened: bool,
    /// The option `sessions` is on.
    has_sessions: bool,
    /// Sorted by digest, without repeats.
    methods: Arc<[Method]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Method {
    digest: [u8; 8],
    /// Empty if there was no room for it.
    name: Arc<str>,
}

/// The methods that two applications do not have in common, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Methods that only we have.
    pub ours: Arc<str>,
    /// Methods that only they have.
    pub theirs: Arc<str>,
}

impl Application {
    pub fn new<'a>(name: Option<&str>, methods: impl IntoIterator<Item = &'a str>) -> Self {
        let methods: BTreeMap<[u8; 8], &str> =
            methods.into_iter().map(|method| (digest(method), method)).collect();
        let is_shortened = methods.len() > METHODS_MAX;
        let mut kept: Vec<Method> = methods
            .into_iter()
            .take(METHODS_MAX)
            .map(|(digest, name)| Method { digest, name: shortened(name).into() })
            .collect();
        // In the order of the names, so that all nodes of one application name the same ones.
        kept.sort_by(|one, next| one.name.cmp(&next.name));
        let mut bytes = 0;
        for method in &mut kept {
            bytes += method.name.len();
            if bytes > NAMES_BYTES_MAX {
                method.name = "".into();
            }
        }
        kept.sort_by_key(|method| method.digest);
        Self { name: name.map(Arc::from), is_shortened, has_sessions: false, methods: kept.into() }
    }

    pub fn with_sessions(mut self, has_sessions: bool) -> Self {
        self.has_sessions = has_sessions;
        self
    }

    pub fn has_sessions(&self) -> bool {
        self.has_sessions
    }

    /// The union of the applications of several nodes of one cluster.
    pub fn union<'a>(applications: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        let mut methods = BTreeMap::new();
        for application in applications {
            union.name = union.name.or_else(|| application.name.clone());
            union.is_shortened |= application.is_shortened;
            union.has_sessions |= application.has_sessions;
            for method in application.methods.iter() {
                methods.entry(method.digest).or_insert_with(|| method.clone());
            }
        }
        union.is_shortened |= methods.len() > METHODS_MAX;
        union.methods = methods.into_values().take(METHODS_MAX).collect();
        union
    }

    /// Whether nodes of these two can be in one cluster. Their names decide; if one has no name, their methods do: two
    /// versions of one application that run together have some in common. A node without methods matches all.
    pub fn is_compatible_with(&self, other: &Self) -> bool {
        match (&self.name, &other.name) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => {
                self.methods.is_empty()
                    || other.methods.is_empty()
                    || self.methods.iter().any(|method| other.has(method))
                    || !self.can_be_compared_with(other)
            }
        }
    }

    /// How the methods of two versions of one application differ; `None` if they do not, or if one has none at all.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if self.methods.is_empty() || other.methods.is_empty() {
            return None;
        }
        let end = self.comparable_until(other);
        let only =
            |one: &Self, other: &Self| list(one.until(end).filter(|method| !other.has(method)).collect());
        let (ours, theirs) = (only(self, other), only(other, self));
        (ours.is_some() || theirs.is_some()).then(|| Difference {
            ours: ours.unwrap_or_else(|| "none".into()),
            theirs: theirs.unwrap_or_else(|| "none".into()),
        })
    }

    /// For an error or a warning.
    pub fn describe(&self) -> Arc<str> {
        let methods = list(self.methods.iter().collect());
        let methods =
            methods.map_or_else(|| "no methods".to_string(), |methods| format!("methods {methods}"));
        match &self.name {
            Some(name) => format!("application `{name}` ({methods})").into(),
            None => format!("an application with the {methods}").into(),
        }
    }

    fn has(&self, method: &Method) -> bool {
        self.methods.binary_search_by_key(&method.digest, |method| method.digest).is_ok()
    }

    /// The digest up to which both lists are complete; `None` if neither is shortened.
    fn comparable_until(&self, other: &Self) -> Option<[u8; 8]> {
        let cut = [self, other].into_iter().filter(|one| one.is_shortened);
        cut.filter_map(|one| one.methods.last()).map(|method| method.digest).min()
    }

    fn until(&self, end: Option<[u8; 8]>) -> impl Iterator<Item = &Method> {
        self.methods.iter().filter(move |method| end.is_none_or(|end| method.digest <= end))
    }

    /// Whether two lists without a common method prove two applications. They do not if common methods may have been
    /// left out.
    fn can_be_compared_with(&self, other: &Self) -> bool {
        let end = self.comparable_until(other);
        end.is_none() || [self, other].into_iter().all(|one| one.until(end).count() >= SAMPLE_MIN)
    }
}

fn digest(method: &str) -> [u8; 8] {
    let hash = Uuid::new_v5(&NAMESPACE, method.as_bytes()).into_bytes();
    [hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[9], hash[10]]
}

/// The beginning of a name, as much as fits.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_string();
    }
    let mark = '…';
    let end = (0..=NAME_BYTES_MAX - mark.len_utf8()).rev().find(|end| name.is_char_boundary(*end));
    format!("{}{mark}", &name[..end.unwrap_or(0)])
}

/// The names, sorted, and how many there are beside them; `None` of none.
fn list(methods: Vec<&Method>) -> Option<Arc<str>> {
    let mut names: Vec<&str> =
        methods.iter().map(|method| &*method.name).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.truncate(LISTED_MAX);
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (names.len(), methods.len() - names.len()) {
        (0, 0) => None,
        (_, 0) => Some(listed.into()),
        (0, more) => Some(format!("{more} with names that are not known here").into()),
        (_, more) => Some(format!("{listed} and {more} more").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: Option<&str>, methods: &[&str]) -> Application {
        Application::new(name, methods.iter().copied())
    }

    #[test]
    fn names_decide_where_both_have_one() {
        let shop = with(Some("shop"), &["order"]);
        assert!(shop.is_compatible_with(&with(Some("shop"), &["cancel"])));
        assert!(!shop.is_compatible_with(&with(Some("chat"), &["order"])));
        assert!(!shop.is_compatible_with(&with(Some("chat"), &[])));
    }

    #[test]
    fn methods_decide_where_a_name_is_missing() {
        let plain = with(None, &["a", "b"]);
        assert!(plain.is_compatible_with(&with(None, &["b", "c"])));
        assert!(plain.is_compatible_with(&with(Some("shop"), &["b"])));
        assert!(!plain.is_compatible_with(&with(None, &["c", "d"])));
        assert!(!plain.is_compatible_with(&with(Some("shop"), &["c"])));
        assert!(
            plain.is_compatible_with(&with(Some("shop"), &[])) && with(None, &[]).is_compatible_with(&plain)
        );
    }

    #[test]
    fn a_union_has_the_methods_of_all_and_the_name_of_any() {
        let union = Application::union([&with(None, &["a", "b"]), &with(Some("shop"), &["b", "c"])]);
        assert_eq!(union, with(Some("shop"), &["a", "b", "c"]));
        assert_eq!(Application::union([]), Application::default());
    }

    #[test]
    fn a_difference_says_what_is_missing_on_which_side() {
        let difference = with(None, &["a", "b"]).difference(&with(None, &["b", "c", "d"]));
        assert_eq!(difference, Some(Difference { ours: "`a`".into(), theirs: "`c`, `d`".into() }));
        let fewer = with(None, &["a"]).difference(&with(None, &["a", "b"]));
        assert_eq!(fewer, Some(Difference { ours: "none".into(), theirs: "`b`".into() }));
        assert_eq!(with(None, &["a", "b"]).difference(&with(Some("shop"), &["b", "a"])), None);
        assert_eq!(with(None, &[]).difference(&with(None, &["a"])), None);
    }

    #[test]
    fn what_travels_is_bounded_and_still_tells_applications_apart() {
        let names = |from: usize| -> Vec<String> {
            (from..from + 5_000).map(|number| format!("method-{number}-{}", "é".repeat(100))).collect()
        };
        let of = |names: &[String]| Application::new(Some("shop"), names.iter().map(String::as_str));
        let (one, next, other) = (of(&names(0)), of(&names(10)), of(&names(5_000)));
        let bytes = postcard::to_allocvec(&one).expect("it is plain data").len();
        assert!(bytes < 12_000, "{bytes} bytes");
        let nameless = |application: &Application| Application { name: None, ..application.clone() };
        assert!(
            nameless(&one).is_compatible_with(&nameless(&next))
                && !nameless(&one).is_compatible_with(&nameless(&other))
        );
        assert!(nameless(&one).is_compatible_with(&with(None, &["what it has may have been cut"])));
        assert_eq!(one.difference(&one), None);
        let text = one.describe();
        assert!(text.len() < 2_000 && text.contains("and 1012 more"), "{text}");
    }

    /// A list that has room for all methods proves that an application with few other methods is another one. A list
    /// that is cut proves nothing to so few.
    #[test]
    fn a_list_is_cut_only_if_it_has_no_room_for_all_methods() {
        let names: Vec<String> = (0..=METHODS_MAX).map(|number| format!("m{number}")).collect();
        let of = |count: usize| Application::new(None, names[..count].iter().map(String::as_str));
        let other = with(None, &["other"]);
        assert!(
            !of(METHODS_MAX).is_compatible_with(&other) && of(METHODS_MAX + 1).is_compatible_with(&other)
        );
        let half = METHODS_MAX / 2;
        let rest = |count: usize| Application::new(None, names[half..count].iter().map(String::as_str));
        assert!(!Application::union([&of(half), &rest(METHODS_MAX)]).is_compatible_with(&other));
        assert!(Application::union([&of(half), &rest(METHODS_MAX + 1)]).is_compatible_with(&other));
    }

    /// Whatever is at the end of one list may only have been cut from the other.
    #[test]
    fn lists_that_are_cut_differ_only_where_both_are_complete() {
        let names: Vec<String> = (0..2_000).map(|number| format!("m{number}")).collect();
        let all = Application::new(None, names.iter().map(String::as_str));
        // One that travels is gone: at the end, another one has its room.
        let gone = all.methods[0].name.clone();
        let fewer = Application::new(None, names.iter().map(String::as_str).filter(|name| **name != *gone));
        let difference = all.difference(&fewer).expect("one is missing");
        assert_eq!((&*difference.ours, &*difference.theirs), (&*format!("`{gone}`"), "none"));
    }

    #[test]
    fn names_of_any_length_are_cut_between_characters_if_they_are_too_long() {
        for length in 0..100 {
            let name = "é".repeat(length);
            assert!(shortened(&name).len() <= NAME_BYTES_MAX);
            assert_eq!(shortened(&name) == name, name.len() <= NAME_BYTES_MAX, "{} bytes", name.len());
        }
    }
}
