//! The member set under changes, its JSON, and the checks before a change is proposed.

use super::*;
use crate::member::time::Monotonic;
use crate::proto::raftpb::ConfChange;

const LOCAL: MemberId = MemberId(0xa1);
const IDENTITY: Identity = Identity { cluster: ClusterId(0xc), member: LOCAL };

fn member(id: u64) -> MemberInfo {
    MemberInfo {
        id: MemberId(id),
        name: format!("n{id:x}"),
        peer_urls: vec![format!("http://n{id:x}:2380")],
        client_urls: vec![format!("http://n{id:x}:2379")],
        is_learner: false,
    }
}

fn learner(id: u64) -> MemberInfo {
    MemberInfo { is_learner: true, ..member(id) }
}

/// Added, but not started yet.
fn unstarted(id: u64) -> MemberInfo {
    MemberInfo { name: String::new(), client_urls: Vec::new(), ..member(id) }
}

fn cluster(members: impl IntoIterator<Item = MemberInfo>) -> Membership {
    Membership::from_parts(members, [], None, Downgrade::default())
}

#[test]
fn changes_are_validated_against_the_present_members() {
    use MembershipError::*;
    let set = Membership::from_parts(
        [member(0xa1), member(0xa2), learner(0xa3)],
        [MemberId(0xdd)],
        None,
        Downgrade::default(),
    );
    let with_urls = |id, url: &str| MemberInfo { peer_urls: vec![url.to_owned()], ..member(id) };
    let update =
        |id, url: &str| MemberChange::Update { id: MemberId(id), peer_urls: vec![url.to_owned()] };
    for (change, max_learners, expected) in [
        (MemberChange::Add(member(0xb1)), 1, Ok(())),
        (MemberChange::Add(member(0xa2)), 1, Err(IdExists)),
        (MemberChange::Add(member(0xdd)), 1, Err(IdRemoved)),
        (MemberChange::Add(with_urls(0xb1, "http://na2:2380")), 1, Err(PeerUrlExists)),
        (MemberChange::Add(learner(0xb1)), 1, Err(TooManyLearners)),
        (MemberChange::Add(learner(0xb1)), 2, Ok(())),
        (MemberChange::Promote(MemberId(0xa3)), 1, Ok(())),
        (MemberChange::Promote(MemberId(0xa2)), 1, Err(NotLearner)),
        (MemberChange::Promote(MemberId(0xb1)), 1, Err(IdNotFound)),
        (MemberChange::Promote(MemberId(0xdd)), 1, Err(IdRemoved)),
        (MemberChange::Remove(MemberId(0xa1)), 1, Ok(())),
        (MemberChange::Remove(MemberId(0xb1)), 1, Err(IdNotFound)),
        (MemberChange::Remove(MemberId(0xdd)), 1, Err(IdRemoved)),
        (update(0xa1, "http://elsewhere:1"), 1, Ok(())),
        (update(0xa1, "http://na1:2380"), 1, Ok(())),
        (update(0xa1, "http://na2:2380"), 1, Err(PeerUrlExists)),
        (update(0xb1, "http://elsewhere:1"), 1, Err(IdNotFound)),
    ] {
        assert_eq!(set.validate(&change, max_learners), expected, "{change:?}");
    }
}

#[test]
fn a_removed_member_answers_as_not_found() {
    assert_eq!(MembershipError::IdRemoved.api(), ApiError::MemberNotFound);
    assert_eq!(MembershipError::IdRemoved.to_string(), "membership: ID removed");
}

#[test]
fn changes_take_effect_and_removed_ids_stay_removed() {
    let mut set = cluster([member(0xa1)]);
    let line = set.apply(MemberChange::Add(learner(0xa2)), IDENTITY);
    assert_eq!(line.message, "added member");
    assert_eq!(
        line.fields,
        [
            ("cluster-id", "c".to_owned()),
            ("local-member-id", "a1".to_owned()),
            ("added-peer-id", "a2".to_owned()),
            ("added-peer-peer-urls", "[\"http://na2:2380\"]".to_owned()),
            ("added-peer-is-learner", "true".to_owned()),
        ]
    );
    assert_eq!(set.voters().count(), 1);
    set.apply(MemberChange::Promote(MemberId(0xa2)), IDENTITY);
    assert_eq!(set.voters().count(), 2);
    let peer_urls = vec!["http://moved:1".to_owned()];
    set.apply(MemberChange::Update { id: MemberId(0xa2), peer_urls }, IDENTITY);
    assert_eq!(set.get(MemberId(0xa2)).unwrap().peer_urls, ["http://moved:1"]);
    assert_eq!(set.get(MemberId(0xa2)).unwrap().name, "na2");
    let line = set.apply(MemberChange::Remove(MemberId(0xa2)), IDENTITY);
    assert_eq!(line.message, "removed member");
    assert!(set.is_removed(MemberId(0xa2)));
    assert_eq!(set.members().len(), 1);
    let again = set.apply(MemberChange::Remove(MemberId(0xa2)), IDENTITY);
    assert_eq!(again.message, "skipped removing already removed member");
}

#[test]
fn attributes_reach_members_and_pass_over_removed_ones() {
    let mut set = cluster([unstarted(0xa1)]);
    let urls = vec!["http://c:1".to_owned()];
    assert_eq!(set.set_attributes(LOCAL, "one".to_owned(), urls, IDENTITY), Ok(None));
    assert_eq!(set.get(LOCAL).unwrap().name, "one");
    assert_eq!(set.get(LOCAL).unwrap().client_urls, ["http://c:1"]);
    set.apply(MemberChange::Remove(LOCAL), IDENTITY);
    let line = set.set_attributes(LOCAL, "two".to_owned(), Vec::new(), IDENTITY).unwrap().unwrap();
    assert_eq!(line.message, "skipped attributes update of removed member");
    let stop = set.set_attributes(MemberId(9), String::new(), Vec::new(), IDENTITY).unwrap_err();
    assert_eq!(stop.exit_code, 2);
    assert_eq!(stop.reason, "failed to update; member unknown");
}

#[test]
fn an_older_member_stops_at_a_newer_cluster_version() {
    let mut set = cluster([member(0xa1)]);
    let first = set.set_cluster_version(Version::new(3, 0, 0), IDENTITY, CompatVersion::V3_6);
    assert_eq!(first.unwrap().message, "set initial cluster version");
    let second = set.set_cluster_version(Version::new(3, 6, 0), IDENTITY, CompatVersion::V3_6);
    let second = second.unwrap();
    assert_eq!(second.message, "updated cluster version");
    assert_eq!(second.fields[2..], [("from", "3.0".to_owned()), ("to", "3.6".to_owned())]);
    for (local, exit_code) in [(CompatVersion::V3_5, 1), (CompatVersion::V3_6, 2)] {
        let stop = set.set_cluster_version(Version::new(3, 7, 0), IDENTITY, local).unwrap_err();
        assert_eq!(stop.exit_code, exit_code);
        assert_eq!(
            stop.reason,
            "invalid downgrade; server version is lower than determined cluster version"
        );
    }
    assert_eq!(set.cluster_version(), Some(&Version::new(3, 6, 0)));
}

#[test]
fn the_digest_tells_states_apart() {
    let plain = cluster([member(1), member(2)]);
    assert_eq!(plain.digest(), cluster([member(2), member(1)]).digest());
    let mut others = vec![plain.digest(), cluster([member(1)]).digest()];
    others.push(cluster([member(1), learner(2)]).digest());
    let mut removed = plain.clone();
    removed.apply(MemberChange::Remove(MemberId(2)), IDENTITY);
    others.push(removed.digest());
    let mut versioned = plain.clone();
    versioned.set_cluster_version(Version::new(3, 6, 0), IDENTITY, CompatVersion::V3_6).unwrap();
    others.push(versioned.digest());
    versioned.set_downgrade(Downgrade { enabled: true, target: "3.5.0".to_owned() });
    others.push(versioned.digest());
    let distinct: std::collections::BTreeSet<u64> = others.iter().copied().collect();
    assert_eq!(distinct.len(), others.len());
}

#[test]
fn changes_have_the_context_of_etcd_and_survive_a_round_trip() {
    let big = 10_276_657_743_932_975_437;
    let bootstrap = MemberInfo {
        id: MemberId(big),
        name: "d".to_owned(),
        peer_urls: vec!["http://localhost:2380".to_owned()],
        ..MemberInfo::default()
    };
    let added = MemberInfo { name: String::new(), ..bootstrap.clone() };
    let peer_urls = bootstrap.peer_urls.clone();
    for (change, kind, context) in [
        (
            MemberChange::Add(bootstrap),
            0,
            Some(r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"d"}"#),
        ),
        (
            MemberChange::Add(added.clone()),
            0,
            Some(r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"]}"#),
        ),
        (
            MemberChange::Add(MemberInfo { is_learner: true, ..added }),
            3,
            Some(concat!(
                r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"#,
                r#""isLearner":true}"#
            )),
        ),
        (
            MemberChange::Promote(MemberId(big)),
            0,
            Some(r#"{"id":10276657743932975437,"peerURLs":null,"isPromote":true}"#),
        ),
        (
            MemberChange::Update { id: MemberId(big), peer_urls },
            2,
            Some(r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"]}"#),
        ),
        (MemberChange::Remove(MemberId(big)), 1, None),
    ] {
        let encoded = change.encode(7);
        assert_eq!(encoded.id, Some(7));
        assert_eq!(encoded.node_id, Some(big));
        assert_eq!(encoded.r#type, Some(kind));
        assert_eq!(encoded.context.as_deref(), context.map(str::as_bytes));
        assert_eq!(MemberChange::decode(&encoded).unwrap(), change);
    }
}

#[test]
fn foreign_changes_are_refused() {
    let change = |kind, context: &'static str| ConfChange {
        id: None,
        r#type: Some(kind),
        node_id: Some(1),
        context: Some(context.as_bytes().into()),
    };
    for (change, text) in [
        (change(0, r#"{"id":2,"peerURLs":[]}"#), "got different member ID"),
        (change(0, "nonsense"), "failed to unmarshal confChangeContext"),
        (change(9, ""), "unknown ConfChange type"),
    ] {
        assert_eq!(MemberChange::decode(&change).unwrap_err().to_string(), text);
    }
}

#[test]
fn member_json_escapes_as_go_and_ignores_what_it_does_not_know() {
    let odd = MemberInfo {
        id: MemberId(1),
        name: "a<b>&\u{2028}\"".to_owned(),
        peer_urls: vec!["http://h:1?a&b".to_owned()],
        ..MemberInfo::default()
    };
    let text = json::encode_member(&odd);
    assert_eq!(
        text,
        "{\"id\":1,\"peerURLs\":[\"http://h:1?a\\u0026b\"],\
         \"name\":\"a\\u003cb\\u003e\\u0026\\u2028\\\"\"}"
    );
    assert_eq!(json::decode_member(text.as_bytes()).unwrap(), odd);
    let read = json::decode_members(br#"[{"id":3,"peerURLs":null,"other":1,"name":"x"}]"#).unwrap();
    let expected = MemberInfo { id: MemberId(3), name: "x".to_owned(), ..MemberInfo::default() };
    assert_eq!(read, [expected]);
    assert_eq!(json::encode_members([]), "[]");
}

/// All of `active` have been connected for ten seconds, the rest never.
fn connected(active: &[u64]) -> (Monotonic, BTreeMap<MemberId, Monotonic>) {
    let since = Monotonic::ZERO;
    let active = active.iter().map(|id| (MemberId(*id), since)).collect();
    (since.after(HEALTH_INTERVAL * 2), active)
}

fn adding(set: &Membership, newcomer: &MemberInfo, active: &[u64]) -> Result<(), ApiError> {
    let (now, active_since) = connected(active);
    let connectivity = Connectivity { now, active_since: &active_since };
    set.may_add(newcomer, IDENTITY, connectivity).map_err(|refused| refused.error)
}

#[test]
fn a_voter_is_added_only_while_enough_members_have_started() {
    let newcomer = unstarted(0xb1);
    let few = Err(ApiError::NotEnoughStarted);
    assert_eq!(adding(&cluster([member(0xa1)]), &newcomer, &[]), Ok(()));
    assert_eq!(adding(&cluster([member(0xa1), unstarted(0xa2)]), &newcomer, &[0xa2]), few);
    let three = cluster([member(0xa1), member(0xa2), unstarted(0xa3)]);
    assert_eq!(adding(&three, &newcomer, &[0xa2, 0xa3]), few);
    let learner = MemberInfo { is_learner: true, ..newcomer };
    assert_eq!(adding(&three, &learner, &[0xa2, 0xa3]), Ok(()));
}

#[test]
fn a_member_is_added_only_while_a_quorum_with_the_newcomer_down_is_connected() {
    let three = cluster([member(0xa1), member(0xa2), member(0xa3)]);
    for newcomer in [unstarted(0xb1), MemberInfo { is_learner: true, ..unstarted(0xb1) }] {
        assert_eq!(adding(&three, &newcomer, &[0xa2, 0xa3]), Ok(()));
        assert_eq!(adding(&three, &newcomer, &[0xa2]), Err(ApiError::Unhealthy));
    }
}

#[test]
fn a_connection_counts_only_after_the_health_interval() {
    let three = cluster([member(0xa1), member(0xa2), member(0xa3)]);
    let since = Monotonic::from_nanos(1);
    let active_since = BTreeMap::from([(MemberId(0xa2), since), (MemberId(0xa3), since)]);
    let at = |now| {
        let connectivity = Connectivity { now, active_since: &active_since };
        three.may_add(&unstarted(0xb1), IDENTITY, connectivity)
    };
    let refused = at(since.after(HEALTH_INTERVAL)).unwrap_err();
    assert_eq!(refused.error, ApiError::Unhealthy);
    assert_eq!(
        refused.lines[0].fields[1].1,
        "{ID:b1 RaftAttributes:{PeerURLs:[http://nb1:2380] IsLearner:false} \
         Attributes:{Name: ClientURLs:[]}}"
    );
    assert_eq!(at(since.after(HEALTH_INTERVAL + std::time::Duration::from_nanos(1))), Ok(()));
}

#[test]
fn removal_keeps_a_started_and_connected_quorum() {
    let removing = |set: &Membership, id, active: &[u64]| {
        let (now, active_since) = connected(active);
        let connectivity = Connectivity { now, active_since: &active_since };
        set.may_remove(MemberId(id), IDENTITY, connectivity).map_err(|refused| refused.error)
    };
    let three = cluster([member(0xa1), member(0xa2), member(0xa3)]);
    assert_eq!(removing(&three, 0xa3, &[0xa2, 0xa3]), Ok(()));
    assert_eq!(removing(&three, 0xa3, &[0xa2]), Ok(()), "a member that is down may go");
    assert_eq!(removing(&three, 0xa2, &[0xa2]), Err(ApiError::Unhealthy));
    assert_eq!(removing(&three, 0xa1, &[0xa2]), Err(ApiError::Unhealthy));
    let half = cluster([member(0xa1), member(0xa2), unstarted(0xa3)]);
    assert_eq!(removing(&half, 0xa2, &[0xa2, 0xa3]), Err(ApiError::NotEnoughStarted));
    assert_eq!(removing(&half, 0xa3, &[0xa2]), Ok(()));
    let with_learner = cluster([member(0xa1), learner(0xa2)]);
    assert_eq!(removing(&with_learner, 0xa2, &[]), Ok(()), "a learner may always go");
    let alone = cluster([member(0xa1)]);
    assert_eq!(removing(&alone, 0xa1, &[]), Err(ApiError::NotEnoughStarted));
}

#[test]
fn promotion_counts_the_learner_as_started() {
    let promoting = |set: &Membership| {
        set.may_promote(MemberId(0xa9), IDENTITY).map_err(|refused| refused.error)
    };
    assert_eq!(promoting(&cluster([member(0xa1), learner(0xa9)])), Ok(()));
    let three = [member(0xa1), unstarted(0xa2), unstarted(0xa3), learner(0xa9)];
    assert_eq!(promoting(&cluster(three)), Err(ApiError::NotEnoughStarted));
    let two = [member(0xa1), member(0xa2), unstarted(0xa3), learner(0xa9)];
    assert_eq!(promoting(&cluster(two)), Ok(()));
}

#[test]
fn a_learner_is_ready_at_nine_tenths_of_the_log() {
    assert!(learner_is_ready(9, 10));
    assert!(!learner_is_ready(89, 100));
    assert!(learner_is_ready(u64::MAX, u64::MAX));
    assert!(!learner_is_ready(0, u64::MAX));
}
