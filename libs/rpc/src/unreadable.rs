//! Requests that are no message of the contract.
//!
//! tonic answers one that it cannot decode with INTERNAL, and one beyond the size limit with OUT_OF_RANGE,
//! as the gRPC specification has it. Here INTERNAL is a defect of a daemon, and bad input is INVALID_ARGUMENT.

use tonic::{Code, Status};

use crate::Error;

/// The status of a request that could not be read as bad input; any other as it is. Services apply it to what
/// their request streams end with; the guard applies it to all other calls.
pub fn unreadable(status: Status) -> Status {
    if is_of_the_decoder(&status) { Error::unreadable(status.message()).into() } else { status }
}

/// Errors of daemons carry details, the decoder's own do not.
pub(crate) fn is_of_the_decoder(status: &Status) -> bool {
    matches!(status.code(), Code::Internal | Code::OutOfRange) && status.details().is_empty()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::Reason;

    #[test]
    fn what_cannot_be_decoded_is_bad_input() {
        let status = unreadable(Status::internal("failed to decode Protobuf message: invalid wire type"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_ARGUMENT");
        assert!(status.message().contains("invalid wire type"), "{}", status.message());
    }

    #[test]
    fn errors_of_daemons_stay_what_they_are() {
        let expired = Status::from(Error::out_of_range(Reason::CursorExpired, "list anew"));
        assert_eq!(unreadable(expired).code(), Code::OutOfRange);
        assert_eq!(unreadable(Status::cancelled("gone")).code(), Code::Cancelled);
    }
}
