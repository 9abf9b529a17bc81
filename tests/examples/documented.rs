//! docs/participants.md has the barrier's statements as the library and the examples have them.

use amends::participant::barrier::Statements;
use sea_orm::DbBackend;

use crate::process::example;

const PAGE: &str = include_str!("../../docs/participants.md");

#[test]
fn the_statements_of_the_page_are_those_of_the_library() {
    for backend in [DbBackend::Postgres, DbBackend::MySql, DbBackend::Sqlite] {
        let statements = Statements::of(backend);
        for statement in [
            statements.create,
            statements.claim,
            statements.kept,
            statements.keep,
            statements.forget,
        ] {
            assert!(
                PAGE.contains(&format!("{statement};\n")),
                "{backend:?}: {statement}"
            );
        }
    }
}

#[test]
fn the_statements_of_the_examples_are_those_of_the_library() {
    for (file, backend) in [
        ("python/barrier.py", DbBackend::Sqlite),
        ("node/barrier.mjs", DbBackend::Postgres),
    ] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        let statements = Statements::of(backend);
        for statement in [
            statements.create,
            statements.claim,
            statements.kept,
            statements.keep,
        ] {
            assert!(text.contains(statement), "{file}: {statement}");
        }
    }
}

/// The page shows the heart of each example, word by word.
#[test]
fn what_the_page_shows_of_the_examples_is_what_runs() {
    let mut shown = 0;
    for (language, file) in [("python", "python/barrier.py"), ("js", "node/barrier.mjs")] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        for block in PAGE.split(&format!("```{language}\n")).skip(1) {
            let (code, _) = block.split_once("```").unwrap();
            assert!(text.contains(code), "{file} has it otherwise:\n{code}");
            shown += 1;
        }
    }
    assert!(shown >= 2, "{shown} blocks");
}
