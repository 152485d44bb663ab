//! The table of threats, `rows.txt`: a line with the row's id and what must hold, and below it, set in,
//! where that is shown: `cases` for files in `cases/`, `file::test` for a test of that name in a file of
//! `tests/` (or of `src/`), and `SECURITY.md` for what cannot be promised.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::named;

/// How many rows each section has.
const SECTIONS: [(char, usize); 9] =
    [('A', 28), ('B', 29), ('C', 8), ('D', 18), ('E', 14), ('F', 7), ('G', 12), ('H', 14), ('I', 7)];

/// How many may be told of in SECURITY.md instead.
pub(crate) const MOST_IN_SECURITY: usize = 5;

/// One threat.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// Whether files in `cases/` show it.
    pub(crate) by_cases: bool,
    /// Other tests that show it, each by its place and its name.
    pub(crate) tests: Vec<(String, String)>,
    /// Whether it is told of there instead.
    pub(crate) in_security: bool,
}

impl Row {
    pub(crate) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// Whether something is named that shows it.
    pub(crate) fn has_proof(&self) -> bool {
        self.by_cases || !self.tests.is_empty()
    }

    /// What is wrong with it, if anything.
    pub(crate) fn wrong(&self, with_cases: &BTreeSet<String>) -> Option<String> {
        let Self { id, tests, .. } = self;
        let gone = tests.iter().find(|(place, name)| !named::exists(place, name));
        if let Some((place, name)) = gone {
            return Some(format!("{id}: {place} has no test {name}"));
        }
        match self.has_proof() || self.in_security {
            false => Some(format!("{id}: nothing shows it")),
            _ if self.by_cases != with_cases.contains(id) => Some(format!("{id}: has it cases?")),
            _ if self.in_security && !told_of().contains(id) => Some(format!("{id}: not in SECURITY.md")),
            _ => None,
        }
    }
}

/// All rows, in their order.
pub(crate) fn rows() -> Vec<Row> {
    let rows = parsed(include_str!("rows.txt"));
    let ids = SECTIONS.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}{n}")));
    assert!(rows.iter().map(|row| row.id.clone()).eq(ids), "a row is missing, or not in its place");
    rows
}

fn parsed(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(place) = line.strip_prefix("  ") else {
            let (id, sentence) = line.split_once(' ').expect("an id and a sentence");
            assert!(sentence.ends_with('.'), "{line}");
            rows.push(Row { id: id.to_owned(), ..Row::default() });
            continue;
        };
        let row = rows.last_mut().expect("a row before its places");
        match place.rsplit_once("::") {
            Some((place, name)) => row.tests.push((place.to_owned(), name.to_owned())),
            None if place == "cases" => row.by_cases = true,
            None if place == "SECURITY.md" => row.in_security = true,
            None => panic!("{}: what is {place:?}?", row.id),
        }
    }
    rows
}

/// The rows that SECURITY.md names: those of its table.
fn told_of() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md");
    let text = fs::read_to_string(file).expect("SECURITY.md is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    rows.map(str::to_owned).collect()
}

#[test]
fn a_row_without_proof_is_wrong() {
    let rows = parsed("A1 It holds.\n  cases\nA2 It too.\n\nA3 As well.\n  threats/rows::no_such_test\n");
    let with_cases = BTreeSet::from(["A1".to_owned()]);
    let wrong: Vec<_> = rows.iter().map(|row| row.wrong(&with_cases).is_some()).collect();
    assert_eq!(wrong, [false, true, true]);
}

#[test]
fn only_tests_are_taken_for_tests() {
    let source = "async fn helps() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn tests() {}\n\
                  #[test]\n#[ignore]\nfn rests() {}\non_both_stores![\n    tells,\n    more,\n];\n";
    let found =
        ["tests", "tells", "more", "helps", "test", "rests"].map(|name| named::has_test(source, name));
    assert_eq!(found, [true, true, true, false, false, false]);
}
