//! Reads a script, line by line from top to bottom. A line that cannot be read does not hide
//! errors of the lines after it.
//!
//! Names must be declared above where they are used: members by `cluster` and `member`, names for
//! targets by `let`.

mod actions;
mod backups;
mod cursor;
mod expectations;
mod requests;

pub(super) use actions::DISK_FAULTS;
pub use actions::{CLASSES, OCCASION_WORDS, OCCASIONS};
pub(super) use backups::BACKUP_DAMAGE;

use super::ast::{Action, Flag, Line, Named, Script, Statement, Target, Targets};
use super::error::{Problem, SyntaxError, nearest};
use super::flags;
use super::lexer::{self, TokenKind};
use super::value::{Entry, Kind, Parameter, meant};
use cursor::{Cursor, Parsed};

/// The words that begin a statement.
const STATEMENTS: [&str; 59] = [
    "worlds",
    "seed",
    "option",
    "cluster",
    "member",
    "let",
    "start",
    "restart",
    "stop",
    "kill",
    "kill-at",
    "power-loss",
    "pause",
    "resume",
    "cut",
    "heal",
    "reset",
    "half-open",
    "link",
    "disk",
    "clock",
    "processor",
    "restore",
    "defragment-offline",
    "backup",
    "at",
    "workload",
    "nemesis",
    "run",
    "wait",
    "settle",
    "converge",
    "check",
    "expect",
    "allow",
    "put",
    "get",
    "delete",
    "txn",
    "compact",
    "lease-grant",
    "lease-revoke",
    "lease-keep-alive",
    "lease-time-to-live",
    "lease-list",
    "member-add",
    "member-remove",
    "member-update",
    "member-promote",
    "member-list",
    "move-leader",
    "status",
    "hash",
    "alarm-list",
    "alarm-raise",
    "alarm-disarm",
    "defragment",
    "downgrade",
    "save",
];

/// Words that may follow a member's name, and so cannot be one.
const RESERVED: [&str; 22] = [
    "clients",
    "never",
    "freeze",
    "freeze-wall",
    "wipe",
    "in",
    "exits",
    "running",
    "ready",
    "finding",
    "same-data",
    "different-data",
    "same-cluster",
    "different-cluster",
    "no-leader",
    "members",
    "term",
    "learner",
    "prefix",
    "serializable",
    "keys",
    "nobody",
];

/// Words for members by what they are.
const ROLES: [(&str, Target); 8] = [
    ("all", Target::All),
    ("leader", Target::Leader),
    ("follower", Target::Follower),
    ("followers", Target::Followers),
    ("minority", Target::Minority),
    ("majority", Target::Majority),
    ("any", Target::Any),
    ("rest", Target::Rest),
];

/// What a script may be about: tables of the parts of the harness that it names.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Workloads.
    pub workloads: &'static [Entry],
    /// Nemeses.
    pub nemeses: &'static [Entry],
    /// Options of a run.
    pub options: &'static [Parameter],
    /// Checkers.
    pub checkers: &'static [&'static str],
    /// Worlds.
    pub worlds: &'static [&'static str],
}

/// What the lines above have declared.
struct Scope {
    vocabulary: Vocabulary,
    members: Vec<String>,
    bound: Vec<String>,
    /// Snapshots that are saved.
    backups: Vec<String>,
    has_cluster: bool,
}

/// Reads a script. `file` is only named in errors.
pub fn parse(file: &str, text: &str, vocabulary: Vocabulary) -> Result<Script, Vec<SyntaxError>> {
    let mut scope = Scope {
        vocabulary,
        members: Vec::new(),
        bound: Vec::new(),
        backups: Vec::new(),
        has_cluster: false,
    };
    let mut script = Script::default();
    let mut errors = Vec::new();
    let mut pending_at = None;
    for (number, line) in (1..).zip(text.lines()) {
        match scope.line(number, line) {
            Ok(line) => {
                match line.statement {
                    Some(Statement::At(..)) => pending_at = pending_at.or(Some(number)),
                    Some(Statement::Run(_)) => pending_at = None,
                    _ => {}
                }
                script.lines.push(line);
            }
            Err((column, problem)) => {
                errors.push(SyntaxError { file: file.to_owned(), line: number, column, problem });
            }
        }
    }
    if let (Some(line), true) = (pending_at, errors.is_empty()) {
        let what = "`at` says when during the next `run`, and no `run` follows";
        let problem = Problem::Invalid(what.to_owned());
        errors.push(SyntaxError { file: file.to_owned(), line, column: 1, problem });
    }
    if errors.is_empty() && script.statements().next().is_none() {
        let what = "expected a statement: the script is empty";
        let problem = Problem::Invalid(what.to_owned());
        let line = script.lines.len().max(1) as u32;
        errors.push(SyntaxError { file: file.to_owned(), line, column: 1, problem });
    }
    if errors.is_empty() { Ok(script) } else { Err(errors) }
}

impl Scope {
    fn line(&mut self, number: u32, text: &str) -> Parsed<Line> {
        let lexed = lexer::lex(text).map_err(|(column, what)| (column, Problem::Invalid(what)))?;
        let mut cursor = Cursor::new(lexed.tokens, lexed.end);
        let statement = match cursor.at_end() {
            true => None,
            false => {
                let statement = self.statement(&mut cursor)?;
                cursor.end()?;
                Some(statement)
            }
        };
        Ok(Line { number, statement, comment: lexed.comment })
    }

    fn statement(&mut self, cursor: &mut Cursor) -> Parsed<Statement> {
        let column = cursor.column();
        let word = cursor.one_of("a statement", &STATEMENTS)?;
        let is_setup = matches!(word, "worlds" | "seed" | "option" | "cluster");
        if !is_setup && !self.has_cluster {
            let what = format!("`{word}` needs a cluster: put `cluster n1 n2 n3` above it");
            return Err((column, Problem::Invalid(what)));
        }
        match word {
            "worlds" => self.worlds(cursor),
            "seed" => seed(cursor),
            "option" => Ok(Statement::Option(cursor.settings(self.vocabulary.options)?)),
            "cluster" => self.cluster(cursor),
            "member" => {
                let name = self.new_name(cursor)?;
                self.members.push(name.clone());
                Ok(Statement::Member { name, flags: self.flags(cursor)? })
            }
            "let" => self.binding(cursor),
            "at" => {
                let after = cursor.duration()?;
                let action = self.timed(cursor)?;
                if let Action::Ask(operation) = &action {
                    self.note_saved(&operation.request);
                }
                Ok(Statement::At(after, action))
            }
            "workload" => {
                let kinds = self.vocabulary.workloads;
                Ok(Statement::Workload(named(cursor, "a workload", kinds)?))
            }
            "nemesis" => {
                let kinds = self.vocabulary.nemeses;
                Ok(Statement::Nemesis(named(cursor, "a nemesis", kinds)?))
            }
            "run" => Ok(Statement::Run(cursor.duration()?)),
            "wait" => Ok(Statement::Wait(cursor.duration()?)),
            "settle" => Ok(Statement::Settle),
            "converge" => {
                let settings = cursor.settings(&[WITHIN])?;
                Ok(Statement::Converge { within: settings.duration("within") })
            }
            "check" => self.check(cursor),
            "expect" => Ok(Statement::Expect(self.expect(cursor)?)),
            "allow" => {
                cursor.must_take("finding")?;
                Ok(Statement::Allow(self.finding(cursor)?))
            }
            word if actions::WORDS.contains(&word) => Ok(Statement::Do(self.action(word, cursor)?)),
            "restore" => Ok(Statement::Restore(self.restore(cursor)?)),
            "defragment-offline" => {
                let targets = self.targets(cursor)?;
                let expect = self.tool_answers(cursor)?;
                Ok(Statement::DefragmentOffline { targets, expect })
            }
            "backup" => {
                let backup = self.saved(cursor)?;
                Ok(Statement::Spoil { backup, damage: backups::damage(cursor)? })
            }
            word => {
                let operation = self.operation(word, cursor)?;
                self.note_saved(&operation.request);
                Ok(Statement::Operation(operation))
            }
        }
    }

    /// What happens at a time: an action, or an operation for whose answer nobody waits.
    fn timed(&self, cursor: &mut Cursor) -> Parsed<Action> {
        let operations = STATEMENTS.iter().skip_while(|word| **word != "put").copied();
        let words: Vec<&'static str> = actions::WORDS.into_iter().chain(operations).collect();
        let column = cursor.column();
        let word = cursor.one_of("an action", &words)?;
        if actions::WORDS.contains(&word) {
            return self.action(word, cursor);
        }
        let operation = self.operation(word, cursor)?;
        if operation.expect.is_empty() {
            return Ok(Action::Ask(Box::new(operation)));
        }
        let what = "an operation at a time is not waited for: it takes no `; expect`";
        Err((column, Problem::Invalid(what.to_owned())))
    }

    fn worlds(&self, cursor: &mut Cursor) -> Parsed<Statement> {
        let mut worlds = Vec::new();
        while worlds.is_empty() || !cursor.at_end() {
            let what = format!("a world ({})", self.vocabulary.worlds.join(", "));
            worlds.push(cursor.one_of(&what, self.vocabulary.worlds)?.to_owned());
        }
        Ok(Statement::Worlds(worlds))
    }

    fn cluster(&mut self, cursor: &mut Cursor) -> Parsed<Statement> {
        if self.has_cluster {
            return cursor.invalid("there is one cluster already; later hosts are `member`s");
        }
        self.has_cluster = true;
        let mut members = Vec::new();
        while members.is_empty() || cursor.peek_word().is_some() {
            let name = self.new_name(cursor)?;
            self.members.push(name.clone());
            members.push(name);
        }
        let sizes = match cursor.peek() {
            Some(TokenKind::Setting { name, value, .. }) if name == "size" => {
                let legal = 1..=members.len();
                let sizes: Option<Vec<usize>> =
                    value.split('|').map(|size| size.parse().ok()).collect();
                match sizes.filter(|sizes| sizes.iter().all(|size| legal.contains(size))) {
                    Some(sizes) => {
                        cursor.advance();
                        sizes
                    }
                    None => {
                        let most = members.len();
                        return cursor.invalid(format!("`size=` takes sizes up to {most}: `1|3`"));
                    }
                }
            }
            _ => Vec::new(),
        };
        Ok(Statement::Cluster { members, sizes, flags: self.flags(cursor)? })
    }

    fn binding(&mut self, cursor: &mut Cursor) -> Parsed<Statement> {
        let name = match self.bound.iter().find(|name| cursor.peek_word() == Some(name)) {
            Some(again) => {
                let again = again.clone();
                cursor.advance();
                again
            }
            None => self.new_name(cursor)?,
        };
        // Declared even if what follows is wrong, so that lines below are judged for themselves.
        self.bound.push(name.clone());
        cursor.must_take("=")?;
        let column = cursor.column();
        let target = self.target(cursor)?;
        let is_one =
            matches!(target, Target::Name(_) | Target::Leader | Target::Follower | Target::Any);
        if !is_one {
            let what = "a name stands for one member: a name, leader, follower or any";
            return Err((column, Problem::Invalid(what.to_owned())));
        }
        Ok(Statement::Let { name, target })
    }

    fn check(&self, cursor: &mut Cursor) -> Parsed<Statement> {
        if cursor.takes("all") {
            return Ok(Statement::Check { checkers: Vec::new() });
        }
        let mut checkers = Vec::new();
        while checkers.is_empty() || !cursor.at_end() {
            let what = format!("a checker ({})", self.vocabulary.checkers.join(", "));
            checkers.push(cursor.one_of(&what, self.vocabulary.checkers)?.to_owned());
        }
        Ok(Statement::Check { checkers })
    }

    /// A name that is not in use, not even by the language.
    fn new_name(&self, cursor: &mut Cursor) -> Parsed<String> {
        let Some(word) = cursor.peek_word().map(str::to_owned) else {
            cursor.would_take("a name like `n1`", []);
            return Err(cursor.unexpected());
        };
        let is_plain = word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        if !is_plain {
            cursor.would_take("a name like `n1`", []);
            return Err(cursor.unexpected());
        }
        if self.is_member_or_bound(&word) {
            return cursor.invalid(format!("`{word}` is declared already"));
        }
        let is_role = ROLES.iter().any(|(role, _)| *role == word);
        let is_fault = DISK_FAULTS.iter().any(|(fault, _)| *fault == word);
        let is_reserved = STATEMENTS.iter().chain(&RESERVED).any(|it| *it == word);
        if is_role || is_fault || is_reserved {
            return cursor.invalid(format!("`{word}` is a word of the language, not a name"));
        }
        cursor.advance();
        Ok(word)
    }

    fn is_member_or_bound(&self, word: &str) -> bool {
        self.members.iter().chain(&self.bound).any(|name| name == word)
    }

    /// A member's name, not a role.
    fn member(&self, cursor: &mut Cursor) -> Parsed<String> {
        match cursor.peek_word().map(str::to_owned) {
            Some(word) if self.is_member_or_bound(&word) => {
                cursor.advance();
                Ok(word)
            }
            _ => {
                let names = self.members.iter().chain(&self.bound).map(String::as_str);
                cursor.would_take(&format!("a member ({})", self.members.join(", ")), names);
                Err(cursor.unexpected())
            }
        }
    }

    fn find_target(&self, word: &str) -> Option<Target> {
        if self.is_member_or_bound(word) {
            return Some(Target::Name(word.to_owned()));
        }
        meant(&ROLES, word)
    }

    fn would_take_target(&self, cursor: &mut Cursor) {
        let names = self.members.iter().chain(&self.bound).map(String::as_str);
        let roles = ROLES.iter().map(|(role, _)| *role);
        let shown: Vec<&str> = roles.clone().collect();
        let what = format!("a member ({}) or {}", self.members.join(", "), shown.join(", "));
        cursor.would_take(&what, names.chain(roles));
    }

    /// One member, by name or role.
    fn target(&self, cursor: &mut Cursor) -> Parsed<Target> {
        match cursor.peek_word().and_then(|word| self.find_target(word)) {
            Some(target) => {
                cursor.advance();
                Ok(target)
            }
            None => {
                self.would_take_target(cursor);
                Err(cursor.unexpected())
            }
        }
    }

    /// At least one member.
    fn targets(&self, cursor: &mut Cursor) -> Parsed<Targets> {
        let mut targets = vec![self.target(cursor)?];
        while let Some(target) = cursor.peek_word().and_then(|word| self.find_target(word)) {
            cursor.advance();
            targets.push(target);
        }
        self.would_take_target(cursor);
        Ok(targets)
    }

    /// Flags of etcd's up to the end of the line.
    fn flags(&self, cursor: &mut Cursor) -> Parsed<Vec<Flag>> {
        let mut given: Vec<Flag> = Vec::new();
        while let Some(TokenKind::Setting { name, value, quoted }) = cursor.peek() {
            let long = flags::long(name).to_owned();
            if !flags::is_flag(&long) {
                break;
            }
            if given.iter().any(|flag| flag.name == long) {
                return cursor.invalid(format!("`{name}` is given twice"));
            }
            self.check_variables(cursor, value)?;
            let choices = match quoted {
                true => vec![value.clone()],
                false => value.split('|').map(str::to_owned).collect(),
            };
            // A quoted value is taken as it is.
            let wrong = choices.iter().find(|choice| !flags::values(&long).hold(choice));
            if let (Some(wrong), false) = (wrong, *quoted) {
                return Err((cursor.column(), wrong_value(name, &long, wrong)));
            }
            given.push(Flag { name: long, choices });
            cursor.advance();
        }
        let short = flags::SHORT.iter().map(|(short, _)| *short);
        cursor.would_take("a flag of etcd's with its value", flags::NAMES.into_iter().chain(short));
        Ok(given)
    }

    /// `${n1.peer}` and `${n1.client}` must name a member.
    fn check_variables(&self, cursor: &Cursor, text: &str) -> Parsed<()> {
        for part in text.split("${").skip(1) {
            let known = part.split_once('}').and_then(|(inside, _)| inside.split_once('.'));
            let is_legal = known.is_some_and(|(name, what)| {
                self.is_member_or_bound(name) && matches!(what, "peer" | "client")
            });
            if !is_legal {
                return cursor.invalid(
                    "expected `${MEMBER.peer}` or `${MEMBER.client}` with a declared member",
                );
            }
        }
        Ok(())
    }
}

/// What is wrong with a flag's value, and what was probably meant.
fn wrong_value(name: &str, long: &str, found: &str) -> Problem {
    let values = flags::values(long);
    let words = if let flags::Values::Words(words) = values { words } else { &[] };
    Problem::Unexpected {
        expected: vec![format!("{} for `{name}=`", values.describe())],
        found: found.to_owned(),
        suggestion: nearest(found, words.iter().copied()),
    }
}

/// How long something may take.
const WITHIN: Parameter =
    Parameter { name: "within", kind: Kind::Duration, default: "", meaning: "may take so long" };

fn seed(cursor: &mut Cursor) -> Parsed<Statement> {
    match cursor.peek_word().and_then(|word| word.parse().ok()) {
        Some(seed) => {
            cursor.advance();
            Ok(Statement::Seed(seed))
        }
        None => {
            cursor.would_take(&Kind::Count.describe(), []);
            Err(cursor.unexpected())
        }
    }
}

/// A workload or nemesis with its parameters.
fn named(cursor: &mut Cursor, what: &str, kinds: &'static [Entry]) -> Parsed<Named> {
    let names: Vec<&'static str> = kinds.iter().map(|entry| entry.name).collect();
    let kind = cursor.one_of(&format!("{what} ({})", names.join(", ")), &names)?;
    let entry = kinds.iter().find(|entry| entry.name == kind).expect("it is one of them");
    let settings = cursor.settings(entry.parameters)?;
    Ok(Named { kind: kind.to_owned(), settings })
}

#[cfg(test)]
mod tests;
