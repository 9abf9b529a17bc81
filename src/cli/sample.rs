//! The sample definitions, as they lie in `sagas/`.

use std::collections::BTreeSet;

use crate::definition::check;

/// The samples by file name.
pub(super) const SAMPLES: &[(&str, &str)] = &[
    (
        "customer_onboarding.yaml",
        include_str!("../../sagas/customer_onboarding.yaml"),
    ),
    (
        "money_transfer.yaml",
        include_str!("../../sagas/money_transfer.yaml"),
    ),
    (
        "order_fulfilment.yaml",
        include_str!("../../sagas/order_fulfilment.yaml"),
    ),
    (
        "travel_booking.yaml",
        include_str!("../../sagas/travel_booking.yaml"),
    ),
];

/// What the demo runs over a broker: of the samples, what can be told in commands alone.
pub(super) const IN_COMMANDS: &[(&str, &str)] = &[(
    "order_fulfilment.yaml",
    include_str!("demo/behind_queues/order_fulfilment.yaml"),
)];

/// The participants that these definitions name.
pub(super) fn participants(samples: &[(&str, &str)]) -> BTreeSet<String> {
    let definitions = samples
        .iter()
        .filter_map(|(_, source)| check(source, None).definition);
    let of = |definition: std::sync::Arc<crate::definition::Definition>| {
        let actions = definition.steps.iter().filter_map(|step| step.action());
        actions
            .map(|action| action.participant.clone())
            .collect::<Vec<_>>()
    };
    definitions.flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Surroundings, TransportKind};

    #[test]
    fn those_in_commands_can_be_reached_over_a_broker_and_do_what_the_samples_do() {
        for (file, source) in IN_COMMANDS {
            let names = participants(IN_COMMANDS).into_iter();
            let surroundings = Surroundings {
                participants: names.map(|name| (name, TransportKind::RabbitMq)).collect(),
                has_public_url: false,
            };
            let checked = check(source, Some(&surroundings));
            assert_eq!(checked.problems, [], "{file}");
            let (_, sample) = SAMPLES.iter().find(|(name, _)| name == file).unwrap();
            let shape = |definition: &crate::definition::Definition| {
                let steps = definition.steps.iter().map(|step| {
                    let participant = step.action().map(|action| action.participant.clone());
                    (step.id.to_string(), participant)
                });
                (definition.reference(), steps.collect::<Vec<_>>())
            };
            assert_eq!(
                shape(&checked.definition.unwrap()),
                shape(&check(sample, None).definition.unwrap())
            );
        }
    }

    #[test]
    fn a_check_finds_nothing() {
        for (name, source) in SAMPLES {
            assert_eq!(check(source, None).problems, [], "{name}");
        }
    }

    #[test]
    fn every_sample_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas");
        let files = std::fs::read_dir(directory).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".yaml")).collect();
        names.sort();
        assert!(
            SAMPLES
                .iter()
                .map(|(name, _)| *name)
                .eq(names.iter().map(String::as_str))
        );
    }

    #[test]
    fn the_participants_are_found() {
        let names = participants(SAMPLES);
        for name in ["inventory", "payment", "shipping"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
