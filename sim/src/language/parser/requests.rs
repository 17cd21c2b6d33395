//! Client operations by hand, and what their answers must be.

use detsim_reports::record::DowngradeAction;

use super::super::ast::{AlarmOf, Answer, Compare, Extent, Operation, Request, Target};
use super::super::error::Problem;
use super::super::lexer::TokenKind;
use super::super::value::{self, Kind, Parameter, Settings, Value};
use super::Scope;
use super::cursor::{Cursor, Parsed};

const fn parameter(name: &'static str, kind: Kind) -> Parameter {
    value::parameter(name, kind, "")
}

const PREFIX: Parameter = parameter("prefix", Kind::Switch);
const TO: Parameter = parameter("to", Kind::Text);
const PREV_KV: Parameter = parameter("prev-kv", Kind::Switch);
const SERIALIZABLE: Parameter = parameter("serializable", Kind::Switch);
const REV: Parameter = parameter("rev", Kind::Count);

/// The requests that a transaction may hold.
const IN_TXN: [&str; 3] = ["put", "get", "delete"];

impl Scope {
    pub(super) fn operation(&self, word: &str, cursor: &mut Cursor) -> Parsed<Operation> {
        let via = self.via(cursor)?;
        let timeout = match cursor.pull("timeout") {
            None => None,
            Some((_, text)) if value::duration(&text).is_some() => value::duration(&text),
            Some((column, text)) => {
                let what = format!("`timeout=` takes a duration like `1.5s`, found `{text}`");
                return Err((column, Problem::Invalid(what)));
            }
        };
        let request = self.request(word, cursor)?;
        cursor.would_take("`via=`", ["via", "timeout"]);
        Ok(Operation { request, via, timeout, expect: self.answers(cursor)? })
    }

    /// `via=n1`, wherever it stands.
    pub(super) fn via(&self, cursor: &mut Cursor) -> Parsed<Option<Target>> {
        let Some((column, text)) = cursor.pull("via") else { return Ok(None) };
        let target = self.find_target(&text).filter(|target| {
            matches!(target, Target::Name(_) | Target::Leader | Target::Follower | Target::Any)
        });
        target.map(Some).ok_or_else(|| {
            let known = self.members.join(", ");
            let what =
                format!("`via=` takes a member ({known}), leader, follower or any, found `{text}`");
            (column, Problem::Invalid(what))
        })
    }

    fn request(&self, word: &str, cursor: &mut Cursor) -> Parsed<Request> {
        Ok(match word {
            "txn" => self.txn(cursor)?,
            "compact" => compact(cursor)?,
            "lease-grant" => {
                let id = cursor.integer("a lease's id")?;
                let ttl = cursor.settings(&[parameter("ttl", Kind::Duration)])?.duration("ttl");
                let ttl_s = ttl.filter(|ttl| ttl.subsec_nanos() == 0).map(|ttl| ttl.as_secs());
                match ttl_s {
                    Some(ttl_s) => Request::LeaseGrant { id, ttl_s: ttl_s as i64 },
                    None => return cursor.invalid("a lease needs whole seconds: `ttl=10s`"),
                }
            }
            "lease-revoke" => Request::LeaseRevoke { id: cursor.integer("a lease's id")? },
            "lease-keep-alive" => Request::LeaseKeepAlive { id: cursor.integer("a lease's id")? },
            "lease-time-to-live" => {
                let id = cursor.integer("a lease's id")?;
                let keys = cursor.settings(&[parameter("keys", Kind::Switch)])?.has("keys");
                Request::LeaseTimeToLive { id, keys }
            }
            "lease-list" => Request::LeaseList,
            "member-add" => {
                let member = self.member(cursor)?;
                let settings = cursor.settings(&[
                    parameter("learner", Kind::Switch),
                    parameter("urls", Kind::Text),
                ])?;
                let urls = self.urls(cursor, &settings)?;
                Request::MemberAdd { member, learner: settings.has("learner"), urls }
            }
            "member-remove" => Request::MemberRemove { member: self.member(cursor)? },
            "member-update" => {
                let member = self.member(cursor)?;
                let settings = cursor.settings(&[parameter("urls", Kind::Text)])?;
                match self.urls(cursor, &settings)? {
                    Some(urls) => Request::MemberUpdate { member, urls },
                    None => return Err(cursor.unexpected()),
                }
            }
            "member-promote" => Request::MemberPromote { member: self.member(cursor)? },
            "member-list" => {
                let serializable = cursor.settings(&[SERIALIZABLE])?.has("serializable");
                Request::MemberList { serializable }
            }
            "move-leader" => Request::MoveLeader { to: self.target(cursor)? },
            "status" => Request::Status,
            "alarm-list" => Request::AlarmList,
            "alarm-raise" => Request::AlarmRaise(self.alarm(cursor)?),
            "alarm-disarm" => {
                let words = AlarmOf::WORDS.map(|(word, _)| word);
                let is_named = cursor.peek_word().is_some_and(|word| words.contains(&word));
                if !is_named {
                    cursor.would_take("an alarm", words);
                    return Ok(Request::AlarmDisarm(None));
                }
                Request::AlarmDisarm(Some(self.alarm(cursor)?))
            }
            "defragment" => Request::Defragment,
            "downgrade" => downgrade(cursor)?,
            "save" => Request::Save { backup: cursor.free("a name for the snapshot")? },
            "hash" => {
                let revision = cursor.settings(&[REV])?.number("rev").unwrap_or(0);
                Request::Hash { revision: revision as i64 }
            }
            word => key_request(word, cursor)?,
        })
    }

    fn urls(&self, cursor: &Cursor, settings: &Settings) -> Parsed<Option<String>> {
        let urls = settings.text("urls");
        self.check_variables(cursor, urls.unwrap_or_default())?;
        Ok(urls.map(str::to_owned))
    }

    /// `corrupt n3`, `nospace nobody`.
    fn alarm(&self, cursor: &mut Cursor) -> Parsed<AlarmOf> {
        let words = AlarmOf::WORDS.map(|(word, _)| word);
        let word = cursor.one_of("nospace or corrupt", &words)?;
        let member = match cursor.takes(AlarmOf::NOBODY) {
            true => None,
            false => Some(self.member(cursor)?),
        };
        Ok(alarm_of(word, member))
    }

    /// `; expect ...`, if it follows.
    pub(super) fn answers(&self, cursor: &mut Cursor) -> Parsed<Vec<Answer>> {
        if cursor.peek() != Some(&TokenKind::Semicolon) {
            cursor.would_take("`; expect`", []);
            return Ok(Vec::new());
        }
        cursor.advance();
        cursor.must_take("expect")?;
        let mut answers = Vec::new();
        while answers.is_empty() || !cursor.at_end() {
            answers.push(self.answer(cursor)?);
        }
        Ok(answers)
    }

    fn answer(&self, cursor: &mut Cursor) -> Parsed<Answer> {
        let words = ["ok", "fail", "unknown", "error", "any", "none", "succeeded", "not-succeeded"];
        let parameters = [
            parameter("value", Kind::Text),
            parameter("count", Kind::Count),
            parameter("revision", Kind::Count),
            parameter("ttl", Kind::Duration),
            parameter("nospace", Kind::Text),
            parameter("corrupt", Kind::Text),
            parameter("cluster-version", Kind::Text),
        ];
        let wanted = "ok, fail, unknown, error, any, none, succeeded, not-succeeded, value=, \
                      count=, revision=, ttl=, nospace=, corrupt= or cluster-version=";
        match cursor.setting(&parameters)? {
            Some((name, Value::Text(text))) if name == "value" => return Ok(Answer::Value(text)),
            Some((name, Value::Text(text))) if name == "cluster-version" => {
                return Ok(Answer::ClusterVersion(text));
            }
            Some((name, Value::Text(text))) => {
                let member = (text != AlarmOf::NOBODY).then_some(text);
                if let Some(member) = member.as_ref().filter(|it| !self.is_member_or_bound(it)) {
                    let known = self.members.join(", ");
                    let what =
                        format!("`{name}=` takes a member ({known}) or nobody, found `{member}`");
                    return cursor.invalid(&what);
                }
                return Ok(Answer::Alarm(alarm_of(&name, member)));
            }
            Some((name, Value::Count(number))) if name == "count" => {
                return Ok(Answer::Count(number as i64));
            }
            Some((_, Value::Count(number))) => return Ok(Answer::Revision(number as i64)),
            Some((_, Value::Duration(ttl))) => return Ok(Answer::Ttl(ttl.as_secs() as i64)),
            _ => {}
        }
        let word = cursor.one_of(wanted, &words)?;
        let text = match cursor.peek() {
            Some(TokenKind::Quoted(text)) if matches!(word, "fail" | "unknown" | "error") => {
                text.clone()
            }
            _ => String::new(),
        };
        if !text.is_empty() {
            cursor.advance();
        }
        Ok(match word {
            "ok" => Answer::Ok,
            "fail" => Answer::Fail(text),
            "unknown" => Answer::Unknown(text),
            "error" => Answer::Error(text),
            "any" => Answer::Any,
            "none" => Answer::None,
            "succeeded" => Answer::Succeeded,
            _ => Answer::NotSucceeded,
        })
    }

    fn txn(&self, cursor: &mut Cursor) -> Parsed<Request> {
        let mut compare = Vec::new();
        if cursor.takes("if") {
            compare.push(comparison(cursor)?);
            while cursor.takes("and") {
                compare.push(comparison(cursor)?);
            }
        }
        let success = if cursor.takes("then") { branch(cursor)? } else { Vec::new() };
        let failure = if cursor.takes("else") { branch(cursor)? } else { Vec::new() };
        if success.is_empty() && failure.is_empty() {
            return Err(cursor.unexpected());
        }
        Ok(Request::Txn { compare, success, failure })
    }
}

fn branch(cursor: &mut Cursor) -> Parsed<Vec<Request>> {
    let mut requests = Vec::new();
    loop {
        let word = cursor.one_of("put, get or delete", &IN_TXN)?;
        requests.push(key_request(word, cursor)?);
        if !cursor.takes("and") {
            return Ok(requests);
        }
    }
}

fn comparison(cursor: &mut Cursor) -> Parsed<Compare> {
    let fields = ["value", "version", "create", "mod", "lease"];
    let field = cursor.one_of("value, version, create, mod or lease", &fields)?;
    let key = cursor.free("a key")?;
    let operator = cursor.one_of("=, !=, < or >", &["=", "!=", "<", ">"])?;
    let operand = match field {
        "value" => cursor.free("a value")?,
        _ => cursor.integer("a whole number")?.to_string(),
    };
    Ok(Compare { field: field.to_owned(), key, operator: operator.to_owned(), operand })
}

fn key_request(word: &str, cursor: &mut Cursor) -> Parsed<Request> {
    let key = cursor.free("a key")?;
    Ok(match word {
        "put" => {
            let value = cursor.free("a value")?;
            let lease = parameter("lease", Kind::Integer);
            let size = parameter("size", Kind::Size);
            let settings = cursor.settings(&[size, lease, PREV_KV])?;
            let size = settings.number("size").unwrap_or(0);
            let lease = match settings.get("lease") {
                Some(Value::Integer(id)) => *id,
                _ => 0,
            };
            Request::Put { key, value, size, lease, prev_kv: settings.has("prev-kv") }
        }
        "get" => {
            let limit = parameter("limit", Kind::Count);
            let count_only = parameter("count-only", Kind::Switch);
            let settings = cursor.settings(&[PREFIX, TO, SERIALIZABLE, REV, limit, count_only])?;
            Request::Get {
                key,
                extent: extent(cursor, &settings)?,
                serializable: settings.has("serializable"),
                revision: settings.number("rev").unwrap_or(0) as i64,
                limit: settings.number("limit").unwrap_or(0) as i64,
                count_only: settings.has("count-only"),
            }
        }
        "delete" => {
            let settings = cursor.settings(&[PREFIX, TO, PREV_KV])?;
            let extent = extent(cursor, &settings)?;
            Request::Delete { key, extent, prev_kv: settings.has("prev-kv") }
        }
        _ => unreachable!("every request's word is handled"),
    })
}

fn extent(cursor: &Cursor, settings: &Settings) -> Parsed<Extent> {
    match (settings.has("prefix"), settings.text("to")) {
        (true, Some(_)) => cursor.invalid("`prefix` and `to=` exclude each other"),
        (true, None) => Ok(Extent::Prefix),
        (false, Some(end)) => Ok(Extent::To(end.to_owned())),
        (false, None) => Ok(Extent::Key),
    }
}

fn compact(cursor: &mut Cursor) -> Parsed<Request> {
    let revision = match cursor.peek_word().and_then(|word| word.parse().ok()) {
        Some(revision) => {
            cursor.advance();
            Some(revision)
        }
        None => {
            cursor.would_take("a revision", []);
            None
        }
    };
    let physical = cursor.settings(&[parameter("physical", Kind::Switch)])?.has("physical");
    Ok(Request::Compact { revision, physical })
}

fn downgrade(cursor: &mut Cursor) -> Parsed<Request> {
    let words = DowngradeAction::WORDS.map(|(word, _)| word);
    let word = cursor.one_of("validate, enable or cancel", &words)?;
    let action = value::meant(&DowngradeAction::WORDS, word).expect("one of them");
    let version = match action {
        DowngradeAction::Cancel => String::new(),
        _ => cursor.free("a version")?,
    };
    Ok(Request::Downgrade { action, version })
}

fn alarm_of(word: &str, member: Option<String>) -> AlarmOf {
    let alarm = value::meant(&AlarmOf::WORDS, word).expect("the parser has seen an alarm");
    AlarmOf { alarm, member }
}
