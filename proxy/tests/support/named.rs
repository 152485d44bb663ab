//! Whether there is a test of a name, so that a table of tests can be held to what there is.

use std::{fs, path::Path};

/// Whether `place`, a file of `tests/` without its ending (or of `src/`, with that before it), has a
/// test of this name that is not left out of a run.
pub fn exists(place: &str, name: &str) -> bool {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = if place.starts_with("src/") { crate_folder.to_owned() } else { crate_folder.join("tests") };
    let source = fs::read_to_string(folder.join(format!("{place}.rs")));
    source.is_ok_and(|source| has_test(&source, name))
}

/// Whether a source has a test of this name, or runs one on each store.
pub fn has_test(source: &str, name: &str) -> bool {
    let definition = format!("fn {name}(");
    let mut places = source.match_indices(&definition).map(|(at, _)| &source[..at]);
    places.any(is_marked) || runs_on_both_stores(source, name)
}

/// Whether the attributes that end this say that a test follows.
fn is_marked(before: &str) -> bool {
    let lines = before.rsplit('\n').skip(1).map(str::trim);
    let attributes: Vec<_> =
        lines.take_while(|line| line.starts_with("#[") || line.starts_with("///")).collect();
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    attributes.iter().any(is_test) && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

fn runs_on_both_stores(source: &str, name: &str) -> bool {
    let lists = source.split("on_both_stores!").skip(1);
    let lists = lists.map(|list| list.split([']', '}', ';']).next().unwrap_or_default());
    lists.flat_map(|list| list.split([',', '[', '{'])).any(|one| one.trim() == name)
}
