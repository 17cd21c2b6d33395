//! The plan of a run: the script with everything that was drawn written out. It replays the run,
//! also where the seed alone would mean something else.

use crate::language::Script;
use crate::language::ast::{Line, Statement};

use super::options::Options;

/// A plan in the making.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    statements: Vec<Statement>,
}

impl Plan {
    /// Adds what was executed.
    pub fn push(&mut self, statement: Statement) {
        self.statements.push(statement);
    }

    /// The plan as a script: a head with the story, seed, world and options, what was executed, and
    /// what would have come after it.
    pub fn finish(
        self,
        script: &Script,
        head: &Head<'_>,
        rest: impl IntoIterator<Item = Statement>,
    ) -> Script {
        let mut lines = Vec::new();
        let mut comment = |text: String| {
            lines.push(Line { comment: Some(text), ..Line::default() });
        };
        let origin = format!(" Plan of {} with seed {}.", head.scenario, head.seed);
        let story = script.story();
        if story.first().is_none_or(|first| !first.starts_with("Plan of ")) {
            comment(origin);
        }
        for line in story {
            comment(if line.is_empty() { String::new() } else { format!(" {line}") });
        }
        lines.push(Line::default());
        let first = [
            Statement::Worlds(vec![head.world.to_owned()]),
            Statement::Seed(head.seed),
            Statement::Option(head.options.settings.clone()),
        ];
        let rest = rest.into_iter().filter(|statement| {
            let at_head = matches!(
                statement,
                Statement::Worlds(_) | Statement::Seed(_) | Statement::Option(_)
            );
            !at_head
        });
        let all = first.into_iter().chain(self.statements).chain(rest);
        lines.extend(all.map(|it| Line { statement: Some(it), ..Line::default() }));
        Script { lines }
    }
}

/// What a plan says first.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// The seed.
    pub seed: u64,
    /// The world's name.
    pub world: &'a str,
    /// The options.
    pub options: &'a Options,
}
