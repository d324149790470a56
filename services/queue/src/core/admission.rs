//! What may refuse a call's tasks, looked at before the first is stored.
//!
//! A task that is there already is answered with its id, whatever is full or draining: the answer to its first call may
//! have been lost, and its producer must learn that it was taken. Only what is new needs room.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    Core,
    keys::{Key, Known, key_of},
    unique::lock_of,
};
use crate::{
    error::Error,
    record::{NewTask, Spec},
    task::Micros,
};

/// Where a task of a call goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted {
    /// Index of its queue.
    pub(super) queue: u32,
    /// Its idempotency key.
    pub(super) key: Option<Key>,
    /// Whether no task has its key or its unique key yet.
    pub(super) is_new: bool,
}

/// What the tasks of a call that come first have taken.
#[derive(Debug, Default)]
struct Taken {
    keys: HashMap<Key, Known>,
    locks: HashSet<Key>,
}

impl Core {
    /// Where each task goes.
    ///
    /// # Errors
    /// A known key with another body, an unknown parent, or a limit reached.
    pub(super) fn admit(&mut self, tasks: &[NewTask], now: Micros) -> Result<Vec<Admitted>, Error> {
        let mut taken = Taken::default();
        let mut admitted = Vec::with_capacity(tasks.len());
        for NewTask { spec, .. } in tasks {
            let key = key_of(spec);
            let is_new = self.is_new(spec, key, &mut taken, now)?;
            admitted.push(Admitted { queue: self.intern(&spec.namespace, &spec.queue)?, key, is_new });
        }
        self.check_room(&admitted)?;
        self.check_bytes(tasks, &admitted)?;
        self.check_parents(tasks, &admitted)?;
        Ok(admitted)
    }

    fn is_new(&self, spec: &Spec, key: Option<Key>, taken: &mut Taken, now: Micros) -> Result<bool, Error> {
        let known = |key| self.keys.get(key).or_else(|| taken.keys.get(&key)).copied();
        if let Some(known) = key.and_then(known) {
            return is_repeated(spec, known).map(|()| false);
        }
        if self.holder(spec, now).is_some() || lock_of(spec).is_some_and(|lock| !taken.locks.insert(lock)) {
            return Ok(false);
        }
        let unnamed = Known { id: Uuid::nil(), body_hash: spec.body_hash };
        taken.keys.extend(key.map(|key| (key, unnamed)));
        Ok(true)
    }

    /// Whether there is room for what is new, over all queues and in each.
    fn check_room(&mut self, admitted: &[Admitted]) -> Result<(), Error> {
        let mut new: Vec<u32> = admitted.iter().filter(|task| task.is_new).map(|task| task.queue).collect();
        let (held, limit) = (self.entries.len(), self.limits.tasks);
        if !new.is_empty() && held + new.len() > limit {
            return Err(Error::TooManyTasks { held, limit });
        }
        new.sort_unstable();
        new.chunk_by(|left, right| left == right)
            .try_for_each(|same| self.check_queue(same[0], same.len() as u64))
    }

    /// Whether memory has room for what is new. Only an enqueue is refused for it: what is stored already may end.
    fn check_bytes(&self, tasks: &[NewTask], admitted: &[Admitted]) -> Result<(), Error> {
        let new = tasks.iter().zip(admitted).filter(|(_, admitted)| admitted.is_new);
        let new: usize = new.map(|(task, _)| task.spec.size()).sum();
        let (held, limit) = (self.bytes(), self.limits.bytes);
        if new > 0 && held.saturating_add(new) > limit {
            return Err(Error::TooManyBytes { held, limit });
        }
        Ok(())
    }

    fn check_queue(&mut self, queue: u32, new: u64) -> Result<(), Error> {
        let queue = self.queues.at(queue);
        let name = || queue.name().1.to_string();
        if !queue.settings.intake.takes() {
            return Err(Error::Draining { queue: name() });
        }
        match queue.settings.max_tasks.filter(|limit| queue.live() + new > *limit) {
            Some(limit) => Err(Error::QueueFull { queue: name(), limit }),
            None => Ok(()),
        }
    }
}

/// Whether a task under a known key is the one that made it.
fn is_repeated(spec: &Spec, known: Known) -> Result<(), Error> {
    if spec.body_hash == known.body_hash {
        return Ok(());
    }
    Err(Error::IdempotencyMismatch { request_id: spec.request_id.to_string(), id: known.id })
}
