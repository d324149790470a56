//! A table by row number that never has to be moved as a whole: it grows a page of 64 neighbours at a time.
//!
//! Rows are given out in order, so pages are mostly full while their tasks are young. One that has become sparse holds
//! no more than what is left of it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::core::entry::Row;

/// Rows of a page.
const PAGE: usize = 64;

/// Spreads page numbers, which need no defence against collisions.
#[derive(Debug, Default)]
pub(super) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// Neighbours: values in any order, and where each row has its own.
#[derive(Debug)]
struct Page<T> {
    /// Place of each row in `values`, counted from 1; 0 for none.
    places: [u8; PAGE],
    owners: Vec<u8>,
    values: Vec<T>,
}

impl<T> Page<T> {
    fn new() -> Self {
        Self { places: [0; PAGE], owners: Vec::new(), values: Vec::new() }
    }

    fn place(&self, offset: usize) -> Option<usize> {
        usize::from(self.places[offset]).checked_sub(1)
    }

    fn insert(&mut self, offset: usize, value: T) -> Option<T> {
        if let Some(place) = self.place(offset) {
            return Some(std::mem::replace(&mut self.values[place], value));
        }
        self.owners.push(narrow(offset));
        self.values.push(value);
        self.places[offset] = narrow(self.values.len());
        None
    }

    fn remove(&mut self, offset: usize) -> Option<T> {
        let place = self.place(offset)?;
        self.places[offset] = 0;
        self.owners.swap_remove(place);
        let value = self.values.swap_remove(place);
        if let Some(moved) = self.owners.get(place) {
            self.places[usize::from(*moved)] = narrow(place + 1);
        }
        if self.values.len() < self.values.capacity() / 4 {
            self.values.shrink_to(2 * self.values.len());
            self.owners.shrink_to(2 * self.values.len());
        }
        Some(value)
    }
}

fn narrow(place: usize) -> u8 {
    u8::try_from(place).expect("a page has 64 places")
}

fn at(row: Row) -> (u64, usize) {
    (row / PAGE as u64, usize::try_from(row % PAGE as u64).expect("a page has 64 places"))
}

/// Values by row.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pages: HashMap<u64, Box<Page<T>>, BuildHasherDefault<PageHasher>>,
    len: usize,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { pages: HashMap::default(), len: 0 }
    }
}

impl<T> Rows<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of a row.
    pub(super) fn get(&self, row: Row) -> Option<&T> {
        let (page, offset) = at(row);
        let page = self.pages.get(&page)?;
        page.values.get(page.place(offset)?)
    }

    /// The value of a row, to be changed.
    pub(super) fn get_mut(&mut self, row: Row) -> Option<&mut T> {
        let (page, offset) = at(row);
        let page = self.pages.get_mut(&page)?;
        let place = page.place(offset)?;
        page.values.get_mut(place)
    }

    /// Gives a row a value.
    pub(super) fn insert(&mut self, row: Row, value: T) {
        let (page, offset) = at(row);
        let page = self.pages.entry(page).or_insert_with(|| Box::new(Page::new()));
        self.len += usize::from(page.insert(offset, value).is_none());
    }

    /// Takes the value of a row out.
    pub(super) fn remove(&mut self, row: Row) -> Option<T> {
        let (number, offset) = at(row);
        let page = self.pages.get_mut(&number)?;
        let value = page.remove(offset)?;
        if page.values.is_empty() {
            self.pages.remove(&number);
        }
        self.len -= 1;
        Some(value)
    }

    /// Every row, ascending.
    pub(super) fn ascending(&self) -> impl Iterator<Item = Row> + use<T> {
        let pages = self.pages.iter();
        let mut all: Vec<_> =
            pages.map(|(number, page)| (*number, page.places.map(|place| place > 0))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().flat_map(|(number, taken)| {
            let rows = number * PAGE as u64..(number + 1) * PAGE as u64;
            rows.zip(taken).filter(|(_, taken)| *taken).map(|(row, _)| row)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec((0u64..200, any::<bool>()), 0..600)) {
            let (mut rows, mut map) = (Rows::default(), BTreeMap::new());
            for (number, (row, goes)) in steps.into_iter().enumerate() {
                if goes {
                    prop_assert_eq!(rows.remove(row), map.remove(&row));
                } else {
                    rows.insert(row, number);
                    map.insert(row, number);
                }
                prop_assert_eq!(rows.get(row), map.get(&row));
                prop_assert_eq!(rows.len(), map.len());
            }
            prop_assert_eq!(rows.ascending().collect::<Vec<_>>(), map.keys().copied().collect::<Vec<_>>());
            for row in map.keys() {
                prop_assert_eq!(rows.get_mut(*row).map(|value| *value), map.get(row).copied());
            }
        }
    }

    #[test]
    fn a_page_that_empties_gives_its_memory_back() {
        let mut rows = Rows::default();
        (0..640).for_each(|row| rows.insert(row, row));
        let gone: Vec<_> = (0..640).filter(|row| row % 64 != 7).filter_map(|row| rows.remove(row)).collect();
        assert_eq!((gone.len(), rows.len()), (630, 10));
        assert!(rows.pages.values().all(|page| page.values.capacity() <= 8));
        assert_eq!((0..640).filter_map(|row| rows.remove(row)).count(), 10);
        assert!(rows.pages.is_empty());
    }
}
