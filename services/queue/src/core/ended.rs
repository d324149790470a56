//! Ended tasks in the order in which they ended: a list that leads through what is kept of each.
//!
//! One that goes leaves no place behind, wherever it stood: a dead letter that is kept for a month holds up none of the
//! completions after it. Nothing is moved and nothing is walked over, so that one more or one less costs the same
//! whatever is kept.

use crate::core::{entry::Row, retention::Kept, rows::Rows};

/// Lists that each ended task is in: that of what is kept by the same rule, and that of its queue.
pub(super) const LISTS: usize = 2;

/// In place of a row, for none: rows are counted from 1.
const NOBODY: Row = 0;

/// Who ended before a task, and who after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours {
    before: Row,
    after: Row,
}

/// One list; `LIST` is its number among those that a task is in.
#[derive(Debug, Default)]
pub(super) struct Ended<const LIST: usize> {
    first: Row,
    last: Row,
    len: usize,
}

impl<const LIST: usize> Ended<LIST> {
    /// Adds one that ended after all others.
    pub(super) fn add(&mut self, row: Row, kept: &mut Rows<Kept>) {
        let Some(new) = kept.get_mut(row) else { return };
        new.lists[LIST] = Some(Neighbours { before: self.last, after: NOBODY });
        match Self::neighbours(self.last, kept) {
            Some(last) => last.after = row,
            None => self.first = row,
        }
        self.last = row;
        self.len += 1;
    }

    /// Takes one out; false when it is not in the list.
    pub(super) fn remove(&mut self, row: Row, kept: &mut Rows<Kept>) -> bool {
        let Some(gone) = kept.get_mut(row).and_then(|kept| kept.lists[LIST].take()) else { return false };
        match Self::neighbours(gone.before, kept) {
            Some(before) => before.after = gone.after,
            None => self.first = gone.after,
        }
        match Self::neighbours(gone.after, kept) {
            Some(after) => after.before = gone.before,
            None => self.last = gone.before,
        }
        self.len -= 1;
        true
    }

    fn neighbours(row: Row, kept: &mut Rows<Kept>) -> Option<&mut Neighbours> {
        kept.get_mut(row)?.lists[LIST].as_mut()
    }

    /// The one that ended first.
    pub(super) fn oldest(&self) -> Option<Row> {
        Some(self.first).filter(|row| *row != NOBODY)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::task::State;

    fn kept() -> Kept {
        let (id, state) = (Uuid::nil(), State::Completed);
        Kept { id, queue: 0, state, token: 0, key: None, journal: 0, bytes: 0, at: 0, lists: [None; LISTS] }
    }

    proptest! {
        #[test]
        fn it_keeps_the_order_whoever_goes(steps in proptest::collection::vec((1u64..50, any::<bool>()), 0..300)) {
            let (mut list, mut rows, mut model) = (Ended::<1>::default(), Rows::default(), Vec::new());
            for (row, goes) in steps {
                let is_in = model.contains(&row);
                if goes {
                    prop_assert_eq!(list.remove(row, &mut rows), is_in);
                    rows.remove(row);
                    model.retain(|other| *other != row);
                } else if !is_in {
                    rows.insert(row, kept());
                    list.add(row, &mut rows);
                    model.push(row);
                }
                prop_assert_eq!((list.oldest(), list.len()), (model.first().copied(), model.len()));
            }
            for row in model {
                prop_assert_eq!(list.oldest(), Some(row));
                list.remove(row, &mut rows);
            }
        }
    }
}
