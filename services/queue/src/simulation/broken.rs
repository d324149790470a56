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
}

impl Broken {
    /// Every one of them.
    pub(super) const ALL: [Self; 9] = [
        Self::NoTokenCheck,
        Self::ForgetsKeys,
        Self::AnswersBeforeCommit,
        Self::ForgetsTokens,
        Self::NoFence,
        Self::HalfCommits,
        Self::ForgetsAttempts,
        Self::ForgetsLeases,
        Self::ForgetsDelays,
    ];

    /// Whether it shows only with two daemons, or only with one.
    pub(super) fn needs_sharing(self) -> Option<bool> {
        match self {
            Self::NoFence => Some(true),
            Self::AnswersBeforeCommit | Self::ForgetsTokens | Self::HalfCommits => Some(false),
            _ => None,
        }
    }

    /// Invariants of which at least one must be seen broken.
    pub(super) fn breaks(self) -> &'static [u8] {
        match self {
            Self::NoTokenCheck => &[3],
            Self::ForgetsKeys => &[7],
            Self::AnswersBeforeCommit => &[1],
            Self::HalfCommits => &[1, 4, 5],
            Self::ForgetsTokens | Self::ForgetsLeases => &[2],
            Self::NoFence => &[1, 2, 3, 4, 5],
            Self::ForgetsAttempts => &[6],
            Self::ForgetsDelays => &[8],
        }
    }
}
