//! How often a participant failed lately, in slots of a tenth of the window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Into how many slots a window is cut; what is counted is as old as the window, and at most a
/// slot less.
const SLOTS: u64 = 10;

/// The calls of the last while, and how many of them failed.
#[derive(Debug)]
pub(super) struct Window {
    origin: Instant,
    slot_us: u128,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u128,
    calls: u32,
    failures: u32,
}

impl Window {
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        Self {
            origin: now,
            slot_us: (length.as_micros() / u128::from(SLOTS)).max(1),
            slots: VecDeque::new(),
        }
    }

    /// Counts a call.
    pub(super) fn count(&mut self, failed: bool, now: Instant) {
        let number = self.number(now);
        self.forget(number);
        if self.slots.back().is_none_or(|slot| slot.number != number) {
            self.slots.push_back(Slot {
                number,
                calls: 0,
                failures: 0,
            });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.calls = slot.calls.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(failed));
        }
    }

    /// The calls within the window, and the failures among them.
    pub(super) fn sums(&mut self, now: Instant) -> (u32, u32) {
        self.forget(self.number(now));
        self.slots.iter().fold((0, 0), |(calls, failures), slot| {
            (
                calls.saturating_add(slot.calls),
                failures.saturating_add(slot.failures),
            )
        })
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    fn number(&self, now: Instant) -> u128 {
        now.duration_since(self.origin).as_micros() / self.slot_us
    }

    fn forget(&mut self, number: u128) {
        let oldest = number.saturating_sub(u128::from(SLOTS) - 1);
        while self.slots.front().is_some_and(|slot| slot.number < oldest) {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        let mut window = Window::new(Duration::from_secs(10), begun);
        for second in 0..10 {
            window.count(second % 2 == 0, at(second));
            assert_eq!(u64::from(window.sums(at(second)).0), second + 1);
        }
        assert_eq!(window.sums(at(10)), (9, 4));
        assert_eq!(window.sums(at(18)), (1, 0));
        assert_eq!(window.sums(at(19)), (0, 0));
        window.count(true, at(19));
        window.clear();
        assert_eq!(window.sums(at(19)), (0, 0));
    }
}
