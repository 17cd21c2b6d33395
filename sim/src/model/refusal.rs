//! Why a request is refused for certain: the errors that follow from the request and the state,
//! with etcd's texts. Errors of the cluster's condition (no leader, timeouts, quotas) are none.

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A definite refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// The text that a client sees.
            pub const fn text(self) -> &'static str {
                match self { $(Refusal::$name => $text,)* }
            }

            /// The refusal with this text.
            pub fn from_text(text: &str) -> Option<Refusal> {
                match text {
                    $($text => Some(Refusal::$name),)*
                    _ => None,
                }
            }
        }
    };
}

refusals! {
    /// A request or an operation of a transaction has an empty key.
    EmptyKey "etcdserver: key is not provided";
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    KeyNotFound "etcdserver: key not found";
    /// `ignore_value` together with a value.
    ValueProvided "etcdserver: value is provided";
    /// `ignore_lease` together with a lease.
    LeaseProvided "etcdserver: lease is provided";
    /// A transaction is too long.
    TooManyOps "etcdserver: too many operations in txn request";
    /// A transaction may change a key twice.
    DuplicateKey "etcdserver: duplicate key given in txn request";
    /// A revision below the compact revision, or a compaction at or below it.
    Compacted "etcdserver: mvcc: required revision has been compacted";
    /// A revision above the newest.
    FutureRevision "etcdserver: mvcc: required revision is a future revision";
    /// The lease does not exist.
    LeaseNotFound "etcdserver: requested lease not found";
    /// A lease with this id exists.
    LeaseExists "etcdserver: lease already exists";
    /// A TTL above 9,000,000,000 s.
    LeaseTtlTooLarge "etcdserver: too large lease TTL";
}

impl Refusal {
    /// Whether the request alone decides it, whatever the state.
    pub const fn is_static(self) -> bool {
        matches!(
            self,
            Refusal::EmptyKey
                | Refusal::ValueProvided
                | Refusal::LeaseProvided
                | Refusal::TooManyOps
                | Refusal::DuplicateKey
                | Refusal::LeaseTtlTooLarge
        )
    }
}
