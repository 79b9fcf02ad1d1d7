//! Commands that the documents and scripts name: what they filter by exists.

use super::{Text, assert_no_faults, rust_sources, text, tree};

#[test]
fn every_named_command_runs_something() {
    let tree = tree();
    let known = Known::of(&tree);
    assert!(known.tests.iter().any(|test| test.starts_with("raft::")), "found no test of the core");
    let naming = tree.iter().filter(|source| {
        source.path.ends_with(".md") || source.is_in("scripts/") || source.is_in(".github/")
    });
    assert_no_faults(naming.flat_map(|source| faults_of_commands(source, &known)));
}

#[test]
fn the_command_rule_sees_what_is_not_there() {
    let known = Known {
        tests: vec!["raft::testing::churn::churn_of_members".into()],
        test_files: vec!["disk".into(), "slow-disk".into()],
        scripts: vec!["sim".into(), "bench:life".into()],
    };
    for line in [
        "`cargo test --lib hibernation`",
        "`cargo test chrun -- --nocapture`",
        "`npm test -- disks`",
        "`CONFLUX_RUNS=3 npm test -- disk gone`",
        "`npm run simulate -- --seeds 5`",
        "path: 'raft::membership::simulation::founding',",
    ] {
        assert!(!faults_of_commands(&text("docs/a.md", line), &known).is_empty(), "not seen: {line}");
    }
    for line in [
        "`cargo test`, `cargo test --lib churn -- --nocapture`, `cargo test --example order`",
        "`npm test -- disk`, `npm test -- disk slow-disk`, `npm test`",
        "`npm run sim -- --test churn`, `npm run bench:life -- --quick`",
        "path: 'raft::testing::churn::churn_of_members',",
    ] {
        assert_no_faults(faults_of_commands(&text("docs/a.md", line), &known));
    }
}

/// What a command can name.
struct Known {
    /// With their modules, as `cargo test` filters them.
    tests: Vec<String>,
    /// In `__test__`, without the ending.
    test_files: Vec<String>,
    /// Of `package.json`.
    scripts: Vec<String>,
}

impl Known {
    fn of(tree: &[Text]) -> Self {
        let manifest =
            tree.iter().find(|source| source.path == "package.json").map_or("", |found| &found.text);
        let scripts = manifest.split("\"scripts\": {").nth(1).and_then(|rest| rest.split('}').next());
        let names = scripts.unwrap_or_default().lines().filter_map(|line| line.split('"').nth(1));
        let test_file = |source: &Text| {
            let name = source.path.strip_prefix("__test__/")?;
            name.strip_suffix(".test.js").map(str::to_owned)
        };
        Self {
            tests: rust_sources().iter().flat_map(tests_of).collect(),
            test_files: tree.iter().filter_map(test_file).collect(),
            scripts: names.map(str::to_owned).collect(),
        }
    }
}

/// The functions of a file, with the path of its module. Not only those with `#[test]`, which macros may make.
fn tests_of(source: &Text) -> Vec<String> {
    let module = source.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let module = module.replace('/', "::");
    let named = source.text.split("fn ").skip(1);
    let names = named.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    names.flatten().map(|name| format!("{module}::{name}")).collect()
}

fn faults_of_commands(source: &Text, known: &Known) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |is_known: bool, command: &str, name: &str| {
        if !is_known {
            faults.push(format!("{}: `{command} {name}` names nothing that exists", source.path));
        }
    };
    for name in arguments_of(&source.text, "cargo test", &["--lib"]) {
        check(known.tests.iter().any(|test| test.contains(name)), "cargo test", name);
    }
    for name in arguments_of(&source.text, "npm test --", &[]) {
        check(known.test_files.iter().any(|file| file.contains(name)), "npm test --", name);
    }
    for rest in source.text.split("npm run ").skip(1) {
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != ':').next().unwrap_or_default();
        check(name.is_empty() || known.scripts.iter().any(|script| script == name), "npm run", name);
    }
    let paths = source.text.split("'raft::").skip(1).filter_map(|rest| rest.split('\'').next());
    for path in paths.filter(|path| !path.is_empty()) {
        let path = format!("raft::{path}");
        check(known.tests.contains(&path), "the test", &path);
    }
    faults
}

/// The words behind a command, up to its end or its first option.
fn arguments_of<'a>(text: &'a str, command: &str, options: &[&str]) -> Vec<&'a str> {
    let behind = text.split(command).skip(1).filter_map(|rest| rest.split(['`', '\n', '|']).next());
    let words = behind.flat_map(|rest| {
        let is_command = rest.starts_with(' ');
        let given = rest.split_whitespace().filter(|word| !options.contains(word));
        given.take_while(move |word| is_command && !word.starts_with(['-', '$', '#']))
    });
    words.filter(|word| word.chars().all(|c| c.is_alphanumeric() || "_-:".contains(c))).collect()
}
