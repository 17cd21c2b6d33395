//! Statements about saved snapshots, damage and clusters that begin from them; and about other
//! tools that work on a disk while no member does.

use super::super::ast::{Answer, Request, Restore};
use super::super::error::{Problem, nearest};
use super::super::value::{Kind, Parameter, meant, parameter, words};
use super::Scope;
use super::cursor::{Cursor, Parsed};
use crate::world::BackupDamage;

/// How a saved snapshot can be damaged, by words.
pub const BACKUP_DAMAGE: [(&str, BackupDamage); 3] = [
    ("corrupt", BackupDamage::Corrupt),
    ("truncate", BackupDamage::Truncate),
    ("no-hash", BackupDamage::NoHash),
];

/// What `restore` may be told.
const RESTORE: [Parameter; 10] = [
    parameter("from", Kind::Text, "the saved snapshot"),
    parameter("token", Kind::Text, "the new cluster's token"),
    parameter("initial-cluster", Kind::Text, "the new cluster's members"),
    parameter("initial-advertise-peer-urls", Kind::Text, "where its peers reach the member"),
    parameter("name", Kind::Text, "the member's name"),
    parameter("data-dir", Kind::Text, "where the data goes"),
    parameter("wal-dir", Kind::Text, "where the log goes"),
    parameter("bump-revision", Kind::Count, "by how much revisions are raised"),
    parameter("mark-compacted", Kind::Switch, "all below is compacted"),
    parameter("skip-hash-check", Kind::Switch, "the file need not be what was saved"),
];

impl Scope {
    /// A request that saves a snapshot names it.
    pub(super) fn note_saved(&mut self, request: &Request) {
        if let Request::Save { backup } = request {
            self.backups.push(backup.clone());
        }
    }

    /// The name of a snapshot that was saved above.
    pub(super) fn saved(&self, cursor: &mut Cursor) -> Parsed<String> {
        match cursor.peek_word().map(str::to_owned) {
            Some(word) if self.backups.contains(&word) => {
                cursor.advance();
                Ok(word)
            }
            _ => {
                cursor
                    .would_take(&self.a_saved_snapshot(), self.backups.iter().map(String::as_str));
                Err(cursor.unexpected())
            }
        }
    }

    /// What a reader is told is expected.
    fn a_saved_snapshot(&self) -> String {
        format!("a saved snapshot ({})", self.backups.join(", "))
    }

    pub(super) fn restore(&self, cursor: &mut Cursor) -> Parsed<Restore> {
        let targets = self.targets(cursor)?;
        let wipe = cursor.takes("wipe");
        let column = cursor.column();
        let settings = cursor.settings(&RESTORE)?;
        let Some(from) = settings.text("from") else {
            cursor.would_take("`from=`", ["from"]);
            return Err(cursor.unexpected());
        };
        if !self.backups.iter().any(|backup| backup == from) {
            let expected = vec![self.a_saved_snapshot()];
            let suggestion = nearest(from, self.backups.iter().map(String::as_str));
            let found = from.to_owned();
            return Err((column, Problem::Unexpected { expected, found, suggestion }));
        }
        for name in ["initial-cluster", "initial-advertise-peer-urls"] {
            self.check_variables(cursor, settings.text(name).unwrap_or_default())?;
        }
        let expect = self.tool_answers(cursor)?;
        Ok(Restore { targets, wipe, settings, expect })
    }

    /// What must come of a tool.
    pub(super) fn tool_answers(&self, cursor: &mut Cursor) -> Parsed<Vec<Answer>> {
        let column = cursor.column();
        let expect = self.answers(cursor)?;
        let is_of_a_tool =
            |answer: &Answer| matches!(answer, Answer::Ok | Answer::Any | Answer::Fail(_));
        if !expect.iter().all(is_of_a_tool) {
            let what = "a tool ends with `ok`, `fail \"text\"` or `any`";
            return Err((column, Problem::Invalid(what.to_owned())));
        }
        Ok(expect)
    }
}

pub(super) fn damage(cursor: &mut Cursor) -> Parsed<BackupDamage> {
    let word = cursor.one_of("corrupt, truncate or no-hash", &words(&BACKUP_DAMAGE))?;
    Ok(meant(&BACKUP_DAMAGE, word).expect("it is one of them"))
}
