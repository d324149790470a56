//! Giving leases and extending them.

use std::{sync::Arc, time::Duration};

use crate::{
    core::{
        Core,
        entry::{Ending, Entry, Hold, Row, row_of},
    },
    error::Error,
    record::{Beat, Lease, LeaseRef, LeaseRequest, Task},
    task::{Event, Micros, after},
};

/// Bytes after which a lease call takes no further task, so that a reply fits a message of 4 MiB.
const REPLY_BYTES: usize = 2 << 20;

impl Core {
    /// Takes ready tasks, at most `request.max` of them and about 2 MiB. Payloads that memory does
    /// not hold are absent: the caller reads them from the store.
    pub fn lease(&mut self, request: &LeaseRequest, now: Micros) -> Vec<Lease> {
        let mut leases = Vec::new();
        let mut bytes = 0;
        let mut holder = None;
        for name in &request.queues {
            let Some(queue) = self.queues.find(&request.namespace, name) else { continue };
            while leases.len() < request.max && bytes < REPLY_BYTES {
                let Some(row) = self.queues.pop(queue, self.limits.ageing_step, now) else { break };
                let (namespace, worker) = (&request.namespace, &request.worker);
                let holder = *holder.get_or_insert_with(|| self.holders.place(namespace, worker));
                if let Some((lease, size)) = self.lease_row(row, request, holder, now) {
                    bytes += size;
                    leases.push(lease);
                }
            }
        }
        leases
    }

    fn lease_row(
        &mut self,
        row: Row,
        request: &LeaseRequest,
        holder: u32,
        now: Micros,
    ) -> Option<(Lease, usize)> {
        let mut entry = self.entries.take(row, &self.queues)?;
        self.queues.at(entry.queue).performance.started(now - ready_since(&entry), now);
        let payload = self.uncache(&mut entry);
        let token = self.next_token();
        self.move_on(row, entry, Event::Lease, now, |entry| {
            let timeout = entry.spec.attempt_timeout.map(|timeout| after(now, timeout));
            let last = Some(entry.status.deadline).filter(|deadline| *deadline != 0);
            let deadline = timeout.into_iter().chain(last).min();
            entry.status.attempts += 1;
            entry.status.worker = Arc::clone(&request.worker);
            entry.status.expires = capped(after(now, request.duration), deadline);
            let LeaseRequest { mark, duration, stream, .. } = *request;
            let hold = Hold { token, mark, duration, deadline, stream, holder, due: 0, proven_until: None };
            entry.hold = Some(hold);
        })?;
        let entry = self.entry(row)?;
        let task = Task { payload, ..entry.view() };
        let checkpoint = entry.status.trail.as_ref().map_or(0, |trail| trail.checkpoint as usize);
        let size = entry.payload_len as usize + entry.spec.size() + checkpoint;
        let duration = crate::task::span(entry.status.expires - now);
        Some((Lease { task, token, duration, mark: request.mark }, size))
    }

    /// Grows with every lease that is ever given. Counted, never read from a clock: what is lost is as many tokens as
    /// there were leases, and not as many as microseconds went by.
    fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// No token up to this one is given any more.
    pub fn continue_tokens(&mut self, last: u64) {
        self.last_token = self.last_token.max(last);
    }

    /// Extends leases to `duration` from now, or each to its own length; each answers its new end, or how it was lost.
    ///
    /// Memory only: a restart gives every lease a grace of its recorded duration anyway, so only a longer
    /// duration than the recorded one is written.
    pub fn heartbeat(
        &mut self,
        namespace: &str,
        leases: &[LeaseRef],
        duration: Option<Duration>,
        now: Micros,
    ) -> Vec<Beat> {
        leases.iter().map(|lease| self.beat(namespace, *lease, duration, now)).collect()
    }

    /// Lets every lease last for its length from now, unless its attempt must end before: the queue stood still, and
    /// nobody could extend it. Looks at every lease.
    pub fn forgive(&mut self, now: Micros) {
        let leased: Vec<Row> = self.expiring.iter().map(|(_, row)| *row).collect();
        for row in leased {
            let Some(mut entry) = self.entries.take(row, &self.queues) else { continue };
            if let Some(hold) = &entry.hold {
                let end = capped(after(now, hold.duration), hold.deadline);
                // Its place is looked at when it comes up.
                entry.status.expires = entry.status.expires.max(end);
            }
            self.entries.put(row, entry);
        }
    }

    pub(super) fn extend(
        &mut self,
        namespace: &str,
        lease: LeaseRef,
        duration: Option<Duration>,
        now: Micros,
    ) -> Option<Micros> {
        self.held(namespace, lease)?;
        let row = row_of(lease.id);
        let mut entry = self.entries.take(row, &self.queues)?;
        let mut longer = false;
        if let Some(hold) = &mut entry.hold {
            let duration = duration.unwrap_or(hold.duration);
            let end = capped(after(now, duration), hold.deadline);
            entry.status.expires = entry.status.expires.max(end);
            longer = duration > hold.duration;
            hold.duration = hold.duration.max(duration);
            self.holders.beaten(hold.holder, now);
        }
        if longer {
            self.note(row, &mut entry, false);
        }
        let expires = entry.status.expires;
        self.entries.put(row, entry);
        Some(expires)
    }

    /// Refuses what is done under a lease that holds its task no more.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub fn check_held(&self, namespace: &str, lease: LeaseRef) -> Result<(), Error> {
        let LeaseRef { id, token, .. } = lease;
        self.held(namespace, lease).map(drop).ok_or(Error::LeaseLost { id, token })
    }

    /// The row of a lease, when its token is the one that holds the task, and who names it was given it.
    pub(super) fn held(&self, namespace: &str, lease: LeaseRef) -> Option<Row> {
        let entry = self.live(namespace, lease.id)?;
        let hold = entry.hold.as_ref()?;
        (hold.token == lease.token && hold.mark.admits(lease.mark)).then(|| row_of(lease.id))
    }
}

/// Since when a ready task may be leased.
fn ready_since(entry: &Entry) -> Micros {
    match entry.settled {
        // It keeps its place in the order.
        Some((_, Ending::Released)) => entry.status.updated,
        _ => entry.status.ready_at,
    }
}

fn capped(end: Micros, deadline: Option<Micros>) -> Micros {
    deadline.map_or(end, |deadline| end.min(deadline))
}
