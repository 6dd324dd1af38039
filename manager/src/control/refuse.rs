//! Refusals as users read them: a code for programs, a sentence for people.

use skep_proto::validate::Invalid;
use skep_proto::wire::WireError;
use tonic::{Code, Status};

use crate::raft::{NoRoom, ProposeError, ReadError};
use crate::state::{Misfit, Outcome};

/// A message that cannot be understood.
pub fn malformed(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A spec that cannot be.
pub fn invalid(error: &Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A proposal that was not committed, or is not known to be. Only what may go well by itself in a moment is
/// unavailable: clients try that again.
pub fn not_committed(error: &ProposeError) -> Status {
    let code = match error {
        ProposeError::NoRoom(NoRoom::DiskFull(_)) => Code::ResourceExhausted,
        ProposeError::TooLarge(_) => Code::InvalidArgument,
        ProposeError::Encode(_) => Code::Internal,
        ProposeError::NoRoom(NoRoom::Busy)
        | ProposeError::NotLeader { .. }
        | ProposeError::Unknown
        | ProposeError::Ended(_) => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

/// A read without a majority.
pub fn not_read(error: &ReadError) -> Status {
    Status::unavailable(error.to_string())
}

/// Nothing if all of the entry fitted, else the refusal for the first change that did not.
///
/// # Errors
/// The refusal.
pub fn check(outcome: &Outcome) -> Result<(), Status> {
    outcome
        .dropped
        .first()
        .map_or(Ok(()), |dropped| Err(misfit(&dropped.reason)))
}

fn misfit(reason: &Misfit) -> Status {
    let code = match reason {
        Misfit::Stale { .. } => Code::Aborted,
        Misfit::Exists { .. } | Misfit::NameTaken { .. } => Code::AlreadyExists,
        Misfit::Missing { .. } => Code::NotFound,
        _ => Code::FailedPrecondition,
    };
    Status::new(code, reason.to_string())
}
