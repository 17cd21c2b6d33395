//! Members as JSON, as etcd writes them into configuration changes, the database and `/members`.
//! Field order, omissions and escapes are those of Go's encoder; IDs are decimal and may exceed
//! 2^53.

use std::io;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::member::id::MemberId;
use crate::member::io::MemberInfo;

#[derive(Serialize)]
struct Written<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Option<&'a [String]>,
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
    #[serde(rename = "isPromote", skip_serializing_if = "is_false")]
    is_promote: bool,
}

/// Whether Go's encoder leaves a flag out.
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    id: u64,
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_default")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, deserialize_with = "null_is_default")]
    is_learner: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    name: String,
    #[serde(rename = "clientURLs", default, deserialize_with = "null_is_default")]
    client_urls: Vec<String>,
    #[serde(rename = "isPromote", default, deserialize_with = "null_is_default")]
    is_promote: bool,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A member's JSON. What is empty is left out, but for the peer URLs, which are then `null`.
pub fn encode_member(member: &MemberInfo) -> String {
    encode(member, false)
}

/// Reads a member's JSON. Unknown fields are passed over.
pub fn decode_member(text: &[u8]) -> Result<MemberInfo, serde_json::Error> {
    Ok(decode(text)?.0)
}

/// A JSON array of members, as `GET /members` answers, without the final newline.
pub fn encode_members<'a>(members: impl IntoIterator<Item = &'a MemberInfo>) -> String {
    let members: Vec<String> = members.into_iter().map(encode_member).collect();
    format!("[{}]", members.join(","))
}

/// Reads a JSON array of members, in the order in which they are given.
pub fn decode_members(text: &[u8]) -> Result<Vec<MemberInfo>, serde_json::Error> {
    let members: Vec<Read> = serde_json::from_slice(text)?;
    Ok(members.into_iter().map(|read| member(read).0).collect())
}

/// A list of texts, as a log line shows it.
pub fn list(texts: &[String]) -> String {
    to_json(&texts)
}

pub(super) fn encode(member: &MemberInfo, is_promote: bool) -> String {
    to_json(&Written {
        id: member.id.0,
        peer_urls: Some(member.peer_urls.as_slice()).filter(|urls| !urls.is_empty()),
        is_learner: member.is_learner,
        name: &member.name,
        client_urls: &member.client_urls,
        is_promote,
    })
}

/// A member, and whether the text is that of a promotion.
pub(super) fn decode(text: &[u8]) -> Result<(MemberInfo, bool), serde_json::Error> {
    Ok(member(serde_json::from_slice(text)?))
}

fn member(read: Read) -> (MemberInfo, bool) {
    let member = MemberInfo {
        id: MemberId(read.id),
        name: read.name,
        peer_urls: read.peer_urls,
        client_urls: read.client_urls,
        is_learner: read.is_learner,
    };
    (member, read.is_promote)
}

/// Any value as Go's encoder writes it.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, GoEscapes(CompactFormatter));
    value.serialize(&mut serializer).expect("texts, numbers and lists always have a JSON form");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Go escapes what is dangerous inside HTML, too.
struct GoEscapes(CompactFormatter);

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            let special = tail.chars().next().expect("found at this place");
            self.0.write_string_fragment(writer, plain)?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &tail[special.len_utf8()..];
        }
        self.0.write_string_fragment(writer, rest)
    }
}
