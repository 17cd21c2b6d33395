//! Watches that go on from one cluster to the next, by whoever keeps a place in a stream of events:
//! what comes after a revision that the restored cluster has not reached is not what comes after it
//! there, and until others have had as many revisions nothing comes at all.

use std::collections::BTreeMap;

use detsim_reports::record::{Blob, Call, ClientId, History, OpId, Operation, Watch, WatchMessage};

use crate::check::describe;
use crate::check::eras::{Owners, begun_at};
use crate::check::report::{Evidence, Report};
use crate::check::watch::told_up_to;

/// Where a client is in the events of some keys.
struct Place<'a> {
    known: i64,
    era: usize,
    operation: &'a Operation,
}

/// Follows every client that watches through all clusters of a run.
pub(super) fn check(history: &History, owners: &Owners<'_>, report: &mut Report) {
    let mut received: BTreeMap<OpId, Vec<&WatchMessage>> = BTreeMap::new();
    for watched in &history.watched {
        received.entry(watched.op).or_default().push(&watched.message);
    }
    let mut places: BTreeMap<(ClientId, &Blob, &Blob), Place<'_>> = BTreeMap::new();
    let (mut carried, mut refused) = (0, 0);
    for operation in &history.operations {
        let Call::Watch(watch) = &operation.call else { continue };
        let Some(messages) = received.get(&operation.id) else { continue };
        let Some(created) = messages.iter().find(|message| message.created) else { continue };
        let era = owners.era(operation);
        let who = (operation.client, &watch.key, &watch.range_end);
        let before = places
            .get(&who)
            .filter(|before| before.era < era && watch.start_revision == before.known + 1);
        if let Some(before) = before {
            carried += 1;
            let is_refused = messages.iter().any(|message| message.canceled);
            refused += usize::from(is_refused);
            let is_beyond = begun_at(history, era).is_some_and(|begun| before.known > begun);
            if !is_refused && is_beyond && created.revision < before.known {
                let text = format!(
                    "{} goes on from revision {}, up to which {} had told all, and is accepted by \
                     a restored cluster that is at {}",
                    describe::operation(operation),
                    watch.start_revision,
                    describe::operation(before.operation),
                    created.revision
                );
                let evidence = Evidence::of(&[before.operation, operation]);
                report.safety("watch-ahead-of-cluster", evidence, text);
            }
        }
        places.insert(who, Place { known: reached(watch, messages), era, operation });
    }
    report.checked(carried, "watches that went on in a restored cluster");
    report.checked(refused, "of them refused there");
}

/// Up to which revision a watch has told all.
fn reached(watch: &Watch, messages: &[&WatchMessage]) -> i64 {
    let mut known = watch.start_revision - 1;
    for message in messages {
        let from_now = || message.created && watch.start_revision == 0;
        let told = told_up_to(message).or_else(|| from_now().then_some(message.revision));
        known = known.max(told.unwrap_or(known));
    }
    known
}
