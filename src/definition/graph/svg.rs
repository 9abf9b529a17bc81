//! The graph as a picture: one row for each layer, top to bottom, edges as curves.

use std::fmt::Write as _;

use super::{depths, describe};
use crate::definition::model::{Definition, OnFailure, Position, Step, StepKind};

const BOX_WIDTH: usize = 220;
const BOX_HEIGHT: usize = 64;
const GAP_ACROSS: usize = 32;
const GAP_DOWN: usize = 48;
const MARGIN: usize = 24;
const TITLE_HEIGHT: usize = 36;
const LEGEND_HEIGHT: usize = 34;

/// The most characters of a line in a box.
const LINE_CHARS_MAX: usize = 30;

const STYLE: &str = "text{font-family:system-ui,sans-serif;fill:#1f2937}\
.title{font-size:16px;font-weight:600}.id{font-size:14px;font-weight:600}\
.note{font-size:11px;fill:#4b5563}.box{fill:#f9fafb;stroke:#6b7280;stroke-width:1.2}\
.wait,.delay{fill:#eff6ff}.pivot{fill:#fef3c7;stroke:#b45309;stroke-width:2.5}\
.after{fill:#f0fdf4}.edge{fill:none;stroke:#9ca3af;stroke-width:1.4}";

/// Where the top left corner of a step's box is.
#[derive(Clone, Copy)]
struct Corner {
    x: usize,
    y: usize,
}

/// The graph as an SVG picture.
#[must_use]
pub fn svg(definition: &Definition) -> String {
    let depths = depths(definition);
    let layers = depths.iter().max().map_or(0, |deepest| deepest + 1);
    let mut widths = vec![0_usize; layers];
    for depth in &depths {
        if let Some(width) = widths.get_mut(*depth) {
            *width += 1;
        }
    }
    let widest = widths.iter().copied().max().unwrap_or(1).max(2);
    let width = 2 * MARGIN + row_width(widest);
    let height = 2 * MARGIN + TITLE_HEIGHT + LEGEND_HEIGHT + layers * (BOX_HEIGHT + GAP_DOWN)
        - GAP_DOWN.min(layers * GAP_DOWN);
    let corners = corners(&depths, &widths, width);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<style>{STYLE}</style>\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#9ca3af\"/></marker></defs>\n"
    );
    push(
        &mut out,
        &format!(
            "<title>{0}</title>\n<text class=\"title\" x=\"{MARGIN}\" y=\"{1}\">{0}</text>",
            escaped(&definition.reference()),
            MARGIN + 14
        ),
    );
    for step in &definition.steps {
        for after in &step.after {
            if let (Some(from), Some(to)) = (
                corners.get(after.offset()),
                corners.get(step.index.offset()),
            ) {
                push(&mut out, &edge(*from, *to));
            }
        }
    }
    for (step, corner) in definition.steps.iter().zip(&corners) {
        push(&mut out, &node(step, *corner));
    }
    push(
        &mut out,
        &format!(
            "<text class=\"note\" x=\"{MARGIN}\" y=\"{}\">\u{2691} pivot: past it the saga only goes forward \u{a0} \u{21b6} can be undone \u{a0} ? conditional</text>",
            height - MARGIN
        ),
    );
    out.push_str("</svg>\n");
    out
}

fn push(out: &mut String, line: &str) {
    let written = writeln!(out, "{line}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn row_width(boxes: usize) -> usize {
    boxes * BOX_WIDTH + boxes.saturating_sub(1) * GAP_ACROSS
}

/// Every layer is centred; within it the steps stand in the order of the document.
fn corners(depths: &[usize], widths: &[usize], width: usize) -> Vec<Corner> {
    let mut placed = vec![0_usize; widths.len()];
    depths
        .iter()
        .map(|depth| {
            let in_row = widths.get(*depth).copied().unwrap_or(1);
            let at = placed.get_mut(*depth).map_or(0, |placed| {
                *placed += 1;
                *placed - 1
            });
            let left = width.saturating_sub(row_width(in_row)) / 2;
            Corner {
                x: left + at * (BOX_WIDTH + GAP_ACROSS),
                y: MARGIN + TITLE_HEIGHT + depth * (BOX_HEIGHT + GAP_DOWN),
            }
        })
        .collect()
}

fn edge(from: Corner, to: Corner) -> String {
    let (x1, y1) = (from.x + BOX_WIDTH / 2, from.y + BOX_HEIGHT);
    let (x2, y2) = (to.x + BOX_WIDTH / 2, to.y);
    let bend = GAP_DOWN / 2;
    format!(
        "<path class=\"edge\" d=\"M{x1},{y1} C{x1},{} {x2},{} {x2},{}\" marker-end=\"url(#tip)\"/>",
        y1 + bend,
        y2.saturating_sub(bend),
        y2.saturating_sub(2)
    )
}

fn node(step: &Step, Corner { x, y }: Corner) -> String {
    let (kind, round) = match &step.kind {
        StepKind::Action(_) => ("action", 8),
        StepKind::Wait(_) => ("wait", BOX_HEIGHT / 2),
        StepKind::Delay(_) => ("delay", BOX_HEIGHT / 2),
    };
    let side = match step.position {
        Position::Before => "",
        Position::Pivot => " pivot",
        Position::After => " after",
    };
    let mut marks = Vec::new();
    if step.position == Position::Pivot {
        marks.push("\u{2691} pivot");
    }
    if step.compensation().is_some() {
        marks.push("\u{21b6} can be undone");
    }
    if step.when.is_some() {
        marks.push("? conditional");
    }
    if step.on_failure == OnFailure::Continue {
        marks.push("goes on if it fails");
    }
    let middle = x + BOX_WIDTH / 2;
    format!(
        "<g><rect class=\"box {kind}{side}\" x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"{round}\"/><text class=\"id\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{}</text><text class=\"note\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{}</text><text class=\"note\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{}</text></g>",
        y + 22,
        escaped(&shortened(&step.id)),
        y + 39,
        escaped(&shortened(&describe(step))),
        y + 54,
        escaped(&marks.join(" \u{b7} ")),
    )
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LINE_CHARS_MAX {
        return text.to_owned();
    }
    text.chars()
        .take(LINE_CHARS_MAX - 1)
        .chain(['\u{2026}'])
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
