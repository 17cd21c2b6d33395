//! `expect`: conditions on members, on the cluster, and on the run's findings.

use std::time::Duration;

use super::super::ast::{Expect, Target, Targets};
use super::super::error::{Problem, nearest};
use super::super::lexer::TokenKind;
use super::super::value::{Kind, Parameter, Settings};
use super::cursor::{Cursor, Parsed};
use super::{Scope, WITHIN};

const FOR: Parameter =
    Parameter { name: "for", kind: Kind::Duration, default: "", meaning: "must last so long" };
const CODE: Parameter =
    Parameter { name: "code", kind: Kind::Count, default: "", meaning: "the exit code" };
const LOG: Parameter =
    Parameter { name: "log", kind: Kind::Text, default: "", meaning: "a text in the log" };
const BELOW: Parameter =
    Parameter { name: "below", kind: Kind::Count, default: "", meaning: "the first term too many" };

/// What finds things beside checkers: expectations, `converge`, and processes that exit.
const OTHER_FINDERS: [&str; 3] = ["expect", "converge", "process"];

impl Scope {
    /// A checker, a rule, or `checker/rule`. Rules are open, so that a word alone is refused only
    /// if it looks like a checker that is written wrongly.
    pub(super) fn finding(&self, cursor: &mut Cursor) -> Parsed<String> {
        let column = cursor.column();
        let named = cursor.free("a checker, a rule, or `checker/rule`")?;
        let finders = || self.vocabulary.checkers.iter().copied().chain(OTHER_FINDERS);
        let (first, is_checker) = match named.split_once('/') {
            Some((checker, _)) => (checker, true),
            None => (named.as_str(), false),
        };
        let suggestion = nearest(first, finders());
        if finders().any(|finder| finder == first) || (!is_checker && suggestion.is_none()) {
            return Ok(named);
        }
        let expected = vec!["a checker, a rule, or `checker/rule`".to_owned()];
        Err((column, Problem::Unexpected { expected, found: first.to_owned(), suggestion }))
    }

    pub(super) fn expect(&self, cursor: &mut Cursor) -> Parsed<Expect> {
        if cursor.takes("finding") {
            return Ok(Expect::Finding(self.finding(cursor)?));
        }
        if cursor.takes("checked") {
            return Ok(Expect::Checked(cursor.free("what a checker has checked")?));
        }
        if cursor.takes("same-data") {
            let (targets, within) = self.targets_within(cursor)?;
            return Ok(Expect::SameData { targets, within });
        }
        if cursor.takes("different-data") {
            return Ok(Expect::DifferentData { targets: self.targets(cursor)? });
        }
        if cursor.takes("same-cluster") {
            let (targets, within) = self.targets_within(cursor)?;
            return Ok(Expect::SameCluster { targets, within });
        }
        if cursor.takes("different-cluster") {
            return Ok(Expect::DifferentCluster { targets: self.targets(cursor)? });
        }
        if cursor.takes("no-leader") {
            let (among, within) = self.among(cursor)?;
            return Ok(Expect::NoLeader { among, within });
        }
        if cursor.takes("members") {
            return self.expect_members(cursor);
        }
        if cursor.takes("term") {
            return match cursor.settings(&[BELOW])?.number("below") {
                Some(term) => Ok(Expect::TermBelow(term)),
                None => Err(cursor.unexpected()),
            };
        }
        if self.is_about_the_leader(cursor) {
            cursor.advance();
            let (among, within) = self.among(cursor)?;
            return Ok(Expect::Leader { among, within });
        }
        let targets = self.targets(cursor)?;
        self.state(targets, cursor)
    }

    /// `expect leader` asks who leads, unless it goes on about the leader's state.
    fn is_about_the_leader(&self, cursor: &Cursor) -> bool {
        let then_who = match cursor.peek_second() {
            None => true,
            Some(TokenKind::Setting { name, .. }) => name == "within",
            Some(TokenKind::Word(word)) => word == "in",
            Some(_) => false,
        };
        cursor.peek_word() == Some("leader") && then_who
    }

    fn targets_within(&self, cursor: &mut Cursor) -> Parsed<(Targets, Option<Duration>)> {
        let targets = self.targets(cursor)?;
        let settings = cursor.settings(&[WITHIN])?;
        Ok((targets, settings.duration("within")))
    }

    /// `in n1 n2 within=3s`, both parts optional.
    fn among(&self, cursor: &mut Cursor) -> Parsed<(Targets, Option<Duration>)> {
        let among = if cursor.takes("in") { self.targets(cursor)? } else { vec![Target::All] };
        let settings = cursor.settings(&[WITHIN])?;
        Ok((among, settings.duration("within")))
    }

    fn expect_members(&self, cursor: &mut Cursor) -> Parsed<Expect> {
        let via = self.via(cursor)?;
        let mut names = vec![self.member(cursor)?];
        while cursor.peek_word().is_some() {
            names.push(self.member(cursor)?);
        }
        let settings = cursor.settings(&[WITHIN])?;
        Ok(Expect::Members { names, via, within: settings.duration("within") })
    }

    fn state(&self, targets: Targets, cursor: &mut Cursor) -> Parsed<Expect> {
        if cursor.takes("exits") {
            let settings = cursor.settings(&[CODE, LOG, WITHIN])?;
            return Ok(Expect::Exits {
                targets,
                code: settings.number("code").and_then(|code| i32::try_from(code).ok()),
                log: log_text(&settings, "log"),
                within: settings.duration("within"),
            });
        }
        if cursor.takes("running") {
            let lasts = cursor.settings(&[FOR])?.duration("for");
            return Ok(Expect::Running { targets, lasts });
        }
        if cursor.takes("ready") {
            let within = cursor.settings(&[WITHIN])?.duration("within");
            return Ok(Expect::Ready { targets, within });
        }
        let no_log = Parameter { name: "no-log", ..LOG };
        let settings = cursor.settings(&[LOG, no_log, WITHIN, FOR])?;
        let (within, lasts) = (settings.duration("within"), settings.duration("for"));
        match (log_text(&settings, "log"), log_text(&settings, "no-log")) {
            (Some(text), None) if lasts.is_none() => Ok(Expect::Log { targets, text, within }),
            (None, Some(text)) if within.is_none() => Ok(Expect::NoLog { targets, text, lasts }),
            (None, None) => Err(cursor.unexpected()),
            _ => cursor.invalid("`log=` goes with `within=`, `no-log=` with `for=`"),
        }
    }
}

fn log_text(settings: &Settings, name: &str) -> Option<String> {
    settings.text(name).map(str::to_owned)
}
