//! Facts: what operators have set, and schedules, kept as text under a key, and written with the commit that changes it.

use std::sync::Arc;

use crate::{
    core::{Core, schedules},
    error::Error,
    record::{QueueSettings, QueueView},
};

/// Key of a queue's settings, after which come its namespace and its name.
const QUEUE: &str = "queue";

impl Core {
    /// Changes the settings of a queue, and makes it when it is new.
    ///
    /// # Errors
    /// There are as many queues as may be.
    pub fn configure(
        &mut self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        change: impl FnOnce(&mut QueueSettings),
    ) -> Result<QueueView, Error> {
        let index = self.intern(namespace, name)?;
        let queue = self.queues.at(index);
        change(&mut queue.settings);
        let settings = queue.settings.clone();
        self.upkeep.set(index, &settings);
        let fact = (settings != QueueSettings::default()).then(|| text_of(&settings));
        self.batch.facts.insert(format!("{QUEUE}/{namespace}/{name}"), fact);
        // Calls that wait may be served now.
        self.touched.push(index);
        self.queue(namespace, name).ok_or_else(|| Error::NoQueue(name.to_string()))
    }

    /// Takes a kept fact; before the first task.
    ///
    /// # Errors
    /// It is damaged, or there are more queues than may be.
    pub fn restore_fact(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let mut parts = key.splitn(3, '/');
        let (kind, namespace, name) = (parts.next(), parts.next(), parts.next());
        let name = namespace.zip(name).map(|(namespace, name)| (Arc::from(namespace), Arc::from(name)));
        match (kind, name) {
            (Some(QUEUE), Some((namespace, name))) => self.restore_settings(&namespace, &name, key, value),
            (Some(schedules::KIND), Some(name)) => self.restore_schedule(name, value),
            _ => Err(Error::Store(format!("the fact {key:?} is of no known kind"))),
        }
    }

    fn restore_settings(
        &mut self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        let index = self.intern(namespace, name)?;
        let settings = serde_json::from_str(value)
            .map_err(|error| Error::Store(format!("the fact {key:?} is damaged: {error}")))?;
        self.upkeep.set(index, &settings);
        self.queues.at(index).settings = settings;
        Ok(())
    }
}

fn text_of(settings: &QueueSettings) -> String {
    serde_json::to_string(settings).expect("settings are plain values")
}
