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

/// The participants that the samples name.
pub(super) fn participants() -> BTreeSet<String> {
    let definitions = SAMPLES
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
        let names = participants();
        for name in ["inventory", "payment", "shipping"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
