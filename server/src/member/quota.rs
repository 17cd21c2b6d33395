//! The space quota (contract-cluster.md, sections 8.2 and 8.3; contract-api.md, section 2.10).
//!
//! Every member compares its own size, and raises the alarm NOSPACE in its own name; the alarm is
//! replicated, and stays until somebody disarms it. The size is the database's as far as it is
//! known; else it is the store's `Footprint`. The comparison is made when a client asks and again
//! when the entry is applied. An entry that exceeds the quota only then has its effect all the
//! same, as members would differ otherwise; who asked is told that it has none.

use prost::Message as _;

use super::apply::Applied;
use super::id::{MemberId, RequestId};
use super::io::{Level, LogLine, Output, Outputs, Request};
use super::running::{Running, Waiter};
use super::time::Now;
use crate::api::{ApiError, check};
use crate::config::{CompatVersion, Config};
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;
use crate::storage::database::DatabaseSize;
use crate::storage::log::EntryKind;
use crate::storage::schema;

const DEFAULT_BYTES: u64 = 2 * 1024 * 1024 * 1024;
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// The quota in bytes, if there is one.
pub(super) fn limit(config: &Config) -> Option<u64> {
    match u64::try_from(config.quota_backend_bytes) {
        Err(_) => None,
        Ok(0) => Some(DEFAULT_BYTES),
        Ok(bytes) => Some(bytes),
    }
}

/// What a member says of its quota when it starts.
pub(super) fn lines(config: &Config) -> Vec<LogLine> {
    let line = |level, text| LogLine::new(level, text).with("quota-name", "v3-applier");
    let Some(bytes) = limit(config) else {
        let given = config.quota_backend_bytes.to_string();
        return vec![line(Level::Info, "disabled backend quota").with("quota-size-bytes", given)];
    };
    let sized = |line: LogLine| {
        line.with("quota-size-bytes", bytes.to_string()).with("quota-size", humanized(bytes))
    };
    let mut lines = Vec::new();
    if bytes > MAX_BYTES {
        lines.push(
            sized(line(Level::Warn, "quota exceeds the maximum value"))
                .with("quota-maximum-size-bytes", MAX_BYTES.to_string())
                .with("quota-maximum-size", humanized(MAX_BYTES)),
        );
    }
    lines.push(sized(line(
        Level::Info,
        match config.quota_backend_bytes {
            0 => "enabled backend quota with default value",
            _ => "enabled backend quota",
        },
    )));
    lines
}

/// What a request counts against the quota, 0 if it needs no space.
fn request_cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => check::put_cost(put),
        Request::Txn(txn) => check::txn_cost(txn),
        Request::LeaseGrant(_) => check::LEASE_GRANT_COST,
        _ => 0,
    }
}

/// The same of the log's form.
pub(super) fn entry_cost(request: &pb::InternalRaftRequest) -> u64 {
    let put = request.put.as_ref().map_or(0, check::put_cost);
    let txn = request.txn.as_ref().map_or(0, check::txn_cost);
    let grant = request.lease_grant.as_ref().map_or(0, |_| check::LEASE_GRANT_COST);
    put + txn + grant
}

impl Running {
    /// How large the database is, or is taken to be where there is none.
    pub(super) fn database_size(&self) -> DatabaseSize {
        self.persistence.size().unwrap_or_else(|| {
            let footprint = self.store.footprint();
            let (total_bytes, in_use_bytes) = (footprint.allocated(), footprint.in_use());
            DatabaseSize { total_bytes, in_use_bytes }
        })
    }

    /// Whether there is space for so much more.
    pub(super) fn has_space(&self, cost: u64) -> bool {
        let fits = |limit| self.database_size().total_bytes.saturating_add(cost) < limit;
        let is_planted = self.config.defect().is(Defect::QuotaIgnored);
        cost == 0 || is_planted || limit(&self.config).is_none_or(fits)
    }

    /// Refuses a client's request for which there is no space, after the alarm. Returns whether
    /// it did.
    pub(super) fn refuse_for_space(
        &mut self,
        id: RequestId,
        request: &Request,
        now: Now,
        out: &mut Outputs,
    ) -> bool {
        let is_refused = !self.has_space(request_cost(request));
        if is_refused {
            self.raise_no_space(Some(id), now, out);
        }
        is_refused
    }

    /// Whether the result of an entry says that this member has exceeded its quota with it, which
    /// it has not told the others yet. Not while it applies what it had applied before it was
    /// restarted: the alarm may have been disarmed since.
    pub(super) fn has_just_exceeded(&self, result: &Applied, index: u64) -> bool {
        matches!(result, Err(ApiError::NoSpace))
            && !self.alarms.is_active(pb::AlarmType::Nospace)
            && index > self.replayed_to
    }

    /// Raises the alarm after an entry was applied; who waits for the entry waits for the alarm.
    pub(super) fn quota_exceeded(&mut self, waiter: Option<Waiter>, now: Now, out: &mut Outputs) {
        let bytes = limit(&self.config).unwrap_or_default();
        out.push(Output::LogLine(
            LogLine::new(Level::Warn, "message exceeded backend quota; raising alarm")
                .with("quota-size-bytes", bytes.to_string())
                .with("quota-size", humanized(bytes))
                .with("error", "etcdserver: no space"),
        ));
        let client = match waiter {
            Some(Waiter::Client(id)) => Some(id),
            _ => None,
        };
        self.raise_no_space(client, now, out);
    }

    fn raise_no_space(&mut self, client: Option<RequestId>, now: Now, out: &mut Outputs) {
        let (id, waiter) = (self.id(), Waiter::NoSpace(client));
        self.raise_alarm(id, pb::AlarmType::Nospace, waiter, now, out);
    }

    /// Raises an alarm of a member, through the log.
    pub(super) fn raise_alarm(
        &mut self,
        member: MemberId,
        alarm: pb::AlarmType,
        waiter: Waiter,
        now: Now,
        out: &mut Outputs,
    ) {
        let id = self.ids.next_id();
        let entry = pb::InternalRaftRequest {
            header: Some(pb::RequestHeader { id, ..pb::RequestHeader::default() }),
            alarm: Some(pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Activate as i32,
                member_id: member.0,
                alarm: alarm as i32,
            }),
            ..pb::InternalRaftRequest::default()
        };
        self.propose(id, EntryKind::Normal, entry.encode_to_vec().into(), waiter, now, out);
    }

    /// The alarm is raised, or could not be: who asked is refused either way.
    pub(super) fn no_space(&self, client: Option<RequestId>, out: &mut Outputs) {
        if let Some(id) = client {
            self.reply(id, Err(ApiError::NoSpace), out);
        }
    }

    /// Carries out an alarm request of the log.
    pub(super) fn apply_alarm(
        &mut self,
        request: &pb::AlarmRequest,
        out: &mut Outputs,
    ) -> pb::AlarmResponse {
        use pb::alarm_request::AlarmAction;
        let alarms = self.alarms.apply(request);
        for alarm in &alarms {
            match request.action() {
                AlarmAction::Activate => {
                    self.persistence.record(|| schema::alarm_activated(alarm));
                }
                AlarmAction::Deactivate => {
                    self.persistence.record(|| schema::alarm_deactivated(alarm));
                }
                AlarmAction::Get => {}
            }
        }
        let text = match request.action() {
            AlarmAction::Activate => Some("alarm raised"),
            AlarmAction::Deactivate => Some("alarm disarmed"),
            AlarmAction::Get => None,
        };
        // Later versions say nothing of it.
        let text = text.filter(|_| self.config.compat == CompatVersion::V3_5);
        for alarm in &alarms {
            let Some(text) = text else { break };
            let line = LogLine::new(Level::Warn, text)
                .with("alarm", alarm.alarm().as_str_name())
                .with("from", format!("{:x}", alarm.member_id));
            out.push(Output::LogLine(line));
        }
        pb::AlarmResponse { header: Some(self.header(self.store.revision())), alarms }
    }
}

/// A number of bytes as etcd prints it beside the exact one: in powers of 1000, with a decimal
/// below ten.
fn humanized(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog10() / 3) as usize;
    let unit = 1_000_u128.pow(power as u32);
    let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole < 10 {
        return format!("{whole}.{tenth} {}", UNITS[power]);
    }
    let rounds_up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
    format!("{} {}", whole + u128::from(rounds_up), UNITS[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_in_powers_of_1000() {
        let printed = [9, 200, 200_000, 2_147_483_648, 8_589_934_592, 9_000_000_000, 12_500]
            .map(humanized)
            .join(", ");
        assert_eq!(printed, "9 B, 200 B, 200 kB, 2.1 GB, 8.6 GB, 9.0 GB, 12 kB");
    }

    #[test]
    fn a_member_says_which_quota_it_has() {
        let told = |quota_backend_bytes| {
            let config = Config { quota_backend_bytes, ..Config::default() };
            let text = |line: LogLine| {
                let fields = line.fields.iter().map(|(name, value)| format!(" {name}={value}"));
                line.message.clone() + &fields.collect::<String>()
            };
            lines(&config).into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            told(0),
            ["enabled backend quota with default value quota-name=v3-applier \
              quota-size-bytes=2147483648 quota-size=2.1 GB"]
        );
        assert_eq!(told(-1), ["disabled backend quota quota-name=v3-applier quota-size-bytes=-1"]);
        assert_eq!(
            told(9_000_000_000),
            [
                "quota exceeds the maximum value quota-name=v3-applier \
                 quota-size-bytes=9000000000 quota-size=9.0 GB \
                 quota-maximum-size-bytes=8589934592 quota-maximum-size=8.6 GB",
                "enabled backend quota quota-name=v3-applier quota-size-bytes=9000000000 \
                 quota-size=9.0 GB",
            ]
        );
    }
}
