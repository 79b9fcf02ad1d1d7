//! Writes mutations into the Rust sources of a copy, and lists them as JSON, one in a line.
//!
//! `conflux-mutants <numbers> <file>…`: each file is rewritten in place, without the mutations that have these numbers
//! (`3,17`, or an empty text), which do not compile. A mutation is a choice made at
//! run time (`runtime.rs`): the build is made once, and each of its mutations is switched on by its number. What is written
//! is inserted around expressions, so that mutations nest; no line is added or removed.

mod sites;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

fn main() -> ExitCode {
    let mut number = 1;
    let mut arguments = std::env::args().skip(1);
    let without = arguments.next().unwrap_or_default();
    let without: BTreeSet<u32> = without.split(',').filter_map(|number| number.parse().ok()).collect();
    for path in arguments {
        let source = match std::fs::read_to_string(&path) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let sites = match sites::of(&source, number) {
            Ok(sites) => sites,
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        };
        number += sites.mutations.len() as u32;
        for mutation in &sites.mutations {
            let line = json!({
                "number": mutation.number,
                "file": Path::new(&path),
                "line": mutation.line,
                "end": mutation.end_line,
                "function": mutation.function,
                "what": mutation.what,
            });
            println!("{line}");
        }
        if let Err(error) = std::fs::write(&path, sites.apply(&source, &without)) {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
