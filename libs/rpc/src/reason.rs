//! The stable reasons of errors. `docs/errors.md` explains each to users.

use tonic::Status;
use tonic_types::StatusExt as _;

/// Why a call failed, for programs: the `reason` of `google.rpc.ErrorInfo`, in the domain `nova`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field breaks its rule.
    InvalidArgument,
    /// The named resource is not there.
    NotFound,
    /// A resource of that name is there already, and differs.
    AlreadyExists,
    /// The lease is no longer the caller's.
    LeaseLost,
    /// The call is one that an agent makes under a lease only.
    LeaseRequired,
    /// The queue takes no tasks in.
    QueueDraining,
    /// The queue still holds tasks.
    QueueNotEmpty,
    /// The request_id was used with another body.
    IdempotencyMismatch,
    /// The resource changed since its etag was read.
    EtagMismatch,
    /// The state machine has no such move.
    IllegalTransition,
    /// The mesh was brought up only to be read.
    ReadOnly,
    /// The log has passed the cursor.
    CursorExpired,
    /// A buffer or a quota is full.
    Overloaded,
    /// No identity, or one that does not hold.
    Unauthenticated,
    /// Policy denies the call.
    PermissionDenied,
    /// The daemon has no policy yet, or did not come to a decision in time.
    PolicyUnavailable,
    /// A policy does not compile, or fails its tests.
    PolicyInvalid,
    /// The deadline has passed.
    DeadlineExceeded,
    /// Something the call needs cannot be reached.
    Unavailable,
    /// The one-time token was used before.
    TokenUsed,
    /// The node's configuration does not allow the program.
    ProgramNotAllowed,
    /// The operating system would not start the process.
    ProcessNotStarted,
    /// A defect; the log of the daemon has the detail.
    Internal,
}

impl Reason {
    /// Every reason, for the documentation's test.
    pub const ALL: &'static [Reason] = &[
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::LeaseLost,
        Self::LeaseRequired,
        Self::QueueDraining,
        Self::QueueNotEmpty,
        Self::IdempotencyMismatch,
        Self::EtagMismatch,
        Self::IllegalTransition,
        Self::ReadOnly,
        Self::CursorExpired,
        Self::Overloaded,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::PolicyUnavailable,
        Self::PolicyInvalid,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::TokenUsed,
        Self::ProgramNotAllowed,
        Self::ProcessNotStarted,
        Self::Internal,
    ];

    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::LeaseLost => "LEASE_LOST",
            Self::LeaseRequired => "LEASE_REQUIRED",
            Self::QueueDraining => "QUEUE_DRAINING",
            Self::QueueNotEmpty => "QUEUE_NOT_EMPTY",
            Self::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::IllegalTransition => "ILLEGAL_TRANSITION",
            Self::ReadOnly => "READ_ONLY",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::Overloaded => "OVERLOADED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::PolicyUnavailable => "POLICY_UNAVAILABLE",
            Self::PolicyInvalid => "POLICY_INVALID",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::TokenUsed => "TOKEN_USED",
            Self::ProgramNotAllowed => "PROGRAM_NOT_ALLOWED",
            Self::ProcessNotStarted => "PROCESS_NOT_STARTED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether this is why a call failed.
    pub fn is_of(self, status: &Status) -> bool {
        status.get_details_error_info().is_some_and(|info| info.reason == self.as_str())
    }
}
