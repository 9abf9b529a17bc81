//! The steps of a definition as a graph: Mermaid, JSON, SVG.

mod svg;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::duration::format_ms;
use super::model::{Definition, Delay, OnFailure, Position, Step, StepKind};

pub use svg::svg;

/// The graph as Mermaid text.
#[must_use]
pub fn mermaid(definition: &Definition) -> String {
    let mut text = String::from("flowchart TD\n");
    for step in &definition.steps {
        let label = mermaid_text(&[step.id.as_str(), &describe(step)].join("<br/>"));
        // A step's id could be a word of Mermaid's own (`end`), so nodes go by number.
        let node = match (&step.kind, step.position) {
            (StepKind::Action(_), Position::Pivot) => {
                format!("s{}{{{{\"{label}\"}}}}", step.index.0)
            }
            (StepKind::Action(_), Position::Before | Position::After) => {
                format!("s{}[\"{label}\"]", step.index.0)
            }
            (StepKind::Wait(_) | StepKind::Delay(_), _) => {
                format!("s{}([\"{label}\"])", step.index.0)
            }
        };
        push_line(&mut text, &node);
    }
    for step in &definition.steps {
        for after in &step.after {
            push_line(&mut text, &format!("s{} --> s{}", after.0, step.index.0));
        }
    }
    for step in &definition.steps {
        if step.compensation().is_some() {
            push_line(&mut text, &format!("class s{} compensated", step.index.0));
        }
        if step.position == Position::Pivot {
            push_line(&mut text, &format!("class s{} pivot", step.index.0));
        }
    }
    push_line(&mut text, "classDef compensated stroke-dasharray: 5 3");
    push_line(&mut text, "classDef pivot stroke-width: 3px");
    text
}

fn push_line(text: &mut String, line: &str) {
    let written = writeln!(text, "    {line}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn mermaid_text(text: &str) -> String {
    text.replace('"', "#quot;")
}

/// The graph as `{ nodes, edges }`.
#[must_use]
pub fn json(definition: &Definition) -> Value {
    let id = |step: &Step| step.id.clone();
    let nodes: Vec<Value> = definition.steps.iter().map(node).collect();
    let edges: Vec<Value> = definition
        .steps
        .iter()
        .flat_map(|step| step.after.iter().map(move |after| (*after, step)))
        .filter_map(|(after, step)| definition.step(after).map(|after| (after, step)))
        .map(|(from, to)| json!({ "from": id(from), "to": id(to) }))
        .collect();
    json!({ "nodes": nodes, "edges": edges })
}

fn node(step: &Step) -> Value {
    let position = match step.position {
        Position::Before => "before",
        Position::Pivot => "pivot",
        Position::After => "after",
    };
    json!({
        "id": step.id,
        "kind": kind(step),
        "label": describe(step),
        "participant": step.action().map(|action| action.participant.as_str()),
        "position": position,
        "pivot": step.position == Position::Pivot,
        "compensation": step.compensation().is_some(),
        "conditional": step.when.is_some(),
        "on_failure": match step.on_failure {
            OnFailure::Compensate => "compensate",
            OnFailure::Continue => "continue",
        },
    })
}

fn kind(step: &Step) -> &'static str {
    match &step.kind {
        StepKind::Action(_) => "action",
        StepKind::Wait(_) => "wait",
        StepKind::Delay(_) => "delay",
    }
}

/// What a step does, in a few words.
fn describe(step: &Step) -> String {
    match &step.kind {
        StepKind::Action(action) => action.participant.clone(),
        StepKind::Wait(wait) => match wait.timeout_ms {
            Some(timeout_ms) => format!("waits for {}, {}", wait.signal, format_ms(timeout_ms)),
            None => format!("waits for {}", wait.signal),
        },
        StepKind::Delay(Delay::For(duration_ms)) => format!("waits {}", format_ms(*duration_ms)),
        StepKind::Delay(Delay::Computed(_)) => "waits for a time".to_owned(),
    }
}

/// The layer of each step: one below the lowest of those that it comes after.
fn depths(definition: &Definition) -> Vec<usize> {
    let mut depths = vec![0; definition.steps.len()];
    for step in definition
        .topological
        .iter()
        .filter_map(|index| definition.step(*index))
    {
        let above = step
            .after
            .iter()
            .filter_map(|after| depths.get(after.offset()))
            .max();
        let depth = above.map_or(0, |above: &usize| above + 1);
        if let Some(slot) = depths.get_mut(step.index.offset()) {
            *slot = depth;
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::check;

    const SOURCE: &str = "name: d\nversion: 1\nsteps:\n  - { id: end, participant: p, action: { command: c }, compensation: { command: u } }\n  - { id: left, after: [end], wait: { signal: go, timeout: 1h } }\n  - { id: right, after: [end], when: 'true', delay: 5s }\n  - { id: last, after: [left, right], participant: q, pivot: true, action: { get: /x } }\n";

    fn definition() -> std::sync::Arc<Definition> {
        let checked = check(SOURCE, None);
        checked
            .definition
            .unwrap_or_else(|| panic!("{:?}", checked.problems))
    }

    #[test]
    fn mermaid_has_every_step_and_edge() {
        let text = mermaid(&definition());
        assert!(text.starts_with("flowchart TD\n"), "{text}");
        for line in [
            "s0[\"end<br/>p\"]",
            "s1([\"left<br/>waits for go, 1h\"])",
            "s2([\"right<br/>waits 5s\"])",
            "s3{{\"last<br/>q\"}}",
            "s0 --> s1",
            "s0 --> s2",
            "s1 --> s3",
            "s2 --> s3",
            "class s0 compensated",
            "class s3 pivot",
        ] {
            assert!(
                text.lines().any(|found| found.trim() == line),
                "{line}\n{text}"
            );
        }
    }

    #[test]
    fn json_has_nodes_and_edges() {
        let graph = json(&definition());
        assert_eq!(graph["nodes"].as_array().unwrap().len(), 4);
        assert_eq!(graph["edges"].as_array().unwrap().len(), 4);
        assert_eq!(graph["edges"][0], json!({ "from": "end", "to": "left" }));
        assert_eq!(graph["nodes"][3]["pivot"], json!(true));
        assert_eq!(graph["nodes"][0]["compensation"], json!(true));
    }

    #[test]
    fn layers_are_by_depth() {
        assert_eq!(depths(&definition()), [0, 1, 1, 2]);
    }

    #[test]
    fn svg_is_well_formed_and_names_every_step() {
        let picture = svg(&definition());
        assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
        assert!(picture.trim_end().ends_with("</svg>"));
        for word in [
            ">end<",
            ">left<",
            ">right<",
            ">last<",
            "pivot",
            "can be undone",
        ] {
            assert!(picture.contains(word), "{word}\n{picture}");
        }
        assert_eq!(
            picture.matches("<g").count(),
            picture.matches("</g>").count()
        );
        assert_eq!(picture.matches("class=\"edge").count(), 4);
    }
}
