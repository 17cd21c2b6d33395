//! How a member comes to be: by founding a cluster with others, by joining one, or from its log.
//!
//! A state machine of its own: it asks peers one question at a time, and ends with a decision or
//! with the text that etcd would end with. With a log, every bootstrap setting is ignored.
//!
//! ```text
//! start ─┬─ log ──────────────────────────────────────────────► Restart
//!        ├─ new ───── advertise ── probe ──────────────────────► New
//!        └─ existing ─ fetch ── match ── versions ── downgrade ► Join
//! ```
//!
//! There is no discovery service and no DNS here: settings that ask for them are refused.
//! Source: contract-cluster.md, sections 2.2 to 2.5.

mod action;
mod initial;
mod join;
mod log;
mod resolve;
mod restored;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

pub use action::{Action, Decision, Event};
pub use log::{
    Forced, Refusal, bootstrap_entries, bootstrap_state, encode_metadata, force_new_cluster,
    refuse_snapshot, restart,
};
pub use restored::{RestoredCluster, restored_cluster};

use self::initial::{InitialCluster, InitialError, mismatch};
use self::join::{Existing, Heard, Matching, Progress, is_compatible};
use self::resolve::{Comparison, PATIENCE, Time, Wait, compare};
use self::survey::{Asked, Survey};
use super::id::{CallId, MemberId};
use super::identity::cluster_id;
use super::io::{Level, LogLine, MemberInfo, PeerAnswer, PeerCall, PeerCallError, Stop};
use super::membership::{Identity, MembershipError};
use super::time::Monotonic;
use super::version::Version;
use crate::config::url::Url;
use crate::config::{ClusterState, CompatVersion, Config};

/// A bootstrap that is going on.
#[derive(Debug)]
pub struct Bootstrap {
    settings: Settings,
    phase: Phase,
    asked: Option<Asked>,
    calls: u64,
}

#[derive(Debug)]
struct Settings {
    name: String,
    compat: CompatVersion,
    max_learners: usize,
    request_timeout: Duration,
    /// Sorted.
    advertised: Vec<String>,
    initial: InitialCluster,
    token: String,
}

#[derive(Debug)]
enum Phase {
    /// Comparing the advertised URLs with the listed ones.
    Advertise(Wait),
    /// Asking whether this member has been part of the cluster before; what is left to ask.
    Probe(Founding, VecDeque<String>),
    /// Asking for the members of the cluster.
    Fetch(Vec<MemberInfo>, VecDeque<String>),
    Match(Matching, Wait),
    Versions(Joining, Survey),
    Downgrade(Joining, Survey),
    Over,
}

#[derive(Debug)]
struct Founding {
    id: MemberId,
    members: Vec<MemberInfo>,
}

#[derive(Debug)]
struct Joining {
    id: MemberId,
    existing: Existing,
    /// The other members as listed, with the IDs of the existing ones, ascending.
    others: Vec<MemberInfo>,
    heard: Vec<Heard>,
}

/// How long a founder waits for each answer whether it has been there before.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is nothing here to discover members with.
const NO_DISCOVERY: &str =
    "discovery is not supported by this server: list the members with --initial-cluster";

impl Bootstrap {
    /// Begins; `metadata` is the head of the member's log, if it has one.
    pub fn start(
        config: &Config,
        metadata: Option<&[u8]>,
        now: Monotonic,
    ) -> (Bootstrap, Vec<Action>) {
        let mut advertised = config.initial_advertise_peer_urls.clone();
        advertised.sort_unstable();
        let election = Duration::from_millis(config.election_timeout_ms);
        let settings = Settings {
            name: config.name.clone(),
            compat: config.compat,
            max_learners: config.max_learners,
            request_timeout: Duration::from_secs(5) + 2 * election,
            advertised,
            initial: InitialCluster::default(),
            token: config.initial_cluster_token.clone(),
        };
        let (phase, asked) = (Phase::Over, None);
        let mut bootstrap = Bootstrap { settings, phase, asked, calls: 0 };
        let mut out = Vec::new();
        match metadata {
            Some(metadata) => restarted(config, metadata, &mut out),
            None => bootstrap.begin(config, now, &mut out),
        }
        (bootstrap, out)
    }

    /// Goes on after an event.
    pub fn step(&mut self, now: Monotonic, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Answer { id, result } => {
                if let Some(asked) = self.asked.take_if(|asked| asked.id == id) {
                    self.answered(now, &asked, result, &mut out);
                }
            }
            Event::Deadline => {
                if let Some(asked) = self.asked.take_if(|asked| asked.deadline <= now) {
                    let late = PeerCallError::Unreachable("context deadline exceeded".to_owned());
                    self.answered(now, &asked, Err(late), &mut out);
                } else {
                    self.waited(now, &mut out);
                }
            }
        }
        out
    }

    /// When it wants to be woken.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match (&self.asked, &self.phase) {
            (Some(asked), _) => Some(asked.deadline),
            (None, Phase::Advertise(wait) | Phase::Match(_, wait)) => Some(wait.deadline()),
            (None, _) => None,
        }
    }

    /// The first call ID that it has not used.
    pub fn next_call(&self) -> CallId {
        CallId(self.calls + 1)
    }

    fn begin(&mut self, config: &Config, now: Monotonic, out: &mut Vec<Action>) {
        let initial = match initial_cluster(config) {
            Ok(initial) => initial,
            Err(reason) => {
                let reason = format!("error setting up initial cluster: {reason}");
                fatal(reason, out);
                return;
            }
        };
        self.settings.initial = initial;
        let listed = match self.settings.initial.urls(&self.settings.name) {
            Ok(listed) => listed,
            Err(error) => return self.fail(error.to_string(), out),
        };
        match config.initial_cluster_state {
            ClusterState::Existing => self.join(config, now, out),
            ClusterState::New => {
                let mut lines = Vec::new();
                let comparison =
                    compare(&self.settings.advertised, &listed, Time::Left, &mut lines);
                log(lines, out);
                match comparison {
                    Comparison::Equal => self.found(config.discovers(), now, out),
                    Comparison::Different(why) => self.fail_mismatch(&listed, &why, out),
                    Comparison::Unresolved(name) => {
                        let (wait, line) = Wait::new(name, now, now.after(PATIENCE));
                        out.push(Action::Log(line));
                        self.phase = Phase::Advertise(wait);
                    }
                }
            }
        }
    }

    fn fail_mismatch(&mut self, listed: &[String], why: &str, out: &mut Vec<Action>) {
        let reason = mismatch(&self.settings.name, &self.settings.advertised, listed, why);
        self.fail(reason, out);
    }

    fn found(&mut self, discovers: bool, now: Monotonic, out: &mut Vec<Action>) {
        let members = match self.listed_members() {
            Ok(members) => members,
            Err(error) => return self.fail(error.to_string(), out),
        };
        if discovers {
            return self.fail(NO_DISCOVERY.to_owned(), out);
        }
        let id = self.local_id(&members);
        let urls = self.other_urls(&members);
        self.probe(Founding { id, members }, urls, now, out);
    }

    fn probe(
        &mut self,
        founding: Founding,
        mut urls: VecDeque<String>,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let Some(url) = urls.pop_front() else {
            return finish_new(founding, out);
        };
        self.ask(now, url, PeerCall::Members, PROBE_TIMEOUT, out);
        self.phase = Phase::Probe(founding, urls);
    }

    fn probed(
        &mut self,
        founding: Founding,
        urls: VecDeque<String>,
        result: Result<PeerAnswer, PeerCallError>,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let Ok(PeerAnswer::Members { members, .. }) = result else {
            return self.probe(founding, urls, now, out);
        };
        let known = members.iter().find(|member| member.id == founding.id);
        if known.is_some_and(|member| !member.client_urls.is_empty()) {
            let reason = format!("member {} has already been bootstrapped", founding.id);
            return self.fail(reason, out);
        }
        finish_new(founding, out);
    }

    fn join(&mut self, config: &Config, now: Monotonic, out: &mut Vec<Action>) {
        let members = match self.listed_members() {
            Ok(members) => members,
            Err(error) => return self.fail(error.to_string(), out),
        };
        // 3.6 looks only at the older kind of discovery here, and then finds nobody to ask.
        let is_refused = match config.compat {
            CompatVersion::V3_5 | CompatVersion::V3_6 => !config.discovery.is_empty(),
            CompatVersion::V3_7 => config.discovers(),
        };
        if is_refused {
            let reason = "discovery URL should not be set when joining existing initial cluster";
            return self.fail(reason.to_owned(), out);
        }
        let urls = self.other_urls(&members);
        self.fetch(members, urls, now, out);
    }

    fn fetch(
        &mut self,
        listed: Vec<MemberInfo>,
        mut urls: VecDeque<String>,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let Some(url) = urls.pop_front() else {
            let reason = "could not retrieve cluster information from the given URLs";
            return self.fail(format!("cannot fetch cluster info from peer urls: {reason}"), out);
        };
        self.ask(now, url, PeerCall::Members, FETCH_TIMEOUT, out);
        self.phase = Phase::Fetch(listed, urls);
    }

    fn fetched(
        &mut self,
        listed: Vec<MemberInfo>,
        urls: VecDeque<String>,
        asked: &Asked,
        result: Result<PeerAnswer, PeerCallError>,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        match result {
            Ok(PeerAnswer::Members { cluster, mut members }) if !members.is_empty() => {
                members.sort_by_key(|member| member.id);
                let matching = Matching::new(Existing { cluster, members }, listed);
                self.matching(matching, now, now.after(PATIENCE), out);
            }
            Ok(PeerAnswer::Members { .. }) => {
                let reason = "cannot fetch cluster info from peer urls: \
                              failed to get raft cluster member(s) from the given URLs";
                self.fail(reason.to_owned(), out);
            }
            unusable => {
                out.push(Action::Log(asked.fetch_line(unusable)));
                self.fetch(listed, urls, now, out);
            }
        }
    }

    fn matching(
        &mut self,
        mut matching: Matching,
        now: Monotonic,
        until: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let mut lines = Vec::new();
        let progress = matching.advance(&mut lines);
        log(lines, out);
        match progress {
            Progress::Failed(reason) => self.fail(reason, out),
            Progress::Blocked(name) => {
                let (wait, line) = Wait::new(name, now, until);
                out.push(Action::Log(line));
                self.phase = Phase::Match(matching, wait);
            }
            Progress::Matched => {
                let Matching { existing, mut listed, .. } = matching;
                let id = self.local_id(&listed);
                listed.retain(|member| member.id != id);
                listed.sort_by_key(|member| member.id);
                let joining = Joining { id, existing, others: listed, heard: Vec::new() };
                self.survey_versions(joining, Survey::default(), now, out);
            }
        }
    }

    fn survey_versions(
        &mut self,
        joining: Joining,
        mut survey: Survey,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let mut lines = Vec::new();
        let url = survey.next_url(&joining.others, "failed to get version", &mut lines);
        log(lines, out);
        match url {
            Some(url) => {
                self.ask(now, url, PeerCall::Version, self.settings.request_timeout, out);
                self.phase = Phase::Versions(joining, survey);
            }
            None => self.survey_downgrade(joining, Survey::default(), now, out),
        }
    }

    fn survey_downgrade(
        &mut self,
        joining: Joining,
        mut survey: Survey,
        now: Monotonic,
        out: &mut Vec<Action>,
    ) {
        let mut lines = Vec::new();
        let unheard = "failed to get downgrade enabled status";
        let url = survey.next_url(&joining.others, unheard, &mut lines);
        log(lines, out);
        match url {
            Some(url) => {
                self.ask(now, url, PeerCall::DowngradeEnabled, self.settings.request_timeout, out);
                self.phase = Phase::Downgrade(joining, survey);
            }
            None => self.decide_join(joining, false, out),
        }
    }

    fn decide_join(&mut self, joining: Joining, is_downgrading: bool, out: &mut Vec<Action>) {
        let local = Version::parse(self.settings.compat.server_version());
        let local = local.expect("a constant of ours");
        let mut lines = Vec::new();
        let is_compatible = is_compatible(&joining.heard, &local, is_downgrading, &mut lines);
        log(lines, out);
        if !is_compatible {
            return self.fail("incompatible with current running cluster".to_owned(), out);
        }
        let Joining { id, existing: Existing { cluster, members }, .. } = joining;
        let learners = members.iter().filter(|member| member.is_learner).count();
        if self.settings.compat > CompatVersion::V3_5 && learners > self.settings.max_learners {
            return self.fail(MembershipError::TooManyLearners.to_string(), out);
        }
        starting_line(Identity { cluster, member: id }, out);
        out.push(Action::Finished(Decision::Join { id, cluster, members }));
    }

    fn answered(
        &mut self,
        now: Monotonic,
        asked: &Asked,
        result: Result<PeerAnswer, PeerCallError>,
        out: &mut Vec<Action>,
    ) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Probe(founding, urls) => self.probed(founding, urls, result, now, out),
            Phase::Fetch(listed, urls) => self.fetched(listed, urls, asked, result, now, out),
            Phase::Versions(mut joining, mut survey) => {
                let member = joining.others[survey.member].id;
                match result {
                    Ok(PeerAnswer::Version { cluster, .. }) => {
                        joining.heard.push(Heard { member, cluster_version: cluster });
                        survey.next_member();
                    }
                    unusable => out.push(Action::Log(survey.pass_over(asked, member, unusable))),
                }
                self.survey_versions(joining, survey, now, out);
            }
            Phase::Downgrade(joining, mut survey) => match result {
                Ok(PeerAnswer::DowngradeEnabled(enabled)) => {
                    self.decide_join(joining, enabled, out);
                }
                unusable => {
                    let member = joining.others[survey.member].id;
                    out.push(Action::Log(survey.pass_over(asked, member, unusable)));
                    self.survey_downgrade(joining, survey, now, out);
                }
            },
            phase @ (Phase::Advertise(_) | Phase::Match(..) | Phase::Over) => self.phase = phase,
        }
    }

    fn waited(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Advertise(mut wait) => {
                let (time, lines) = wait.advance(now);
                log(lines, out);
                match time {
                    Time::Left => self.phase = Phase::Advertise(wait),
                    Time::Up => {
                        let listed = self.settings.initial.urls(&self.settings.name);
                        let listed = listed.expect("it was there at the beginning");
                        self.fail_mismatch(&listed, &wait.name.cause(), out);
                    }
                }
            }
            Phase::Match(mut matching, mut wait) => {
                let (time, lines) = wait.advance(now);
                log(lines, out);
                match time {
                    Time::Left => self.phase = Phase::Match(matching, wait),
                    Time::Up => {
                        matching.give_up(&wait.name);
                        self.matching(matching, now, now, out);
                    }
                }
            }
            phase => self.phase = phase,
        }
    }

    fn ask(
        &mut self,
        now: Monotonic,
        url: String,
        call: PeerCall,
        timeout: Duration,
        out: &mut Vec<Action>,
    ) {
        let id = self.next_call();
        self.calls = id.0;
        let (deadline, asked_call) = (now.after(timeout), call.clone());
        self.asked = Some(Asked { id, url: url.clone(), call: asked_call, deadline });
        out.push(Action::Ask { id, url, call, timeout });
    }

    fn listed_members(&self) -> Result<Vec<MemberInfo>, InitialError> {
        self.settings.initial.check_urls_differ()?;
        self.settings.initial.identify(&self.settings.token)
    }

    fn local_id(&self, members: &[MemberInfo]) -> MemberId {
        let local = members.iter().find(|member| member.name == self.settings.name);
        local.expect("the local name is listed").id
    }

    /// The peer URLs of everybody else, sorted.
    fn other_urls(&self, members: &[MemberInfo]) -> VecDeque<String> {
        let others = members.iter().filter(|member| member.name != self.settings.name);
        let mut urls: Vec<String> =
            others.flat_map(|member| member.peer_urls.iter().cloned()).collect();
        urls.sort_unstable();
        urls.into()
    }

    fn fail(&mut self, reason: String, out: &mut Vec<Action>) {
        self.phase = Phase::Over;
        let line = match self.settings.compat {
            CompatVersion::V3_5 => LogLine::new(Level::Warn, "failed to start etcd"),
            _ => LogLine::new(Level::Error, "bootstrap failed"),
        };
        out.push(Action::Log(line.with("error", reason.as_str())));
        fatal(reason, out);
    }
}

fn initial_cluster(config: &Config) -> Result<InitialCluster, String> {
    if !config.discovery_srv.is_empty() {
        return Err("DNS SRV records are not supported by this server: \
                    list the members with --initial-cluster"
            .to_owned());
    }
    if config.discovers() {
        let urls = config.initial_advertise_peer_urls.iter().map(|url| Url::parse(url));
        let urls: Vec<Url> = urls.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        return Ok(InitialCluster::single(&config.name, urls));
    }
    InitialCluster::parse(&config.initial_cluster).map_err(|error| error.to_string())
}

fn restarted(config: &Config, metadata: &[u8], out: &mut Vec<Action>) {
    if config.discovers() {
        let text = "discovery token is ignored since cluster already initialized; \
                    valid logs are found";
        let line = LogLine::new(Level::Warn, text).with("wal-dir", config.wal_dir());
        out.push(Action::Log(line));
    }
    out.push(match restart(metadata) {
        Ok((id, cluster)) => Action::Finished(Decision::Restart { id, cluster }),
        Err(stop) => Action::Failed(stop),
    });
}

fn finish_new(founding: Founding, out: &mut Vec<Action>) {
    let Founding { id, members } = founding;
    let cluster = cluster_id(members.iter().map(|member| member.id));
    starting_line(Identity { cluster, member: id }, out);
    out.push(Action::Finished(Decision::New { id, cluster, members }));
}

fn starting_line(identity: Identity, out: &mut Vec<Action>) {
    let line = LogLine::new(Level::Info, "starting local member")
        .with("local-member-id", identity.member.to_string())
        .with("cluster-id", identity.cluster.to_string());
    out.push(Action::Log(line));
}

/// etcd's last line whatever kept it from starting; the message is historical.
fn fatal(reason: String, out: &mut Vec<Action>) {
    let line = LogLine::new(Level::Fatal, "discovery failed").with("error", reason.as_str());
    out.push(Action::Log(line));
    out.push(Action::Failed(Stop { exit_code: 1, reason }));
}

fn log(lines: Vec<LogLine>, out: &mut Vec<Action>) {
    out.extend(lines.into_iter().map(Action::Log));
}
