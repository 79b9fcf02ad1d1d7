//! Project rules that a compiler cannot check, as tests.
//!
//! They read the whole tree as text. A rule is a function from a text to its faults; a second test gives each rule a bad
//! text, so that no rule can pass by checking nothing.

mod commands;
mod module_graph;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LINES_MAX: usize = 600;

/// A text file of the repository, its path relative to the root and with forward slashes.
struct Text {
    path: String,
    text: String,
}

impl Text {
    /// Without line comments, and without what is compiled for tests only: what the import rules look at.
    fn production_code(&self) -> String {
        let is_for_tests = ["/testing", "/simulation"].iter().any(|folder| self.path.contains(folder))
            || self.path.ends_with("tests.rs");
        if is_for_tests || self.path.ends_with("contract.rs") {
            return String::new();
        }
        let until_tests = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        until_tests
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

#[test]
fn modules_import_in_one_direction() {
    let sources = rust_sources();
    assert!(sources.iter().any(|source| source.is_in("src/raft/")), "found no source of the core");
    assert_no_faults(sources.iter().flat_map(faults_of_imports));
}

#[test]
fn the_import_rule_sees_every_forbidden_direction() {
    for (path, line) in [
        ("src/raft/node.rs", "use std::time::Instant;"),
        ("src/raft/node.rs", "let now = std::time::SystemTime::now();"),
        ("src/raft/node.rs", "use tokio::sync::mpsc;"),
        ("src/raft/node.rs", "use std::collections::HashMap;"),
        ("src/raft/node.rs", "use crate::channel::Channel;"),
        ("src/raft/node.rs", "use crate::{driver, error};"),
        ("src/raft/node.rs", "use anyhow::Context;"),
        ("src/raft/node.rs", "let rng = rand::thread_rng();"),
        ("src/channel/redis/mod.rs", "use crate::js::open;"),
        ("src/channel/memory.rs", "use crate::raft::Frame;"),
        ("src/channel/memory.rs", "use crate::raft::{Incarnation, Status};"),
        ("src/channel/memory.rs", "tokio::select! { a = b => c }"),
        ("src/storage/memory.rs", "use crate::driver::Handle;"),
        ("src/driver.rs", "use napi::Env;"),
        ("src/driver.rs", "crate::js::deliver();"),
    ] {
        assert!(!faults_of_imports(&text(path, line)).is_empty(), "not seen in {path}: {line}");
    }
    for (path, line) in [
        ("src/raft/node.rs", "use crate::error::Error; // tokio may be named in a comment"),
        ("src/raft/node.rs", "use std::collections::BTreeMap;"),
        ("src/raft/testing/mod.rs", "use std::time::Instant;"),
        ("src/channel/memory.rs", "use crate::raft::{Incarnation, Target};"),
        ("src/driver.rs", "tokio::select! { a = b => c }"),
        ("src/js/mod.rs", "use napi::Env; use crate::driver;"),
    ] {
        assert_no_faults(faults_of_imports(&text(path, line)));
    }
}

/// The first names of paths that the core may use. `std` is narrowed by [`FORBIDDEN_IN_CORE`].
const CRATES_OF_CORE: [&str; 16] = [
    "std",
    "core",
    "alloc",
    "self",
    "super",
    "crate",
    "raft_rs",
    "protobuf",
    "bytes",
    "postcard",
    "serde",
    "crc32c",
    "uuid",
    "rand_chacha",
    "slog",
    "thiserror",
];

/// Clocks, random generators, threads, files, sockets, JavaScript, and orders that differ from run to run.
const FORBIDDEN_IN_CORE: [&str; 16] = [
    "std::time",
    "std::thread",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "tokio",
    "napi",
    "redis",
    "thread_rng",
    "OsRng",
    "HashMap",
    "HashSet",
    "unsafe",
];

fn faults_of_imports(source: &Text) -> Vec<String> {
    let code = source.production_code();
    let mut faults = Vec::new();
    let mut forbid = |words: &[&str]| {
        for word in words.iter().filter(|word| has_word(&code, word)) {
            faults.push(format!("{}: `{word}` does not belong here", source.path));
        }
    };

    if source.is_in("src/raft/") {
        forbid(&FORBIDDEN_IN_CORE);
        let foreign =
            imported_crates(&code).into_iter().filter(|name| !CRATES_OF_CORE.contains(&name.as_str()));
        for name in foreign {
            faults.push(format!("{}: the core may not use the crate `{name}`", source.path));
        }
        let modules = names_after(&code, "crate::").into_iter();
        let modules = modules.filter(|module| module != "error" && module != "raft");
        faults.extend(modules.map(|name| format!("{}: the core may not name `crate::{name}`", source.path)));
    } else if source.is_in("src/channel/") {
        forbid(&["crate::js", "crate::driver", "crate::storage", "napi", "select!"]);
        let names = names_after(&code, "crate::raft::")
            .into_iter()
            .filter(|n| !["Incarnation", "Lane", "Target"].contains(&n.as_str()));
        faults.extend(names.map(|name| format!("{}: a channel may not know `raft::{name}`", source.path)));
    } else if source.is_in("src/storage/") {
        forbid(&["crate::js", "crate::driver", "crate::channel", "napi", "select!"]);
    } else if source.is_in("src/driver") {
        forbid(&["crate::js", "napi"]);
    } else if source.is_in("src/js/") {
        forbid(&["select!"]);
    }
    faults
}

/// A test must execute the code that is shipped: only `injected_bug!` adds statements for tests.
#[test]
fn no_statement_of_the_core_has_two_variants() {
    assert_no_faults(rust_sources().iter().flat_map(faults_of_variants));
}

#[test]
fn the_variant_rule_sees_other_switches() {
    let switch = "if crate::raft::testing::bugs::is_injected(Bug::X) { return }";
    for bad in
        ["#[cfg(not(test))]\nlet x = 1;", "#[cfg(test)]\nlet x = 2;", "if cfg!(test) { return }", switch]
    {
        assert!(!faults_of_variants(&text("src/raft/node.rs", bad)).is_empty(), "not seen: {bad}");
    }
    let good = "#[cfg(test)]\nuse x::y;\n#[cfg(test)]\nfn f() {}\ninjected_bug!(X, return);";
    assert_no_faults(faults_of_variants(&text("src/raft/node.rs", good)));
}

fn faults_of_variants(source: &Text) -> Vec<String> {
    if !source.is_in("src/raft/") || source.path == "src/raft/injected_bug.rs" {
        return Vec::new();
    }
    let code = source.production_code();
    // A limit may be one that a test can reach.
    let is_limit = |line: &&str| line.trim_start().trim_start_matches("pub ").starts_with("const ");
    let lines = code.lines().filter(|line| !is_limit(line));
    let switches = ["cfg(not(test))", "cfg!(test)", "is_injected"];
    let mut found: Vec<&str> =
        lines.filter(|line| switches.iter().any(|switch| line.contains(switch))).collect();
    for attribute in ["#[cfg(test)]", "#[cfg(any(test"] {
        let marked = code.split(attribute).skip(1).filter_map(|rest| rest.split_once('\n')?.1.lines().next());
        let is_item = |line: &str| {
            let first = words(line.trim_start().trim_start_matches("pub(super)")).find(|word| *word != "pub");
            first
                .is_some_and(|word| ["use", "mod", "fn", "impl", "const", "struct", "derive"].contains(&word))
        };
        found.extend(marked.filter(|line| !is_item(line)));
    }
    found
        .into_iter()
        .map(|switch| format!("{}: `{}` is for tests only", source.path, switch.trim()))
        .collect()
}

/// The parts of the core that extend the node, which routes: messages of peers, deliveries for JavaScript, events of the
/// bootstrap. All others are types of their own that it asks; the list becomes only shorter. The last two call the node.
const PARTS_OF_NODE: [&str; 5] = ["deliveries", "inbound", "lifecycle", "../fuzzing", "../mod"];

#[test]
fn only_known_parts_extend_the_node() {
    let names_node = |source: &&Text| {
        source.is_in("src/raft/")
            && source.path != "src/raft/node.rs"
            && has_word(&source.production_code(), "Node")
    };
    let sources = rust_sources();
    let found: BTreeSet<&str> =
        sources.iter().filter(names_node).map(|source| source.path.as_str()).collect();
    let known = PARTS_OF_NODE.iter().map(|part| match part.strip_prefix("../") {
        Some(file) => format!("src/raft/{file}.rs"),
        None => format!("src/raft/node/{part}.rs"),
    });
    let known: BTreeSet<String> = known.collect();
    assert_eq!(found, known.iter().map(String::as_str).collect());
}

/// `timing.rs` has a name and a reason for each multiple of a heartbeat interval and of an election timeout.
#[test]
fn only_the_timing_multiplies_timeouts() {
    assert_no_faults(rust_sources().iter().flat_map(faults_of_timeouts));
}

#[test]
fn the_timeout_rule_sees_either_order() {
    for bad in
        ["3 * election_ticks", "2 * self.timing.heartbeat()", "timing.election() / 2", "heartbeat_ticks * 4"]
    {
        assert!(!faults_of_timeouts(&text("src/raft/node/x.rs", bad)).is_empty(), "not seen: {bad}");
    }
    assert_no_faults(faults_of_timeouts(&text("src/raft/node/x.rs", "now + election_ticks; 3 * bytes")));
}

fn faults_of_timeouts(source: &Text) -> Vec<String> {
    const TIMEOUTS: [&str; 5] = [
        "election_ticks",
        "election_timeout_ticks_min",
        "election_timeout_ticks_max",
        "heartbeat_ticks",
        "timing",
    ];
    if !source.is_in("src/raft/") || source.path == "src/raft/consensus/timing.rs" {
        return Vec::new();
    }
    let code = source.production_code();
    let has_timeout =
        |side: Option<&str>| side.is_some_and(|side| TIMEOUTS.iter().any(|name| has_word(side, name)));
    let is_multiple = |line: &&str| {
        [" * ", " / "].iter().any(|operator| {
            line.match_indices(operator).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + operator.len()..]);
                let operand = |c: char| !c.is_alphanumeric() && !"_.()".contains(c);
                has_timeout(before.rsplit(operand).next()) || has_timeout(after.split(operand).next())
            })
        })
    };
    let multiples = code.lines().filter(is_multiple);
    multiples.map(|line| format!("{}: `{}` belongs in timing.rs", source.path, line.trim())).collect()
}

#[test]
fn files_are_short_and_say_what_they_are() {
    assert_no_faults(written_by_hand().iter().flat_map(faults_of_file));
}

#[test]
fn the_file_rule_sees_long_and_headless_and_unfinished_files() {
    let head = "//! A short file.\n";
    for bad in ["fn main() {}\n".to_owned(), head.repeat(LINES_MAX + 1), format!("{head}{}!()\n", "todo")] {
        assert!(
            !faults_of_file(&text("src/x.rs", &bad)).is_empty(),
            "not seen: {}",
            &bad[..24.min(bad.len())]
        );
    }
    assert_no_faults(faults_of_file(&text("src/x.rs", head)));
    assert_no_faults(faults_of_file(&text("lib/x.js", "'use strict'\n\n// Another short file.\n")));
}

fn faults_of_file(source: &Text) -> Vec<String> {
    let mut faults = Vec::new();
    let line_count = source.text.lines().count();
    if line_count > LINES_MAX {
        faults.push(format!("{}: {line_count} lines; a file has one main type", source.path));
    }
    let says_what_it_is = source.text.lines().take(4).any(|line| {
        let text = line.trim_start().trim_start_matches(['/', '!', '*', ' ']);
        line.trim_start().starts_with(['/', '*']) && text.starts_with(|c: char| c.is_uppercase() || c == '`')
    });
    if !says_what_it_is {
        faults.push(format!("{}: its head does not say what it does", source.path));
    }
    for mark in [concat!("todo", "!("), concat!("dbg", "!("), concat!("TO", "DO"), concat!("FIX", "ME")] {
        if source.text.contains(mark) {
            faults.push(format!("{}: `{mark}` is left in it", source.path));
        }
    }
    faults
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    assert_no_faults(tree().iter().flat_map(faults_of_paths));
}

#[test]
fn the_path_rule_sees_home_and_work_folders() {
    for folder in MACHINE_FOLDERS {
        assert!(
            !faults_of_paths(&text("README.md", &format!("see {folder}x"))).is_empty(),
            "not seen: {folder}"
        );
    }
    assert_no_faults(faults_of_paths(&text("README.md", "see /usr/bin and ./dist")));
}

/// Spelled in two halves, so that this file passes its own rule.
const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/tmp", "/w"),
];

fn faults_of_paths(source: &Text) -> Vec<String> {
    let named = MACHINE_FOLDERS.iter().filter(|folder| source.text.contains(**folder));
    named.map(|folder| format!("{}: names a path below {folder}", source.path)).collect()
}

#[test]
fn both_manifests_have_one_version() {
    let npm: serde_json::Value = serde_json::from_str(&read("package.json")).expect("package.json is JSON");
    assert_eq!(
        npm["version"],
        env!("CARGO_PKG_VERSION"),
        "package.json and Cargo.toml differ in their version"
    );
}

/// The types document everything that a program may act on.
#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let documented = codes_in(&read("index.d.ts"));
    let used: BTreeSet<String> = tree()
        .iter()
        .filter(|source| source.is_in("src/") || source.is_in("lib/") || source.path == "index.js")
        .filter(|source| source.path != "src/tidy.rs")
        .flat_map(|source| codes_in(&source.text))
        .collect();
    assert!(!used.is_empty(), "found no code at all");
    let undocumented: Vec<_> = used.difference(&documented).collect();
    let unused: Vec<_> = documented.difference(&used).collect();
    assert!(undocumented.is_empty(), "index.d.ts does not document {undocumented:?}");
    assert!(unused.is_empty(), "index.d.ts documents {unused:?}, which nothing reports");
}

#[test]
fn codes_are_found_in_any_text() {
    let text = r#""ERR_CONFLUX_BUSY", `WARN_CONFLUX_OTHER_VERSION`: ERR_CONFLUX_… ERR_OTHER"#;
    let expected = ["ERR_CONFLUX_BUSY", "WARN_CONFLUX_OTHER_VERSION"].map(str::to_owned);
    assert_eq!(codes_in(text), BTreeSet::from(expected));
}

fn codes_in(text: &str) -> BTreeSet<String> {
    words(text)
        .filter(|word| word.starts_with("ERR_CONFLUX_") || word.starts_with("WARN_CONFLUX_"))
        .filter(|word| !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Whether `code` contains `word`, not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !(before.is_some_and(is_name) || after.is_some_and(is_name) && word.ends_with(is_name))
    })
}

/// The first names of all `use` declarations, other than modules that the same file declares.
fn imported_crates(code: &str) -> BTreeSet<String> {
    let lines = || code.lines().map(|line| line.trim_start().trim_start_matches("pub "));
    let modules: BTreeSet<&str> =
        lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    lines()
        .filter_map(|line| line.strip_prefix("use "))
        .filter_map(|path| words(path).next())
        .filter(|first| !modules.contains(first))
        .map(str::to_owned)
        .collect()
}

/// The names that follow `prefix`: one, or those of a `{list}` at its top level.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or_default();
                let firsts = list.split(',').map(|item| item.split("::").next().unwrap_or_default());
                names.extend(firsts.flat_map(words).map(str::to_owned));
            }
            None => names.extend(words(rest).next().map(str::to_owned)),
        }
    }
    names
}

fn rust_sources() -> Vec<Text> {
    tree().into_iter().filter(|source| source.is_in("src/") && source.path.ends_with(".rs")).collect()
}

/// Every source that people read, in either language, without the types, which are one long document.
fn written_by_hand() -> Vec<Text> {
    let is_source = |path: &str| [".rs", ".js", ".mjs", ".cjs"].iter().any(|ending| path.ends_with(ending));
    // `lib.rs` is the map, `build.rs` one line, `examples/` are written for their readers' own projects.
    let is_own_kind =
        |path: &str| path == "src/lib.rs" || path == "build.rs" || path.starts_with("examples/");
    tree().into_iter().filter(|source| is_source(&source.path) && !is_own_kind(&source.path)).collect()
}

fn tree() -> Vec<Text> {
    let mut texts = Vec::new();
    collect(root(), &mut texts);
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    texts
}

/// The files in git; generated and installed files are excluded by name.
fn collect(folder: &Path, texts: &mut Vec<Text>) {
    const NOT_OURS: [&str; 10] = [
        ".git",
        "target",
        "node_modules",
        "dist",
        "npm",
        "bench-results",
        "nemesis-results",
        "binding.js",
        "binding.d.ts",
        ".library",
    ];
    for entry in fs::read_dir(folder).expect("the tree can be read") {
        let path = entry.expect("the tree can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, texts);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let relative =
                path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            texts.push(Text { path: relative, text });
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading `{path}`: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str, text: &str) -> Text {
    Text { path: path.to_owned(), text: text.to_owned() }
}

fn assert_no_faults(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
