//! Alarms as replicated state: which member raised what (contract-api.md, section 5.3).

use std::collections::BTreeSet;

use crate::mvcc::Digest;
use crate::proto::etcdserverpb as pb;

/// The active alarms, by type and member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    active: BTreeSet<(i32, u64)>,
}

impl Alarms {
    /// The state as the database holds it.
    pub(crate) fn from_parts(active: impl IntoIterator<Item = pb::AlarmMember>) -> Alarms {
        let active = active.into_iter().map(|alarm| (alarm.alarm, alarm.member_id));
        Alarms { active: active.collect() }
    }

    /// Whether anybody raised this alarm.
    pub(super) fn is_active(&self, kind: pb::AlarmType) -> bool {
        self.active.range((kind as i32, 0)..=(kind as i32, u64::MAX)).next().is_some()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = pb::AlarmMember> {
        self.active.iter().map(|&(alarm, member_id)| pb::AlarmMember { member_id, alarm })
    }

    /// Carries out a request of the log and says which alarms it concerned.
    pub(super) fn apply(&mut self, request: &pb::AlarmRequest) -> Vec<pb::AlarmMember> {
        let alarm = pb::AlarmMember { member_id: request.member_id, alarm: request.alarm };
        let key = (request.alarm, request.member_id);
        match request.action() {
            pb::alarm_request::AlarmAction::Get => self
                .all()
                .filter(|active| request.alarm == 0 || active.alarm == request.alarm)
                .collect(),
            pb::alarm_request::AlarmAction::Activate => {
                if request.alarm() == pb::AlarmType::None {
                    return Vec::new();
                }
                self.active.insert(key);
                vec![alarm]
            }
            pb::alarm_request::AlarmAction::Deactivate => {
                if self.active.remove(&key) {
                    vec![alarm]
                } else {
                    Vec::new()
                }
            }
        }
    }

    pub(super) fn digest(&self) -> u64 {
        let mut digest = Digest::of(3);
        for &(kind, member) in &self.active {
            digest = digest.u64(kind as u64).u64(member);
        }
        digest.finish()
    }
}
