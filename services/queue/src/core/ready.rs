//! Ready tasks of one group, in the order in which they leave.
//!
//! One heap for each priority, ordered by ready time. The next task is the one with the least
//! `ready_at + penalty[priority]`: ageing without ever rewriting an order. A task that is cancelled leaves its
//! place behind; such places are taken away when they come up, or when there are more of them than of tasks.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{core::entry::Row, task::Micros};

/// Priorities go from 0 (lowest) to 9.
const PRIORITIES: usize = 10;

/// Places of no task that are not worth a rebuild.
const SLACK: usize = 64;

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
    heaps: [BinaryHeap<Reverse<(Micros, Row)>>; PRIORITIES],
    places: usize,
    /// How many tasks there are; places may be more.
    pub(super) count: usize,
}

impl Ready {
    /// Gives a task its place; the caller counts it.
    pub(super) fn push(&mut self, priority: u8, ready_at: Micros, row: Row) {
        self.heaps[usize::from(priority).min(PRIORITIES - 1)].push(Reverse((ready_at, row)));
        self.places += 1;
    }

    /// Takes the next task's place; the caller counts it.
    pub(super) fn pop(&mut self, order: Order) -> Option<Row> {
        let best = match order {
            Order::Strict => (0..PRIORITIES).rfind(|priority| !self.heaps[*priority].is_empty())?,
            Order::Ageing(step) => self.best(step)?,
        };
        let Reverse((_, row)) = self.heaps[best].pop()?;
        self.places -= 1;
        Some(row)
    }

    fn best(&self, step: Micros) -> Option<usize> {
        let key = |priority: usize, ready_at: Micros, row: Row| {
            let penalty = step.saturating_mul(i64::try_from(PRIORITIES - 1 - priority).unwrap_or(0));
            (ready_at.saturating_add(penalty), row)
        };
        (0..PRIORITIES)
            .filter_map(|priority| {
                let Reverse((ready_at, row)) = self.heaps[priority].peek()?;
                Some((key(priority, *ready_at, *row), priority))
            })
            .min()
            .map(|(_, priority)| priority)
    }

    /// Takes away places of no task, so that the first of each priority is one; `is_ready` says which are.
    pub(super) fn tidy(&mut self, is_ready: impl Fn(Row, Micros) -> bool) {
        if self.places == self.count {
            return;
        }
        if self.count == 0 {
            self.heaps.iter_mut().for_each(BinaryHeap::clear);
        } else if self.places > 2 * self.count + SLACK {
            self.heaps.iter_mut().for_each(|heap| heap.retain(|Reverse((at, row))| is_ready(*row, *at)));
        } else {
            for heap in &mut self.heaps {
                while heap.peek().is_some_and(|Reverse((at, row))| !is_ready(*row, *at)) {
                    heap.pop();
                }
            }
        }
        self.places = self.heaps.iter().map(BinaryHeap::len).sum();
    }

    /// When the oldest became ready.
    pub(super) fn oldest(&self) -> Option<Micros> {
        self.heaps.iter().filter_map(|heap| heap.peek()).map(|Reverse((at, _))| *at).min()
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
    fn places_of_no_task_go_when_they_come_up() {
        let mut ready = ready(&[(5, 10, 1), (5, 20, 2), (7, 30, 3)]);
        ready.count = 1;
        ready.tidy(|row, _| row == 2);
        assert_eq!((ready.oldest(), ready.places), (Some(20), 1));
        ready.count = 0;
        ready.tidy(|_, _| false);
        assert_eq!((ready.oldest(), ready.places), (None, 0));
    }

    #[test]
    fn places_of_no_task_never_outnumber_tasks_by_much() {
        let mut ready = Ready::default();
        ready.push(0, 0, 0);
        ready.count = 1;
        for row in 1..10_000 {
            ready.push(0, 10, row);
            ready.tidy(|row, _| row == 0);
            assert!(ready.places <= 2 + SLACK, "{}", ready.places);
        }
    }
}
