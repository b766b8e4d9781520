//! The map in `docs/architecture.md` is the map of the source.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use self::source::{Crate, Reference};

/// Mark of the composition root, whose arrows are not counted one by one.
const EVERYTHING: &str = "everything";

/// Rows of a table in `docs/architecture.md`: the name in the first column, and the names in the second.
fn table(header: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().skip_while(|line| *line != header);
    assert_eq!(lines.next(), Some(header), "{path} has no such table");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let first = cells.next().unwrap();
        let second = cells.next().unwrap();
        (name(first), second.split(',').map(name).filter(|name| name != "nothing").collect())
    });
    rows.collect()
}

fn name(cell: &str) -> String {
    cell.trim().trim_matches('`').to_owned()
}

fn map() -> BTreeMap<String, BTreeSet<String>> {
    table("| room | may use |")
}

/// Paths from one room to another.
fn arrows(source: &Crate) -> Vec<(String, String, Reference)> {
    let rooms = source.references().into_iter().filter_map(|reference| {
        let from = reference.from.first()?.clone();
        let to = reference.to.first()?.clone();
        (from != to).then_some((from, to, reference))
    });
    rooms.collect()
}

fn join(lines: BTreeSet<String>) -> String {
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// Returns the edges among nodes from which a walk never ends; none if there is no cycle.
fn cycles<N: Clone + Ord>(edges: &BTreeSet<(N, N)>) -> BTreeSet<(N, N)> {
    let mut left = edges.clone();
    loop {
        let sources: BTreeSet<_> = left.iter().map(|(from, _)| from.clone()).collect();
        let targets: BTreeSet<_> = left.iter().map(|(_, to)| to.clone()).collect();
        let before = left.len();
        left.retain(|(from, to)| sources.contains(to) && targets.contains(from));
        if left.len() == before {
            return left;
        }
    }
}

#[test]
fn the_map_names_every_room_and_no_other() {
    assert_eq!(map().into_keys().collect::<BTreeSet<_>>(), Crate::read().rooms());
}

#[test]
fn rooms_use_only_what_the_map_allows() {
    let map = map();
    let allowed = |from: &str, to: &str| {
        map.get(from).is_some_and(|targets| targets.contains(to) || targets.contains(EVERYTHING))
    };
    let arrows = arrows(&Crate::read());
    let wrong = arrows.iter().filter(|(from, to, _)| !allowed(from, to));
    let wrong: BTreeSet<_> =
        wrong.map(|(from, to, at)| format!("{}: {from} may not use {to}", at.place)).collect();
    assert!(wrong.is_empty(), "docs/architecture.md does not allow:\n{}", join(wrong));
}

#[test]
fn every_arrow_of_the_map_is_used() {
    let used: BTreeSet<_> = arrows(&Crate::read()).into_iter().map(|(from, to, _)| (from, to)).collect();
    let allowed =
        map().into_iter().flat_map(|(from, targets)| targets.into_iter().map(move |to| (from.clone(), to)));
    let unused: Vec<_> = allowed.filter(|arrow| arrow.1 != EVERYTHING && !used.contains(arrow)).collect();
    assert!(unused.is_empty(), "docs/architecture.md allows unused arrows: {unused:?}");
}

#[test]
fn the_map_has_no_cycle() {
    let map = map();
    let edges =
        map.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (from.clone(), to.clone())));
    let cycles = cycles(&edges.collect());
    assert!(cycles.is_empty(), "rooms in a cycle: {cycles:?}");
}

/// Paths between files of one room, of which neither contains the other.
fn sideways(source: &Crate) -> Vec<(String, String, Reference)> {
    let paths = source.references().into_iter().filter_map(|reference| {
        let from = &reference.from;
        let to = &reference.to;
        let sideways = from.first() == to.first() && !from.starts_with(to) && !to.starts_with(from);
        let names = (from.join("::"), to.join("::"));
        sideways.then_some((names.0, names.1, reference))
    });
    paths.collect()
}

#[test]
fn files_of_a_room_form_no_cycle_but_the_listed_ones() {
    let mut back = BTreeSet::new();
    for (from, targets) in table("| file | refers back to | why |") {
        back.extend(targets.into_iter().map(|to| (from.clone(), to)));
    }
    let paths = sideways(&Crate::read());
    let edges: BTreeSet<_> = paths.iter().map(|(from, to, _)| (from.clone(), to.clone())).collect();
    let unused: Vec<_> = back.iter().filter(|edge| !cycles(&edges).contains(edge)).collect();
    assert!(unused.is_empty(), "docs/architecture.md lists what is no cycle: {unused:?}");
    let cycles = cycles(&edges.difference(&back).cloned().collect());
    let found = paths.iter().filter(|(from, to, _)| cycles.contains(&(from.clone(), to.clone())));
    let found: BTreeSet<_> = found.map(|(_, to, at)| format!("{}: uses {to}", at.place)).collect();
    assert!(found.is_empty(), "files in a cycle:\n{}", join(found));
}

#[test]
fn libraries_stay_out_of_the_rooms_that_the_map_closes_to_them() {
    let source = Crate::read();
    let closed = table("| name | stays out of |");
    let pairs = closed.iter().flat_map(|(name, rooms)| rooms.iter().map(move |room| (name, room)));
    let found = pairs.flat_map(|(name, room)| {
        let places = source.occurrences(room, name);
        places.into_iter().map(move |place| format!("{place}: {name} in {room}"))
    });
    let found: BTreeSet<_> = found.collect();
    assert!(found.is_empty(), "docs/architecture.md does not allow:\n{}", join(found));
}

#[test]
fn paths_in_the_document_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let named = text.split('`').skip(1).step_by(2);
    let paths = named.filter(|name| ["src/", "tests/", "docs/"].iter().any(|start| name.starts_with(start)));
    let missing: Vec<_> = paths.filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names files that do not exist: {missing:?}");
}
