//! The scenario language: scenarios, plans and findings are scripts in it. `scenarios/README.md`
//! documents the grammar.
//!
//! `parse` reads a script, printing one gives its canonical text, and each reads back what the
//! other wrote. What the words do is the business of `run`.

pub mod ast;
mod error;
pub mod flags;
mod lexer;
mod parser;
mod print;
pub mod value;

pub use ast::Script;
pub use error::{Problem, SyntaxError, nearest};
pub use parser::{CLASSES, OCCASION_WORDS, OCCASIONS, Vocabulary, parse};
