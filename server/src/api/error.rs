//! etcd's errors: the exact text is the contract, since clients match on it.
//! Source: contract-api.md, section 7. Where the code of the table and the code that etcd's mapping
//! lets slip onto the wire differ, this is the table's (section 13).

use std::fmt;

use crate::config::CompatVersion;

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

macro_rules! errors {
    ($($name:ident $code:ident $text:literal;)*) => {
        /// Every error a client of the API can be answered with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum ApiError { $($name,)* }

        impl ApiError {
            /// All errors, in the order of the contract's table.
            pub const ALL: &'static [ApiError] = &[$(ApiError::$name,)*];

            /// The text that clients match on.
            pub const fn text(self) -> &'static str {
                match self { $(ApiError::$name => $text,)* }
            }

            /// The code on the wire of etcd 3.6.
            pub const fn code(self) -> Code {
                match self { $(ApiError::$name => Code::$code,)* }
            }
        }
    };
}

errors! {
    EmptyKey InvalidArgument "etcdserver: key is not provided";
    KeyNotFound InvalidArgument "etcdserver: key not found";
    ValueProvided InvalidArgument "etcdserver: value is provided";
    LeaseProvided InvalidArgument "etcdserver: lease is provided";
    TooManyOps InvalidArgument "etcdserver: too many operations in txn request";
    DuplicateKey InvalidArgument "etcdserver: duplicate key given in txn request";
    InvalidClientApiVersion InvalidArgument "etcdserver: invalid client api version";
    InvalidSortOption InvalidArgument "etcdserver: invalid sort option";
    Compacted OutOfRange "etcdserver: mvcc: required revision has been compacted";
    FutureRevision OutOfRange "etcdserver: mvcc: required revision is a future revision";
    NoSpace ResourceExhausted "etcdserver: mvcc: database space exceeded";
    LeaseNotFound NotFound "etcdserver: requested lease not found";
    LeaseExists FailedPrecondition "etcdserver: lease already exists";
    LeaseTtlTooLarge OutOfRange "etcdserver: too large lease TTL";
    WatchCanceled Cancelled "etcdserver: watch canceled";
    MemberExists FailedPrecondition "etcdserver: member ID already exist";
    PeerUrlExists FailedPrecondition "etcdserver: Peer URLs already exists";
    NotEnoughStarted FailedPrecondition "etcdserver: re-configuration failed due to not enough started members";
    BadMemberUrls InvalidArgument "etcdserver: given member URLs are invalid";
    MemberNotFound NotFound "etcdserver: member not found";
    NotLearner FailedPrecondition "etcdserver: can only promote a learner member";
    LearnerNotReady FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners FailedPrecondition "etcdserver: too many learner members in cluster";
    ClusterIdMismatch FailedPrecondition "etcdserver: cluster ID mismatch";
    RequestTooLarge InvalidArgument "etcdserver: request is too large";
    TooManyRequests ResourceExhausted "etcdserver: too many requests";
    RootUserMissing FailedPrecondition "etcdserver: root user does not exist";
    RootRoleMissing FailedPrecondition "etcdserver: root user does not have root role";
    UserExists FailedPrecondition "etcdserver: user name already exists";
    UserEmpty InvalidArgument "etcdserver: user name is empty";
    UserNotFound FailedPrecondition "etcdserver: user name not found";
    RoleExists FailedPrecondition "etcdserver: role name already exists";
    RoleNotFound FailedPrecondition "etcdserver: role name not found";
    RoleEmpty InvalidArgument "etcdserver: role name is empty";
    AuthFailed InvalidArgument "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven InvalidArgument "etcdserver: permission not given";
    PermissionDenied PermissionDenied "etcdserver: permission denied";
    RoleNotGranted FailedPrecondition "etcdserver: role is not granted to the user";
    PermissionNotGranted FailedPrecondition "etcdserver: permission is not granted to the role";
    AuthNotEnabled FailedPrecondition "etcdserver: authentication is not enabled";
    InvalidAuthToken Unauthenticated "etcdserver: invalid auth token";
    InvalidAuthManagement InvalidArgument "etcdserver: invalid auth management";
    AuthRevisionOld InvalidArgument "etcdserver: revision of auth store is old";
    NoLeader Unavailable "etcdserver: no leader";
    NotLeader FailedPrecondition "etcdserver: not leader";
    LeaderChanged Unavailable "etcdserver: leader changed";
    NotCapable FailedPrecondition "etcdserver: not capable";
    Stopped Unavailable "etcdserver: server stopped";
    Timeout Unavailable "etcdserver: request timed out";
    TimeoutLeaderFailure Unavailable "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutConnectionLost Unavailable "etcdserver: request timed out, possibly due to connection lost";
    TimeoutWaitAppliedIndex Unavailable "etcdserver: request timed out, waiting for the applied index took too long";
    TimeoutLeaderTransfer Unknown "etcdserver: request timed out, leader transfer took too long";
    Unhealthy Unavailable "etcdserver: unhealthy cluster";
    Corrupt DataLoss "etcdserver: corrupt cluster";
    NotSupportedForLearner FailedPrecondition "etcdserver: rpc not supported for learner";
    BadLeaderTransferee FailedPrecondition "etcdserver: bad leader transferee";
    ClusterVersionUnavailable FailedPrecondition "etcdserver: cluster version not found during downgrade";
    WrongDowngradeFormat InvalidArgument "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTarget InvalidArgument "etcdserver: invalid downgrade target version";
    DowngradeInProcess FailedPrecondition "etcdserver: cluster has a downgrade job in progress";
    NoInflightDowngrade FailedPrecondition "etcdserver: no inflight downgrade job";
    RequestCanceled Cancelled "etcdserver: request canceled";
    ServerDeadlineExceeded DeadlineExceeded "etcdserver: context deadline exceeded";
    UnknownMethod Unknown "etcdserver: unknown method";
    RangeStreamSort Unimplemented "RangeStream does not support custom sort orders";
    RangeStreamFilters Unimplemented "RangeStream does not support revision filters";
    ElectionNoLeader Unknown "election: no leader";
    ElectionNotLeader Unknown "election: not leader";
    ElectionLeaderMissing Unknown "\"leader\" field must be provided";
    MutexSessionExpired Unknown "mutex: session is expired";
    NoPasswordUser Unknown "auth: authentication failed, password was given for no password user";
    ProposalDropped Unknown "raft proposal dropped";
    DeadlineExceeded DeadlineExceeded "context deadline exceeded";
    ContextCanceled Cancelled "context canceled";
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// The error that a text on the wire stands for.
    pub fn from_text(text: &str) -> Option<ApiError> {
        ApiError::ALL.iter().copied().find(|error| error.text() == text)
    }

    /// The code on the wire of the given etcd.
    pub const fn code_for(self, compat: CompatVersion) -> Code {
        match (compat, self) {
            (
                CompatVersion::V3_5,
                ApiError::NotCapable
                | ApiError::NotSupportedForLearner
                | ApiError::ClusterVersionUnavailable,
            ) => Code::Unavailable,
            _ => self.code(),
        }
    }
}

/// Why a call is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallError {
    /// One of the API's own errors.
    Api(ApiError),
    /// The member's disk refused what was asked for, in the disk's words. The member goes on.
    Disk(String),
}

impl CallError {
    /// The API's own error, if it is one.
    pub const fn api(&self) -> Option<ApiError> {
        match self {
            CallError::Api(error) => Some(*error),
            CallError::Disk(_) => None,
        }
    }

    /// What the client is told.
    pub fn text(&self) -> &str {
        match self {
            CallError::Api(error) => error.text(),
            CallError::Disk(text) => text,
        }
    }

    /// The code on the wire of the given etcd.
    pub const fn code_for(&self, compat: CompatVersion) -> Code {
        match self {
            CallError::Api(error) => error.code_for(compat),
            CallError::Disk(_) => Code::Unknown,
        }
    }
}

impl From<ApiError> for CallError {
    fn from(error: ApiError) -> CallError {
        CallError::Api(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_refuses_is_told_in_its_words_with_an_unknown_code() {
        let error = CallError::Disk("write d/db.tmp.1: no space left on device".to_owned());
        assert_eq!(error.to_string(), "write d/db.tmp.1: no space left on device");
        assert_eq!(error.code_for(CompatVersion::V3_6), Code::Unknown);
        let error = CallError::from(ApiError::Corrupt);
        assert_eq!(
            (error.text(), error.code_for(CompatVersion::V3_6)),
            (ApiError::Corrupt.text(), Code::DataLoss)
        );
    }

    #[test]
    fn every_text_names_one_error() {
        for &error in ApiError::ALL {
            assert_eq!(ApiError::from_text(error.text()), Some(error));
            assert_eq!(error.to_string(), error.text());
        }
        assert_eq!(ApiError::from_text("etcdserver: no such text"), None);
    }

    #[test]
    fn three_codes_changed_with_3_6() {
        let mut changed = Vec::new();
        for &error in ApiError::ALL {
            assert_eq!(error.code_for(CompatVersion::V3_6), error.code());
            assert_eq!(error.code_for(CompatVersion::V3_7), error.code());
            if error.code_for(CompatVersion::V3_5) != error.code() {
                assert_eq!(error.code_for(CompatVersion::V3_5), Code::Unavailable);
                assert_eq!(error.code(), Code::FailedPrecondition);
                changed.push(error.text());
            }
        }
        assert_eq!(
            changed,
            [
                "etcdserver: not capable",
                "etcdserver: rpc not supported for learner",
                "etcdserver: cluster version not found during downgrade",
            ]
        );
    }
}
