//! Unique keys: while a task with one lives in its queue, another is not stored.

use uuid::Uuid;

use crate::{
    core::{
        Core,
        entry::Entry,
        keys::{Key, fingerprint},
        parted::Parted,
    },
    record::Spec,
    task::{Micros, after},
};

/// The task that keeps others away, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    id: Uuid,
    until: Micros,
}

/// The unique keys of live tasks: a lock goes with its task, so there are never more of them.
pub(super) type Locks = Parted<Holder>;

impl Core {
    /// The task that keeps a new one away.
    pub(super) fn holder(&self, spec: &Spec, now: Micros) -> Option<Uuid> {
        self.locks.get(lock_of(spec)?).filter(|holder| now < holder.until).map(|holder| holder.id)
    }

    /// Gives a task the lock of its key, unless another holds it for longer.
    pub(super) fn lock(&mut self, entry: &Entry) {
        let Some((key, terms)) = lock_of(&entry.spec).zip(entry.spec.terms.as_deref()) else { return };
        let until = terms.unique_for.map_or(Micros::MAX, |span| after(entry.status.created, span));
        if self.locks.get(key).is_none_or(|holder| holder.until <= until) {
            self.locks.insert(key, Holder { id: entry.id, until });
        }
    }

    /// Frees the key of a task that lives no more.
    pub(super) fn unlock(&mut self, entry: &Entry) {
        let Some(key) = lock_of(&entry.spec) else { return };
        if self.locks.get(key).is_some_and(|holder| holder.id == entry.id) {
            self.locks.remove(key);
        }
    }
}

/// Fingerprint of namespace, queue and unique key; nothing when there is none.
pub(super) fn lock_of(spec: &Spec) -> Option<Key> {
    let terms = spec.terms.as_deref().filter(|terms| !terms.unique_key.is_empty())?;
    Some(fingerprint(&[&spec.namespace, &spec.queue, &terms.unique_key]))
}
