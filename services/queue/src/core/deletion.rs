//! Deleting a queue, a bounded step at a time: what it keeps of ended tasks goes first, then its settings, then itself.

use std::sync::Arc;

use crate::{
    core::Core,
    error::Error,
    record::QueueSettings,
    task::{Micros, State},
};

/// Ended tasks that one step forgets.
const STEP: usize = 2_048;

impl Core {
    /// Takes the next step of a queue's deletion; true when the queue is gone. With `force` its dead letters go as well.
    ///
    /// # Errors
    /// It holds tasks that have not ended, or dead letters.
    pub fn delete_queue(
        &mut self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        force: bool,
        now: Micros,
    ) -> Result<bool, Error> {
        let Some(index) = self.queues.find(namespace, name) else { return Ok(true) };
        let queue = self.queues.at(index);
        let (live, dead) = (queue.live(), queue.count(State::Dead));
        if live > 0 || (dead > 0 && !force) {
            return Err(Error::QueueNotEmpty { queue: name.to_string(), live, dead });
        }
        for _ in 0..STEP {
            if !self.forget_oldest(index) {
                break;
            }
        }
        if self.queues.at(index).is_empty_of_tasks() {
            self.configure(namespace, name, |settings| *settings = QueueSettings::default(), now)?;
        }
        Ok(self.queues.drop_idle(index))
    }
}
