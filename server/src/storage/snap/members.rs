//! The cluster's members as etcd before 3.7 reads them from a snapshot of the log: the JSON of its
//! first store, a tree of paths, with the events of what was put there.
//!
//! Of that store only what a member reads at a start is here: members, who was removed, and the
//! cluster's version.

use serde::Serialize;
use std::collections::BTreeMap;

use crate::member::id::MemberId;
use crate::member::io::MemberInfo;
use crate::member::membership::{Membership, json};
use crate::storage::log::SnapshotMark;

/// How many events the store keeps.
const EVENTS_MAX: usize = 1000;

const NEVER: &str = "0001-01-01T00:00:00Z";

/// The store of members, as it is after some creations.
#[derive(Clone, Debug)]
pub struct MembersImage {
    root: Node,
    events: Vec<Event>,
    stats: Stats,
}

#[derive(Clone, Debug, Serialize)]
struct Node {
    #[serde(rename = "Path")]
    path: String,
    #[serde(rename = "CreatedIndex")]
    created: usize,
    #[serde(rename = "ModifiedIndex")]
    modified: usize,
    #[serde(rename = "ExpireTime")]
    expires: &'static str,
    #[serde(rename = "Value")]
    value: String,
    #[serde(rename = "Children")]
    children: Option<BTreeMap<String, Node>>,
}

#[derive(Clone, Debug, Serialize)]
struct Event {
    action: &'static str,
    node: EventNode,
}

#[derive(Clone, Debug, Serialize)]
struct EventNode {
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(rename = "modifiedIndex")]
    modified: usize,
    #[serde(rename = "createdIndex")]
    created: usize,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Store<'a> {
    root: &'a Node,
    watcher_hub: WatcherHub<'a>,
    current_index: usize,
    stats: &'a Stats,
    current_version: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WatcherHub<'a> {
    event_history: EventHistory<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventHistory<'a> {
    queue: Queue<'a>,
    start_index: usize,
    last_index: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Queue<'a> {
    events: Vec<Option<&'a Event>>,
    size: usize,
    front: usize,
    back: usize,
    capacity: usize,
}

#[derive(Serialize)]
struct RaftAttributes<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: Option<&'a [String]>,
    #[serde(rename = "isLearner", skip_serializing_if = "json::is_false")]
    is_learner: bool,
}

#[derive(Serialize)]
struct Attributes<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
}

impl Node {
    fn new(path: String, index: usize) -> Node {
        let (created, modified) = (index, index);
        Node { path, created, modified, expires: NEVER, value: String::new(), children: None }
    }

    fn directory(path: String, index: usize) -> Node {
        Node { children: Some(BTreeMap::new()), ..Node::new(path, index) }
    }
}

impl Default for MembersImage {
    fn default() -> MembersImage {
        let mut root = Node::directory("/".to_owned(), 0);
        for name in ["0", "1"] {
            let children = root.children.get_or_insert_default();
            children.insert(name.to_owned(), Node::directory(format!("/{name}"), 0));
        }
        MembersImage { root, events: Vec::new(), stats: Stats::default() }
    }
}

impl MembersImage {
    /// After the first entries of a cluster's log, which add its members. `is_looked_up` says
    /// whether a member was asked for before, in vain, which the store counts: 3.6 does.
    pub fn founded(members: &[MemberInfo], lookups_failed: u64) -> MembersImage {
        let mut image = MembersImage::default();
        members.iter().for_each(|member| image.add(member));
        image.stats.gets_fail = lookups_failed;
        image
    }

    /// Of a cluster that has run for a while.
    pub fn of(membership: &Membership) -> MembersImage {
        let mut image = MembersImage::default();
        for member in membership.members() {
            image.add(member);
            if !member.name.is_empty() || !member.client_urls.is_empty() {
                let attributes =
                    Attributes { name: &member.name, client_urls: &member.client_urls };
                let path = format!("/0/members/{}/attributes", member.id);
                image.put("set", path, json::to_json(&attributes));
            }
        }
        for id in membership.removed() {
            image.put("create", format!("/0/removed_members/{id}"), String::new());
        }
        if let Some(version) = membership.cluster_version() {
            image.put("set", "/0/version".to_owned(), version.to_string());
        }
        image
    }

    /// Of the cluster as it was at a mark. `membership` may be that of a later moment: who voted
    /// and who learned is what the mark says, and a member that is gone since has no URLs here.
    pub fn at(mark: &SnapshotMark, membership: &Membership) -> MembersImage {
        let Some(conf_state) = &mark.conf_state else { return MembersImage::of(membership) };
        let placed = |ids: &[u64], is_learner: bool| -> Vec<MemberInfo> {
            let known = |id: &u64| membership.get(MemberId(*id)).cloned();
            let unknown = |id: &u64| MemberInfo { id: MemberId(*id), ..MemberInfo::default() };
            let of = |id| known(id).unwrap_or_else(|| unknown(id));
            ids.iter().map(|id| MemberInfo { is_learner, ..of(id) }).collect()
        };
        let mut members = placed(&conf_state.voters, false);
        members.extend(placed(&conf_state.learners, true));
        let is_member = |id: &MemberId| members.iter().any(|member| member.id == *id);
        let removed: Vec<MemberId> = membership.removed().filter(|id| !is_member(id)).collect();
        let version = membership.cluster_version().cloned();
        let downgrade = membership.downgrade().clone();
        MembersImage::of(&Membership::from_parts(members, removed, version, downgrade))
    }

    fn add(&mut self, member: &MemberInfo) {
        let attributes = RaftAttributes {
            peer_urls: Some(&member.peer_urls[..]).filter(|urls| !urls.is_empty()),
            is_learner: member.is_learner,
        };
        let path = format!("/0/members/{}/raftAttributes", member.id);
        self.put("create", path, json::to_json(&attributes));
    }

    /// Puts a value at a path; directories above it come into being with it.
    fn put(&mut self, action: &'static str, path: String, value: String) {
        let index = self.events.len() + 1;
        let mut node = &mut self.root;
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let (above, name) = path[..end].rsplit_once('/').expect("paths begin with a slash");
            let is_leaf = end == path.len();
            let below = || {
                let path = format!("{above}/{name}");
                if is_leaf { Node::new(path, index) } else { Node::directory(path, index) }
            };
            let children = node.children.get_or_insert_default();
            node = children.entry(name.to_owned()).or_insert_with(below);
        }
        node.value.clone_from(&value);
        match action {
            "create" => self.stats.create_success += 1,
            _ => self.stats.sets_success += 1,
        }
        let node = EventNode { key: path, value, modified: index, created: index };
        self.events.push(Event { action, node });
    }

    /// As etcd's encoder writes it.
    pub fn to_json(&self) -> String {
        let count = self.events.len();
        let size = count.min(EVENTS_MAX);
        let mut events = vec![None; EVENTS_MAX];
        for (at, event) in self.events.iter().enumerate() {
            events[at % EVENTS_MAX] = Some(event);
        }
        let back = count % EVENTS_MAX;
        let front = if count > EVENTS_MAX { back } else { 0 };
        let queue = Queue { events, size, front, back, capacity: EVENTS_MAX };
        let start_index = if count == 0 { 0 } else { count - size + 1 };
        let event_history = EventHistory { queue, start_index, last_index: count };
        json::to_json(&Store {
            root: &self.root,
            watcher_hub: WatcherHub { event_history },
            current_index: count,
            stats: &self.stats,
            current_version: 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::membership::Downgrade;
    use crate::member::version::Version;
    use crate::proto::raftpb::ConfState;

    fn node(path: &str, index: usize, value: &str, children: &str) -> String {
        format!(
            "{{\"Path\":\"{path}\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},\
             \"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"{value}\",\
             \"Children\":{children}}}"
        )
    }

    fn member(id: u64, name: &str) -> MemberInfo {
        MemberInfo {
            id: MemberId(id),
            name: name.to_owned(),
            peer_urls: vec![format!("http://h{id}:1")],
            ..MemberInfo::default()
        }
    }

    #[test]
    fn a_founded_cluster_has_what_etcds_tools_write() {
        let image = MembersImage::founded(&[member(0xa, "a"), member(0xb, "b")], 1);
        let urls = |id| format!("{{\\\"peerURLs\\\":[\\\"http://h{id}:1\\\"]}}");
        let entry = |id: &str, number, index| {
            let path = format!("/0/members/{id}");
            let leaf = node(&format!("{path}/raftAttributes"), index, &urls(number), "null");
            format!(
                "\"{id}\":{}",
                node(&path, index, "", &format!("{{\"raftAttributes\":{leaf}}}"))
            )
        };
        let members = format!("{{{},{}}}", entry("a", 10, 1), entry("b", 11, 2));
        let members = format!("{{\"members\":{}}}", node("/0/members", 1, "", &members));
        let both =
            format!("{{\"0\":{},\"1\":{}}}", node("/0", 0, "", &members), node("/1", 0, "", "{}"));
        let event = |id: &str, number, index| {
            format!(
                "{{\"action\":\"create\",\"node\":{{\"key\":\"/0/members/{id}/raftAttributes\",\
                 \"value\":\"{}\",\"modifiedIndex\":{index},\"createdIndex\":{index}}}}}",
                urls(number)
            )
        };
        let events = format!("{},{}{}", event("a", 10, 1), event("b", 11, 2), ",null".repeat(998));
        let expected = format!(
            "{{\"Root\":{},\"WatcherHub\":{{\"EventHistory\":{{\"Queue\":{{\"Events\":[{events}],\
             \"Size\":2,\"Front\":0,\"Back\":2,\"Capacity\":1000}},\"StartIndex\":1,\
             \"LastIndex\":2}}}},\"CurrentIndex\":2,\"Stats\":{{\"getsSuccess\":0,\"getsFail\":1,\
             \"setsSuccess\":0,\"setsFail\":0,\"deleteSuccess\":0,\"deleteFail\":0,\
             \"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":2,\"createFail\":0,\
             \"compareAndSwapSuccess\":0,\"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,\
             \"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0}},\"CurrentVersion\":2}}",
            node("/", 0, "", &both)
        );
        assert_eq!(image.to_json(), expected);
    }

    #[test]
    fn a_running_cluster_tells_names_versions_and_who_was_removed() {
        let learner = MemberInfo { is_learner: true, ..member(0xc, "") };
        let membership = Membership::from_parts(
            [member(0xa, "a"), learner],
            [MemberId(0xd)],
            Some(Version::new(3, 6, 0)),
            Downgrade::default(),
        );
        let text = MembersImage::of(&membership).to_json();
        for part in [
            r#""attributes":{"Path":"/0/members/a/attributes","CreatedIndex":2,"#,
            r#""Value":"{\"name\":\"a\"}""#,
            r#""Value":"{\"peerURLs\":[\"http://h12:1\"],\"isLearner\":true}""#,
            r#""removed_members":{"Path":"/0/removed_members","CreatedIndex":4,"#,
            r#""version":{"Path":"/0/version","CreatedIndex":5,"#,
            r#""setsSuccess":2,"#,
            r#""createSuccess":3,"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_mark_says_who_was_a_member_then() {
        let membership = Membership::from_parts(
            [member(0xa, "a"), member(0xb, "b"), member(0xc, "c")],
            [MemberId(0xd), MemberId(0xe)],
            None,
            Downgrade::default(),
        );
        let conf_state =
            ConfState { voters: vec![0xa, 0xd], learners: vec![0xb], ..Default::default() };
        let mark = SnapshotMark { index: 7, term: 2, conf_state: Some(conf_state) };
        let text = MembersImage::at(&mark, &membership).to_json();
        let learner = MemberInfo { is_learner: true, ..member(0xb, "b") };
        let gone = MemberInfo { id: MemberId(0xd), ..MemberInfo::default() };
        let then = Membership::from_parts(
            [member(0xa, "a"), learner, gone],
            [MemberId(0xe)],
            None,
            Downgrade::default(),
        );
        assert_eq!(text, MembersImage::of(&then).to_json());
        assert!(text.contains(r#""Value":"{\"peerURLs\":null}""#));
    }

    #[test]
    fn old_events_make_room_for_new_ones() {
        let members: Vec<MemberInfo> = (1..=1002).map(|id| member(id, "x")).collect();
        let text = MembersImage::founded(&members, 0).to_json();
        assert!(text.contains(
            "\"Size\":1000,\"Front\":2,\"Back\":2,\"Capacity\":1000},\"StartIndex\":3,\
             \"LastIndex\":1002}"
        ));
    }
}
