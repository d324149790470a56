//! How many leases each worker holds, counted as they come and go, and when one of them was last extended.
//!
//! A hold names its worker by a place here, so that a lease costs no look at a name. Places of workers that hold
//! nothing are taken away now and then, which keeps the table within twice the workers that hold something.

use std::{collections::HashMap, sync::Arc};

use crate::task::Micros;

/// Places below which none is taken away.
const FEW: usize = 1_024;

/// A worker's place.
#[derive(Debug)]
struct Place {
    namespace: Arc<str>,
    name: Arc<str>,
    held: Holding,
}

/// What a worker holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// Leases.
    pub leases: u32,
    /// When it last extended one; 0 when it has not.
    pub beat: Micros,
}

/// Every worker that holds a lease, and some that held one.
#[derive(Debug, Default)]
pub(super) struct Holders {
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    index: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
    tidy_at: usize,
}

impl Holders {
    /// The place of a worker, good until the next call of this unless something is held there.
    pub(super) fn place(&mut self, namespace: &Arc<str>, name: &Arc<str>) -> u32 {
        if let Some(place) = self.find(namespace, name) {
            return place;
        }
        if self.places.len() - self.free.len() >= self.tidy_at.max(FEW) {
            self.tidy();
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let (namespace, name) = (Arc::clone(namespace), Arc::clone(name));
        self.index.entry(Arc::clone(&namespace)).or_default().insert(Arc::clone(&name), place);
        self.places[place as usize] = Some(Place { namespace, name, held: Holding::default() });
        place
    }

    /// A task changed hands.
    pub(super) fn moved(&mut self, from: Option<u32>, to: Option<u32>) {
        if from == to {
            return;
        }
        if let Some(before) = from.and_then(|place| self.at(place)) {
            before.held.leases = before.held.leases.saturating_sub(1);
        }
        if let Some(after) = to.and_then(|place| self.at(place)) {
            after.held.leases += 1;
        }
    }

    /// A lease of the worker at this place was extended.
    pub(super) fn beaten(&mut self, place: u32, now: Micros) {
        if let Some(place) = self.at(place) {
            place.held.beat = now;
        }
    }

    /// What a worker holds.
    pub(super) fn held(&self, namespace: &str, name: &str) -> Holding {
        let place = self.find(namespace, name).and_then(|place| self.places.get(place as usize));
        place.and_then(Option::as_ref).map_or_else(Holding::default, |place| place.held)
    }

    fn find(&self, namespace: &str, name: &str) -> Option<u32> {
        self.index.get(namespace)?.get(name).copied()
    }

    fn at(&mut self, place: u32) -> Option<&mut Place> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    fn tidy(&mut self) {
        for (number, place) in (0..).zip(&mut self.places) {
            let Some(idle) = place.take_if(|place| place.held.leases == 0) else { continue };
            if let Some(names) = self.index.get_mut(&idle.namespace) {
                names.remove(&idle.name);
                if names.is_empty() {
                    self.index.remove(&idle.namespace);
                }
            }
            self.free.push(number);
        }
        self.tidy_at = 2 * (self.places.len() - self.free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Arc<str> {
        format!("w-{number}").into()
    }

    #[test]
    fn leases_are_counted_by_worker() {
        let mut holders = Holders::default();
        let (one, two) = (holders.place(&"n".into(), &name(1)), holders.place(&"n".into(), &name(2)));
        holders.moved(None, Some(one));
        holders.moved(None, Some(one));
        holders.moved(Some(one), Some(two));
        let held = |holders: &Holders, namespace, name| holders.held(namespace, name).leases;
        assert_eq!([("n", "w-1"), ("n", "w-2"), ("m", "w-1")].map(|(n, w)| held(&holders, n, w)), [1, 1, 0]);
        holders.moved(Some(two), None);
        assert_eq!(held(&holders, "n", "w-2"), 0);
    }

    #[test]
    fn workers_that_hold_nothing_leave_no_trace() {
        let mut holders = Holders::default();
        let kept = holders.place(&"n".into(), &name(0));
        holders.moved(None, Some(kept));
        for number in 1..100_000 {
            let place = holders.place(&"n".into(), &name(number));
            holders.moved(None, Some(place));
            holders.moved(Some(place), None);
        }
        assert!(holders.places.len() <= 2 * FEW, "{} places", holders.places.len());
        assert_eq!(holders.held("n", "w-0").leases, 1);
    }
}
