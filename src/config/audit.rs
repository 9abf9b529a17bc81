//! `audit`: what of all that is done is written down, and with how much of it.

use super::problem::nearest;
use super::quantity::truth;
use super::section::Section;
use crate::store::{AuditAction, AuditActions, AuditPolicy};

/// The word that stands for every action.
const ALL: &str = "all";

/// One item of `actions`.
#[derive(Clone, Copy)]
enum Wanted {
    All,
    One(AuditAction),
}

pub(super) fn read(section: &mut Section) -> AuditPolicy {
    let actions = if section.has("actions") {
        let items = section.read_list("actions", wanted);
        actions(section, &items.unwrap_or_default())
    } else {
        // Written with no value it is a problem, as everywhere.
        section.read("actions", (AuditActions::ALL, ALL), |_| {
            Ok(AuditActions::ALL)
        })
    };
    AuditPolicy {
        actions,
        include_input: section.read("include_input", (false, "false"), truth),
        include_output: section.read("include_output", (false, "false"), truth),
    }
}

fn actions(section: &mut Section, items: &[Wanted]) -> AuditActions {
    let mut actions = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Wanted::One(action) => actions.push(*action),
            Wanted::All if items.len() == 1 => return AuditActions::ALL,
            Wanted::All => section.problem("actions", "is `all`, or a list without it"),
        }
    }
    actions.into_iter().collect()
}

fn wanted(word: &str) -> Result<Wanted, String> {
    if word == ALL {
        return Ok(Wanted::All);
    }
    word.parse().map(Wanted::One).map_err(|_unknown| {
        let words = AuditAction::ALL.map(AuditAction::as_str);
        match nearest(word, &words) {
            Some(near) => format!("no action is called {word}; did you mean {near}?"),
            None => format!(
                "no action is called {word}; known: {ALL}, {}",
                words.join(", ")
            ),
        }
    })
}
