//! What an error says about the effect of a call: certainly none, or nobody knows.
//!
//! A call that only reads has no effect whatever happens. A call that writes had none when it never
//! left the client, or when the member refused it before proposing it or while applying it. Every
//! other error leaves it open: the entry may be in the log already.

use detsim_reports::record::{Call, Outcome};

use crate::world::convert::is_read;

/// gRPC codes with which etcd refuses a call for good: invalid argument, not found, already exists,
/// permission denied, resource exhausted, failed precondition, out of range, unimplemented,
/// unauthenticated.
const REFUSALS: [i64; 9] = [3, 5, 6, 7, 8, 9, 11, 12, 16];

/// Refusals whose code says less than their text.
const REFUSAL_TEXTS: [&str; 4] = [
    "etcdserver: no leader",
    "etcdserver: unhealthy cluster",
    "etcdserver: corrupt cluster",
    "raft proposal dropped",
];

/// The outcome of a call that was answered with an error.
pub fn of_refusal(call: &Call, code: i64, text: String) -> Outcome {
    let is_refused = REFUSALS.contains(&code) || REFUSAL_TEXTS.contains(&text.as_str());
    if is_refused || is_read(call) { Outcome::Fail(text) } else { Outcome::Unknown(text) }
}

/// The outcome of a call that left the client and was not answered.
pub fn without_answer(call: &Call, why: String) -> Outcome {
    if is_read(call) { Outcome::Fail(why) } else { Outcome::Unknown(why) }
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Put, Range};

    use super::*;

    fn put() -> Call {
        Call::Put(Put::default())
    }

    #[test]
    fn a_timed_out_write_is_unknown_and_a_timed_out_read_failed() {
        let text = "etcdserver: request timed out";
        assert_eq!(of_refusal(&put(), 14, text.into()), Outcome::Unknown(text.into()));
        let read = Call::Range(Range::default());
        assert_eq!(of_refusal(&read, 14, text.into()), Outcome::Fail(text.into()));
        assert_eq!(without_answer(&put(), "reset".into()), Outcome::Unknown("reset".into()));
    }

    #[test]
    fn a_refused_write_failed() {
        for (code, text) in [(3, "etcdserver: key is not provided"), (14, "etcdserver: no leader")]
        {
            assert_eq!(of_refusal(&put(), code, text.into()), Outcome::Fail(text.into()));
        }
    }
}
