//! LAWS.md is the table of the laws, as it is now.

use std::collections::BTreeSet;
use std::fmt::Write;

use store_conformance::LAWS;

fn document() -> String {
    let mut text = String::from(
        "# The laws\n\nWhat a driver promises, and the rules of the contract behind it. A law that \
         needs `faults` or `resources`\nneeds that part of a harness. This file is made from the \
         suite; `UPDATE_LAWS=1 cargo test -p\nstore-conformance --test laws_document` writes it.\n",
    );
    let mut group = "";
    for law in LAWS {
        if law.group != group {
            group = law.group;
            let count = LAWS.iter().filter(|other| other.group == group).count();
            let _ = write!(
                text,
                "\n## {group} ({count})\n\n| law | it holds that | kind | rules |\n"
            );
            text.push_str("|---|---|---|---|\n");
        }
        let rules: Vec<String> = law.rules.iter().map(u8::to_string).collect();
        let needs = law
            .needs
            .map_or_else(String::new, |need| format!(", needs `{}`", need.name()));
        let _ = writeln!(
            text,
            "| `{}` | {} | {:?}{needs} | {} |",
            law.name,
            law.meaning,
            law.kind,
            rules.join(", ")
        );
    }
    text
}

#[test]
fn the_document_lists_every_law() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/LAWS.md");
    if std::env::var_os("UPDATE_LAWS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), document());
}

#[test]
fn every_law_has_a_name_of_its_own_and_a_meaning() {
    let names: BTreeSet<String> = LAWS.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), LAWS.len());
    for law in LAWS {
        assert!(
            law.meaning.len() > 20 && !law.meaning.ends_with('.'),
            "{law}"
        );
    }
}
