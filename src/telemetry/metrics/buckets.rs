//! The bounds between which things are counted. They are spread so that a quantile is right within
//! a factor of about two where it matters.

/// Seconds of an exchange with a participant, or of an answer of the API: from what loopback
/// takes to the longest time limits that are usual.
pub(super) const EXCHANGE_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Seconds of a saga: from a few milliseconds to the three days of an approval.
pub(super) const SAGA_SECONDS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
    7_200.0, 43_200.0, 259_200.0,
];

/// Seconds of a commit: from a fast local disk to what counts as an outage.
pub(super) const COMMIT_SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 5.0,
];

/// Events that share a commit.
pub(super) const BATCH_EVENTS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0,
];
