//! Prometheus's text format, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use support::coordinator::Coordinator;

/// One scrape.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// All of it.
    pub(crate) text: String,
    /// The type of each metric.
    pub(crate) types: BTreeMap<String, String>,
    /// The metrics that say what they are.
    pub(crate) described: BTreeSet<String>,
    /// Every line.
    pub(crate) samples: Vec<Sample>,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The line's name: of a histogram with its `_bucket`, `_sum` or `_count`.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value.
    pub(crate) value: f64,
}

impl Scrape {
    /// Asks a coordinator.
    pub(crate) async fn of(coordinator: &Coordinator) -> Self {
        let answer = coordinator.management("/metrics").await;
        let (status, text) = answer.expect("an answer");
        assert_eq!(status, 200, "{text}");
        Self::read(text)
    }

    fn read(text: String) -> Self {
        let (mut types, mut described) = (BTreeMap::new(), BTreeSet::new());
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                types.insert(name.to_owned(), kind.to_owned());
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').expect("a sentence");
                described.insert(name.to_owned());
            } else {
                samples.push(sample(line));
            }
        }
        Self {
            text,
            types,
            described,
            samples,
        }
    }

    /// The lines of one name whose labels are among these.
    pub(crate) fn of_name<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        })
    }

    /// The sum of the lines of one name whose labels are among these.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let found: Vec<f64> = self
            .of_name(name, labels)
            .map(|sample| sample.value)
            .collect();
        assert!(!found.is_empty(), "no {name}{labels:?} in\n{}", self.text);
        let sum: f64 = found.iter().sum();
        format!("{sum:.0}").parse().expect("a count")
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = value.parse().expect("a number");
    let Some((name, rest)) = series.split_once('{') else {
        return Sample {
            name: series.to_owned(),
            labels: BTreeMap::new(),
            value,
        };
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}').expect("a brace");
    while let Some((label, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("a quote");
        labels.insert(label.trim_start_matches(',').to_owned(), value.to_owned());
        rest = after;
    }
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}
