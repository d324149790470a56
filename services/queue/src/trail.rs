//! What attempts leave behind: how far the present one is, a checkpoint for the next, and how those before ended.
//!
//! A task that completes at its first attempt and reports nothing has no trail, and costs nothing for it.

use std::sync::Arc;

use crate::{
    codec::{Damaged, Packer, Unpacker, pack_trace, unpack_trace},
    task::{Failure, Micros, RELEASED},
};

/// Ended attempts that are kept.
const ATTEMPTS: usize = 16;

/// Most bytes of the message that an ended attempt keeps, so that a history stays small in memory.
const MESSAGE_BYTES: usize = 512;

/// A whole, in the unit that progress is kept in.
const WHOLE: f64 = 1e6;

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Millionths of the whole.
    pub millionths: u32,
    /// For people.
    pub note: Box<str>,
}

impl Progress {
    /// Progress of a fraction, which is taken between 0 and 1.
    pub fn new(fraction: f64, note: &str) -> Self {
        let millionths = (fraction.clamp(0.0, 1.0) * WHOLE).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 0 and a million"
        )]
        let millionths = millionths as u32;
        Self { millionths, note: note.into() }
    }

    /// 0 to 1.
    pub fn fraction(&self) -> f64 {
        f64::from(self.millionths) / WHOLE
    }
}

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Who held it.
    pub worker: Arc<str>,
    /// When it was leased.
    pub start: Micros,
    /// When it ended.
    pub end: Micros,
    /// What it said of itself; nothing when it completed.
    pub error: Option<Arc<Failure>>,
}

impl Attempt {
    /// About the bytes of memory that it takes.
    fn size(&self) -> usize {
        let error = self.error.as_ref().map_or(0, |error| error.size());
        size_of::<Self>() + self.worker.len() + error
    }

    fn is_released(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.reason == RELEASED)
    }
}

/// What attempts leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// How far the present attempt is.
    pub progress: Option<Progress>,
    /// Bytes of the checkpoint, which lies in a place of its own; 0 for none.
    pub checkpoint: u32,
    /// Attempts that ended, oldest first.
    pub history: Vec<Attempt>,
}

impl Trail {
    /// About the bytes of memory that it takes; the checkpoint lies elsewhere.
    pub(crate) fn size(&self) -> usize {
        let note = self.progress.as_ref().map_or(0, |progress| progress.note.len());
        size_of::<Self>() + note + self.history.iter().map(Attempt::size).sum::<usize>()
    }

    /// Notes an attempt that ended; the oldest goes when there are many, and of those that were handed back in a row
    /// only the last stays, so that a task that is put off again and again still tells how it failed.
    pub fn end(&mut self, mut attempt: Attempt) {
        attempt.error = attempt.error.map(short);
        if attempt.is_released() {
            self.history.pop_if(|last| last.is_released());
        }
        if self.history.len() >= ATTEMPTS {
            self.history.drain(..=self.history.len() - ATTEMPTS);
        }
        self.history.push(attempt);
        self.progress = None;
    }

    /// What is left once the task has ended: its history, if there is one.
    pub fn ended(trail: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let mut trail = trail.filter(|trail| !trail.history.is_empty())?;
        if trail.progress.is_some() || trail.checkpoint > 0 {
            let left = Arc::make_mut(&mut trail);
            (left.progress, left.checkpoint) = (None, 0);
        }
        Some(trail)
    }
}

/// The same failure with a message that is not long.
fn short(error: Arc<Failure>) -> Arc<Failure> {
    if error.message.len() <= MESSAGE_BYTES {
        return error;
    }
    let fits = |end: &usize| error.message.is_char_boundary(*end);
    let end = (0..=MESSAGE_BYTES).rev().find(fits).unwrap_or(0);
    Arc::new(Failure { message: error.message[..end].into(), ..(*error).clone() })
}

const PROGRESS: u8 = 0x01;
const FAILED: u8 = 0x01;
/// Its failure tells of a trace.
const TRACED: u8 = 0x02;

/// Packs a trail.
pub fn pack_trail(out: &mut Packer, trail: &Trail) {
    out.byte(if trail.progress.is_some() { PROGRESS } else { 0 });
    if let Some(progress) = &trail.progress {
        out.number(u64::from(progress.millionths));
        out.text(&progress.note);
    }
    out.number(u64::from(trail.checkpoint));
    out.number(trail.history.len() as u64);
    for attempt in &trail.history {
        out.byte(match &attempt.error {
            None => 0,
            Some(error) if error.traceparent.is_empty() => FAILED,
            Some(_) => FAILED | TRACED,
        });
        out.number(u64::from(attempt.number));
        out.text(&attempt.worker);
        out.time(attempt.start);
        out.time(attempt.end - attempt.start);
        if let Some(error) = &attempt.error {
            out.text(&error.reason);
            out.text(&error.message);
            if !error.traceparent.is_empty() {
                pack_trace(out, &error.traceparent);
            }
        }
    }
}

/// Reads a packed trail.
///
/// # Errors
/// The bytes are not one.
pub fn unpack_trail(from: &mut Unpacker<'_>) -> Result<Trail, Damaged> {
    let mut trail = Trail::default();
    if from.byte()? & PROGRESS != 0 {
        trail.progress = Some(Progress { millionths: from.small()?, note: from.text()?.into() });
    }
    trail.checkpoint = from.small()?;
    for _ in 0..from.number()? {
        trail.history.push(unpack_attempt(from)?);
    }
    Ok(trail)
}

fn unpack_attempt(from: &mut Unpacker<'_>) -> Result<Attempt, Damaged> {
    let flags = from.byte()?;
    let (number, worker, start) = (from.small()?, from.text()?.into(), from.time()?);
    let end = start.checked_add(from.time()?).ok_or(Damaged)?;
    let mut error = None;
    if flags & FAILED != 0 {
        let mut failure = Failure::new(from.text()?, from.text()?);
        if flags & TRACED != 0 {
            failure.traceparent = unpack_trace(from)?;
        }
        error = Some(Arc::new(failure));
    }
    Ok(Attempt { number, worker, start, end, error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attempt(number: u32, message: &str) -> Attempt {
        let error = Failure::new("BROKEN", message);
        Attempt { number, worker: "w-1".into(), start: 7, end: 9, error: Some(Arc::new(error)) }
    }

    #[test]
    fn a_trail_comes_back_as_it_was() {
        let progress = Some(Progress::new(0.25, "a quarter"));
        let mut trail = Trail { checkpoint: 65_536, ..Trail::default() };
        trail.end(attempt(1, "it broke"));
        for traceparent in ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "another"] {
            let traced = Failure { traceparent: traceparent.into(), ..Failure::new("BROKEN", "m") };
            trail.end(Attempt { error: Some(Arc::new(traced)), ..attempt(1, "") });
        }
        trail.end(Attempt { error: None, ..attempt(2, "") });
        trail.progress = progress;
        let mut out = Packer::default();
        pack_trail(&mut out, &trail);
        assert_eq!(unpack_trail(&mut Unpacker(&out.0)), Ok(trail));
    }

    #[test]
    fn the_last_sixteen_attempts_are_kept() {
        let mut trail = Trail::default();
        (1..=40).for_each(|number| trail.end(attempt(number, "m")));
        let numbers: Vec<u32> = trail.history.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (25..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_task_that_is_handed_back_again_and_again_still_tells_how_it_failed() {
        let mut trail = Trail::default();
        trail.end(attempt(1, "m"));
        for end in 10..100 {
            let released = Some(Arc::new(Failure::released()));
            trail.end(Attempt { error: released, end, ..attempt(2, "m") });
        }
        let ends: Vec<_> = trail.history.iter().map(|attempt| (attempt.number, attempt.end)).collect();
        assert_eq!(ends, [(1, 9), (2, 99)]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut trail = Trail::default();
        trail.end(attempt(1, &"aä".repeat(4_096)));
        let message = &trail.history[0].error.as_ref().unwrap().message;
        assert!((MESSAGE_BYTES - 2..=MESSAGE_BYTES).contains(&message.len()));
    }

    #[test]
    fn an_ended_task_leaves_its_history_alone() {
        let mut trail = Trail { checkpoint: 9, ..Trail::default() };
        assert_eq!(Trail::ended(Some(Arc::new(trail.clone()))), None);
        trail.end(attempt(1, "m"));
        let left = Trail::ended(Some(Arc::new(trail.clone()))).unwrap();
        assert_eq!(*left, Trail { checkpoint: 0, ..trail });
    }

    proptest! {
        #[test]
        fn a_fraction_is_kept_to_a_millionth(fraction in 0.0f64..=1.0) {
            prop_assert!((Progress::new(fraction, "").fraction() - fraction).abs() <= 1e-6);
        }

        #[test]
        fn damaged_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            drop(unpack_trail(&mut Unpacker(&bytes)));
        }
    }
}
