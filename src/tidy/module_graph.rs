//! Finds cycles of imports between the files of production code.
//!
//! A file imports what its `use` declarations and its paths name, from the file that defines it: re-exports are
//! followed. A file may import from the files of its own parent modules, because it is a part of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Text, assert_no_faults, rust_sources, text, words};

/// The path of a module from the root of the crate.
type Module = Vec<String>;

#[test]
fn no_imports_form_a_cycle() {
    assert!(graph(&rust_sources()).len() > 50, "found too few modules with imports");
    assert_no_faults(cycles(&rust_sources()));
}

#[test]
fn the_cycle_rule_sees_direct_and_indirect_and_renamed_imports() {
    let root = "mod a; mod b;";
    for (a, b) in [
        ("use crate::b::X;", "use super::a::Y;"),
        ("use super::{b::{X}, c};", "fn f() { crate::a::g() }"),
        ("use crate::X;", "use crate::a::Y;"),
    ] {
        let root = format!("{root} use b::X;");
        let found = cycles(&[text("src/lib.rs", &root), text("src/a.rs", a), text("src/b.rs", b)]);
        assert_eq!(found.len(), 1, "not seen: {a} and {b}");
    }
    for (a, b) in [
        ("use crate::b::X;", "#[cfg(test)]\nuse crate::a::Y;"),
        ("use crate::b::X;", "#[cfg(test)]\nmod tests {\nuse crate::a::Y;"),
        ("use crate::b::X;", "// crate::a::Y"),
        ("mod c; use c::X;", "use crate::a;"),
    ] {
        let part = text("src/a/c.rs", "use super::Y; use crate::Z;");
        assert_no_faults(cycles(&[text("src/lib.rs", root), text("src/a.rs", a), text("src/b.rs", b), part]));
    }
}

/// One fault for each group of files that import each other, with the shortest cycle in it.
fn cycles(sources: &[Text]) -> Vec<String> {
    let graph = graph(sources);
    let mut reported = BTreeSet::new();
    let mut faults = Vec::new();
    for module in graph.keys() {
        let Some(cycle) = shortest_cycle(&graph, module).filter(|_| !reported.contains(module)) else {
            continue;
        };
        let names: Vec<String> = cycle.iter().map(|module| module.join("::")).collect();
        reported.extend(cycle);
        faults.push(format!("imports form a cycle: {}", names.join(" -> ")));
    }
    faults
}

fn shortest_cycle(graph: &BTreeMap<Module, BTreeSet<Module>>, module: &Module) -> Option<Vec<Module>> {
    let mut paths = VecDeque::from([vec![module.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for next in path.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            let longer = || path.iter().cloned().chain([next.clone()]).collect();
            if next == module {
                return Some(longer());
            }
            if seen.insert(next) {
                paths.push_back(longer());
            }
        }
    }
    None
}

/// For each module of production code, the modules that it imports from.
fn graph(sources: &[Text]) -> BTreeMap<Module, BTreeSet<Module>> {
    let codes: BTreeMap<Module, String> =
        sources.iter().map(|source| (module_of(&source.path), shipped_code(source))).collect();
    let mut modules = BTreeMap::new();
    declare(Vec::new(), &codes, &mut modules);
    let imports_of = |(module, imports): (&Module, &Imports)| {
        let defined = imports.paths.iter().map(|path| defining_module(path, &modules));
        let others = defined.filter(|defined| !module.starts_with(defined)).collect();
        (module.clone(), others)
    };
    modules.iter().map(imports_of).collect()
}

/// What a file names, as paths from the root.
struct Imports {
    paths: Vec<Module>,
    /// The names that the module has for others, which may import them from here.
    names: BTreeMap<String, Module>,
}

/// Collects the module and its parts that are declared, and therefore are production code.
fn declare(module: Module, codes: &BTreeMap<Module, String>, modules: &mut BTreeMap<Module, Imports>) {
    let Some(code) = codes.get(&module) else { return };
    let parts: Vec<&str> = statements(code, "mod ").collect();
    let mut imports = Imports { paths: Vec::new(), names: BTreeMap::new() };
    let used = statements(code, "use ").flat_map(branches);
    for (path, name) in used {
        let Some(path) = from_root(&module, &path, &parts) else { continue };
        imports.names.insert(name, path.clone());
        imports.paths.push(path);
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let end = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let path: Module =
                words(&code[at..end.map_or(code.len(), |end| at + end)]).map(str::to_owned).collect();
            let is_whole = !code[..at].ends_with([':', '_']) && !code[..at].ends_with(char::is_alphanumeric);
            imports.paths.extend(from_root(&module, &path, &parts).filter(|_| is_whole));
        }
    }
    modules.insert(module.clone(), imports);
    for part in parts {
        declare([&module[..], &[part.to_owned()]].concat(), codes, modules);
    }
}

/// The module that defines what the path names: re-exports are followed.
fn defining_module(path: &[String], modules: &BTreeMap<Module, Imports>) -> Module {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]));
        let (module, rest) = path.split_at(depth.unwrap_or(0));
        let name = rest.first().filter(|_| depth.is_some());
        let Some(origin) = name.and_then(|name| modules[module].names.get(name)) else {
            return module.to_vec();
        };
        path = [origin, &rest[1..]].concat();
    }
    path
}

/// The path from the root; `None` if it leads to another crate.
fn from_root(module: &Module, path: &[String], parts: &[&str]) -> Option<Module> {
    let first = path.first()?.as_str();
    let supers = path.iter().take_while(|name| *name == "super").count();
    match first {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([&module[..module.len().saturating_sub(supers)], &path[supers..]].concat()),
        _ => parts.contains(&first).then(|| [module, path].concat()),
    }
}

/// The paths of a `use` declaration, each with the name that it gets.
fn branches(tree: &str) -> Vec<(Module, String)> {
    let tree = tree.trim();
    if let Some((prefix, list)) = tree.split_once('{') {
        let list = list.trim_end().trim_end_matches('}');
        return top_level_items(list)
            .into_iter()
            .flat_map(|item| branches(&format!("{prefix}{item}")))
            .collect();
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path: Module = words(path).map(str::to_owned).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = words(name).next().or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
    vec![(path, name)]
}

/// The items of a list, split at the commas that no braces enclose.
fn top_level_items(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let items = list.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    items.filter(|item| !item.trim().is_empty()).collect()
}

/// What follows `start` until the semicolon, wherever a declaration begins with it.
fn statements<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(start).filter_map(move |(at, _)| {
        let is_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let statement = code[at + start.len()..].split(';').next().filter(|_| is_word)?;
        let is_module = start != "mod " || statement.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_module.then_some(statement)
    })
}

/// Production code without the declarations that are compiled for tests only.
fn shipped_code(source: &Text) -> String {
    let code = source.production_code();
    let mut pieces = code.split("#[cfg(");
    let mut shipped = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_for_tests = piece.starts_with("test)]") || piece.starts_with("any(test");
        let declaration = piece.split_once(']').map_or("", |(_, rest)| rest).trim_start();
        let declaration = declaration.trim_start_matches("pub(super) ").trim_start_matches("pub ");
        let is_declaration = declaration.starts_with("use ") || declaration.starts_with("mod ");
        let rest = if is_for_tests && is_declaration { piece.split_once(';') } else { piece.split_once(']') };
        shipped.push_str(rest.map_or("", |(_, rest)| rest));
    }
    shipped
}

fn module_of(path: &str) -> Module {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}
