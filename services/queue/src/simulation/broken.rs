//! Queues that are broken on purpose, so that the checker shows that it sees.

/// What is wrong with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// Settlements and heartbeats count whatever their token.
    NoTokenCheck,
    /// A restart forgets which key made which task.
    ForgetsKeys,
    /// Answers go out before the commit stands.
    AnswersBeforeCommit,
    /// A restart forgets the last token.
    ForgetsTokens,
    /// Each owner goes on from the last token that is left, and from its clock.
    TrustsClocks,
    /// A daemon that was deposed may write on.
    NoFence,
    /// A commit that fails leaves a part of it behind.
    HalfCommits,
    /// A restart forgets attempts.
    ForgetsAttempts,
    /// A restart forgets who holds what.
    ForgetsLeases,
    /// A restart forgets that a task must wait.
    ForgetsDelays,
    /// A restart forgets unique keys.
    ForgetsUniqueKeys,
    /// A restart forgets deadlines.
    ForgetsDeadlines,
    /// What an attempt leaves is never written.
    LosesCheckpoints,
    /// That a tick has fired is never written.
    FiresTwice,
    /// A paused queue goes on.
    IgnoresPauses,
    /// As many tasks run as there are workers.
    IgnoresLimits,
    /// Tasks start as fast as they come.
    IgnoresRates,
    /// Groups have equal shares, whatever their weights.
    IgnoresWeights,
    /// A cancelled task goes on.
    IgnoresCancels,
    /// A purge takes what is held.
    PurgesHeld,
    /// A task does not wait for those that it follows.
    RunsChildrenFirst,
    /// A task is given to another while its lease is proven.
    HandsOnProven,
    /// Poison is tried on after its last attempt.
    RetriesForEver,
    /// A lease that nobody extends does not end.
    NeverReclaims,
    /// Whatever waits, a higher priority is given first.
    IgnoresAgeing,
    /// A lease lasts until its end by the clock of its holder.
    TrustsWorkerClock,
}

impl Broken {
    /// Every one of them.
    pub(super) const ALL: [Self; 26] = [
        Self::NoTokenCheck,
        Self::ForgetsKeys,
        Self::AnswersBeforeCommit,
        Self::ForgetsTokens,
        Self::TrustsClocks,
        Self::NoFence,
        Self::HalfCommits,
        Self::ForgetsAttempts,
        Self::ForgetsLeases,
        Self::ForgetsDelays,
        Self::ForgetsUniqueKeys,
        Self::ForgetsDeadlines,
        Self::LosesCheckpoints,
        Self::FiresTwice,
        Self::IgnoresPauses,
        Self::IgnoresLimits,
        Self::IgnoresRates,
        Self::IgnoresWeights,
        Self::IgnoresCancels,
        Self::PurgesHeld,
        Self::RunsChildrenFirst,
        Self::HandsOnProven,
        Self::RetriesForEver,
        Self::NeverReclaims,
        Self::IgnoresAgeing,
        Self::TrustsWorkerClock,
    ];

    /// Whether it shows only with two daemons, or only with one.
    pub(super) fn needs_sharing(self) -> Option<bool> {
        match self {
            Self::NoFence | Self::TrustsClocks => Some(true),
            Self::AnswersBeforeCommit | Self::ForgetsTokens | Self::HalfCommits => Some(false),
            _ => None,
        }
    }

    /// Invariants of which at least one must be seen broken.
    pub(super) fn breaks(self) -> &'static [u8] {
        match self {
            Self::NoTokenCheck => &[3],
            Self::ForgetsKeys | Self::ForgetsUniqueKeys => &[7],
            Self::AnswersBeforeCommit | Self::LosesCheckpoints => &[1],
            Self::HalfCommits => &[1, 4, 5],
            Self::ForgetsTokens
            | Self::TrustsClocks
            | Self::ForgetsLeases
            | Self::PurgesHeld
            | Self::HandsOnProven => &[2],
            Self::NoFence => &[1, 2, 3, 4, 5],
            Self::ForgetsAttempts | Self::RetriesForEver => &[6],
            Self::ForgetsDelays | Self::ForgetsDeadlines | Self::IgnoresPauses => &[8],
            Self::FiresTwice => &[12],
            Self::IgnoresLimits | Self::IgnoresRates => &[9],
            Self::IgnoresWeights | Self::IgnoresAgeing => &[10],
            Self::IgnoresCancels => &[1, 5],
            Self::RunsChildrenFirst => &[11],
            Self::NeverReclaims | Self::TrustsWorkerClock => &[13],
        }
    }
}
