//! Ready tasks of one group, in the order in which they leave.
//!
//! One line for each priority, ordered by ready time. The next task is the one with the least
//! `ready_at + penalty[priority]`: ageing without ever rewriting an order. A task that is cancelled takes its place
//! with it, so that nothing is ever tidied up.

use std::collections::BTreeSet;

use crate::{core::entry::Row, task::Micros};

/// Priorities go from 0 (lowest) to 9.
const PRIORITIES: usize = 10;

/// In which order tasks leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The higher priority first, whatever else.
    Strict,
    /// Each step of priority below the highest is worth a wait of so many microseconds.
    Ageing(Micros),
}

/// Ready tasks.
#[derive(Debug, Default)]
pub(super) struct Ready {
    lines: [BTreeSet<(Micros, Row)>; PRIORITIES],
    /// How many tasks there are.
    pub(super) count: usize,
}

impl Ready {
    /// Gives a task its place; the caller counts it.
    pub(super) fn push(&mut self, priority: u8, ready_at: Micros, row: Row) {
        self.line(priority).insert((ready_at, row));
    }

    /// Takes the place of a task away, if it still has one; the caller counts it.
    pub(super) fn remove(&mut self, priority: u8, ready_at: Micros, row: Row) {
        self.line(priority).remove(&(ready_at, row));
    }

    fn line(&mut self, priority: u8) -> &mut BTreeSet<(Micros, Row)> {
        &mut self.lines[usize::from(priority).min(PRIORITIES - 1)]
    }

    /// Takes the next task's place; the caller counts it.
    pub(super) fn pop(&mut self, order: Order) -> Option<Row> {
        let best = match order {
            Order::Strict => (0..PRIORITIES).rfind(|priority| !self.lines[*priority].is_empty())?,
            Order::Ageing(step) => self.best(step)?,
        };
        self.lines[best].pop_first().map(|(_, row)| row)
    }

    fn best(&self, step: Micros) -> Option<usize> {
        let key = |priority: usize, ready_at: Micros, row: Row| {
            let penalty = step.saturating_mul(i64::try_from(PRIORITIES - 1 - priority).unwrap_or(0));
            (ready_at.saturating_add(penalty), row)
        };
        (0..PRIORITIES)
            .filter_map(|priority| {
                let (ready_at, row) = self.lines[priority].first()?;
                Some((key(priority, *ready_at, *row), priority))
            })
            .min()
            .map(|(_, priority)| priority)
    }

    /// When the oldest became ready.
    pub(super) fn oldest(&self) -> Option<Micros> {
        self.lines.iter().filter_map(|line| line.first()).map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGEING: Order = Order::Ageing(1_000_000);

    fn ready(tasks: &[(u8, Micros, Row)]) -> Ready {
        let mut ready = Ready::default();
        for (priority, ready_at, row) in tasks {
            ready.push(*priority, *ready_at, *row);
            ready.count += 1;
        }
        ready
    }

    fn drain(mut ready: Ready, order: Order) -> Vec<Row> {
        std::iter::from_fn(|| ready.pop(order)).collect()
    }

    #[test]
    fn equal_tasks_leave_in_the_order_they_came() {
        assert_eq!(drain(ready(&[(5, 10, 1), (5, 10, 2), (5, 10, 3)]), AGEING), [1, 2, 3]);
    }

    #[test]
    fn a_higher_priority_leaves_first() {
        assert_eq!(drain(ready(&[(0, 0, 1), (9, 10, 2)]), AGEING), [2, 1]);
    }

    #[test]
    fn a_low_priority_ages_past_newer_high_ones() {
        let aged = 9_000_001;
        assert_eq!(drain(ready(&[(0, 0, 1), (9, aged, 2)]), AGEING), [1, 2]);
    }

    #[test]
    fn in_strict_order_no_age_counts() {
        let late = 900_000_000;
        assert_eq!(
            drain(ready(&[(0, 0, 1), (9, late, 2), (8, 0, 3), (9, 5, 4)]), Order::Strict),
            [4, 2, 3, 1]
        );
    }

    #[test]
    fn a_task_that_goes_takes_its_place_with_it() {
        let mut ready = ready(&[(5, 10, 1), (5, 20, 2), (7, 30, 3)]);
        ready.remove(5, 10, 1);
        assert_eq!(ready.oldest(), Some(20));
        ready.remove(7, 30, 3);
        assert_eq!(drain(ready, AGEING), [2]);
    }
}
