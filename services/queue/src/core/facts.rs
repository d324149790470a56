//! Facts: what operators have set, and schedules, kept as text under a key, and written with the commit that changes it.

use std::{num::ParseIntError, sync::Arc};

use crate::{
    core::{Core, schedules},
    error::Error,
    record::{QueueSettings, QueueView},
    task::Micros,
};

/// Key of a queue's settings, after which come its namespace and its name.
const QUEUE: &str = "queue";

/// Key of a bucket that is not full, after which come namespace and name of its queue, and its group if it is of one.
const RATE: &str = "rate";

/// Key of the bucket of a queue, or of one of its groups.
pub(super) fn rate_key(namespace: &str, queue: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("{RATE}/{namespace}/{queue}/{group}"),
        None => format!("{RATE}/{namespace}/{queue}"),
    }
}

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
        now: Micros,
    ) -> Result<QueueView, Error> {
        let index = self.intern(namespace, name)?;
        let queue = self.queues.at(index);
        change(&mut queue.settings);
        let settings = queue.settings.clone();
        self.upkeep.set(index, &settings);
        let fact = (settings != QueueSettings::default()).then(|| text_of(&settings));
        self.batch.facts.insert(format!("{QUEUE}/{namespace}/{name}"), fact);
        // Limits hold at once, and calls that wait may be served now.
        self.queues.configured(index, now);
        self.queue(namespace, name).ok_or_else(|| Error::NoQueue(name.to_string()))
    }

    /// Takes a kept fact; before the first task.
    ///
    /// # Errors
    /// It is damaged, or there are more queues than may be.
    pub fn restore_fact(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let mut parts = key.splitn(4, '/');
        let (kind, namespace, name) = (parts.next(), parts.next(), parts.next());
        let name = namespace.zip(name).map(|(namespace, name)| (Arc::from(namespace), Arc::from(name)));
        match (kind, name, parts.next()) {
            (Some(QUEUE), Some((namespace, name)), None) => {
                self.restore_settings(&namespace, &name, key, value)
            }
            (Some(RATE), Some((namespace, name)), group) => {
                self.restore_rate(&namespace, &name, group, key, value)
            }
            (Some(schedules::KIND), Some(name), None) => self.restore_schedule(name, value),
            _ => Err(Error::Store(format!("the fact {key:?} is of no known kind"))),
        }
    }

    fn restore_rate(
        &mut self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        group: Option<&str>,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        let index = self.intern(namespace, name)?;
        let full_at = value.parse();
        let damaged = |error: ParseIntError| Error::Store(format!("the fact {key:?} is damaged: {error}"));
        let full_at = full_at.map_err(damaged)?;
        self.queues.at(index).restore_bucket(group, full_at);
        Ok(())
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
