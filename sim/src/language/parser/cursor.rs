//! A place in a line's tokens that remembers what would be legal there, so that an error can say
//! what was expected and which legal word was probably meant.

use std::time::Duration;

use super::super::error::{Problem, nearest};
use super::super::lexer::{Token, TokenKind};
use super::super::value::{Kind, Parameter, Settings, Value};

/// An error's column and reason; the file and line are added by the caller.
pub type Fault = (u32, Problem);

/// A result of parsing a part of a line.
pub type Parsed<T> = Result<T, Fault>;

/// A place in a line.
pub struct Cursor {
    tokens: Vec<Token>,
    at: usize,
    end: u32,
    /// What would be legal here, in words for the reader.
    expected: Vec<String>,
    /// Legal words, for suggestions.
    legal: Vec<String>,
}

impl Cursor {
    /// At the line's first token; `end` is the column behind its last.
    pub fn new(tokens: Vec<Token>, end: u32) -> Cursor {
        Cursor { tokens, at: 0, end, expected: Vec::new(), legal: Vec::new() }
    }

    /// The column of the next token.
    pub fn column(&self) -> u32 {
        self.tokens.get(self.at).map_or(self.end, |token| token.column)
    }

    /// The next token.
    pub fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    /// The token behind the next one.
    pub fn peek_second(&self) -> Option<&TokenKind> {
        self.tokens.get(self.at + 1).map(|token| &token.kind)
    }

    /// Takes the setting of this name out of the statement, wherever it stands before a semicolon.
    /// Tells its column and value.
    pub fn pull(&mut self, wanted: &str) -> Option<(u32, String)> {
        let mut rest = self.tokens.iter().enumerate().skip(self.at);
        let (at, _) = rest.find(|(_, token)| match &token.kind {
            TokenKind::Setting { name, .. } => name == wanted,
            kind => *kind == TokenKind::Semicolon,
        })?;
        match &self.tokens[at].kind {
            TokenKind::Setting { value, .. } => {
                let pulled = (self.tokens[at].column, value.clone());
                self.tokens.remove(at);
                Some(pulled)
            }
            _ => None,
        }
    }

    /// The next token, if it is a word.
    pub fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(TokenKind::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Whether nothing follows.
    pub fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Takes the next token.
    pub fn advance(&mut self) {
        self.at += 1;
        self.expected.clear();
        self.legal.clear();
    }

    /// Remembers what would have been legal here.
    pub fn would_take<'w>(&mut self, what: &str, words: impl IntoIterator<Item = &'w str>) {
        if !what.is_empty() {
            self.expected.push(what.to_owned());
        }
        self.legal.extend(words.into_iter().map(str::to_owned));
    }

    /// The error that says what was legal here.
    pub fn unexpected(&self) -> Fault {
        let found = self.peek().map(TokenKind::show).unwrap_or_default();
        let word = match self.peek() {
            Some(TokenKind::Word(word)) => word.as_str(),
            Some(TokenKind::Setting { name, .. }) => name.as_str(),
            _ => "",
        };
        let suggestion = nearest(word, self.legal.iter().map(String::as_str));
        (self.column(), Problem::Unexpected { expected: self.expected.clone(), found, suggestion })
    }

    /// The error that says what is wrong with the next token.
    pub fn invalid<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err((self.column(), Problem::Invalid(what.into())))
    }

    /// Takes this word if it is next.
    pub fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek_word() == Some(word);
        if is_next {
            self.advance();
        } else {
            self.would_take(&format!("`{word}`"), [word]);
        }
        is_next
    }

    /// Takes this word, which must be next.
    pub fn must_take(&mut self, word: &str) -> Parsed<()> {
        if self.takes(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes one of these words; tells which.
    pub fn one_of(&mut self, what: &str, words: &[&'static str]) -> Parsed<&'static str> {
        let found = words.iter().find(|word| self.peek_word() == Some(word));
        match found {
            Some(word) => {
                self.advance();
                Ok(word)
            }
            None => {
                self.would_take(what, words.iter().copied());
                Err(self.unexpected())
            }
        }
    }

    /// Takes any word or quoted text.
    pub fn free(&mut self, what: &str) -> Parsed<String> {
        match self.peek() {
            Some(TokenKind::Word(text) | TokenKind::Quoted(text)) => {
                let text = text.clone();
                self.advance();
                Ok(text)
            }
            _ => {
                self.would_take(what, []);
                Err(self.unexpected())
            }
        }
    }

    /// Takes a value of this kind that stands alone.
    pub fn value(&mut self, kind: Kind) -> Parsed<Value> {
        if let Some(value) = self.peek_word().and_then(|word| kind.read(word)) {
            self.advance();
            return Ok(value);
        }
        self.would_take(&kind.describe(), []);
        Err(self.unexpected())
    }

    /// Takes a duration.
    pub fn duration(&mut self) -> Parsed<Duration> {
        match self.value(Kind::Duration)? {
            Value::Duration(duration) => Ok(duration),
            _ => unreachable!("a duration reads as a duration"),
        }
    }

    /// Takes a whole number, which may be negative.
    pub fn integer(&mut self, what: &str) -> Parsed<i64> {
        if let Some(number) = self.peek_word().and_then(|word| word.parse().ok()) {
            self.advance();
            return Ok(number);
        }
        self.would_take(what, []);
        Err(self.unexpected())
    }

    /// Takes all settings and switches of these that follow, in any order.
    pub fn settings(&mut self, parameters: &[Parameter]) -> Parsed<Settings> {
        let mut settings = Settings::default();
        while let Some((name, value)) = self.setting(parameters)? {
            if settings.has(&name) {
                self.at -= 1;
                return self.invalid(format!("`{name}` is given twice"));
            }
            settings.0.push((name, value));
        }
        Ok(settings)
    }

    /// Takes one of these settings or switches, if one is next.
    pub fn setting(&mut self, parameters: &[Parameter]) -> Parsed<Option<(String, Value)>> {
        let (name, is_word) = match self.peek() {
            Some(TokenKind::Setting { name, .. }) => (name.clone(), false),
            Some(TokenKind::Word(word)) => (word.clone(), true),
            _ => (String::new(), false),
        };
        let known =
            parameters.iter().find(|it| it.name == name && (it.kind == Kind::Switch) == is_word);
        let Some(parameter) = known else {
            for parameter in parameters {
                let sign = if parameter.kind == Kind::Switch { "" } else { "=" };
                self.would_take(&format!("`{}{sign}`", parameter.name), [parameter.name]);
            }
            return match self.peek() {
                Some(TokenKind::Setting { .. }) => Err(self.unexpected()),
                _ => Ok(None),
            };
        };
        let value = match self.peek() {
            Some(TokenKind::Setting { value, .. }) => match parameter.kind.read(value) {
                Some(value) => value,
                None => {
                    let wanted = parameter.kind.describe();
                    let meant = match parameter.kind {
                        Kind::Words(legal) => meant(value, legal),
                        _ => String::new(),
                    };
                    let what = format!("`{name}=` takes {wanted}, found `{value}`{meant}");
                    return self.invalid(what);
                }
            },
            _ => Value::Switch,
        };
        self.advance();
        Ok(Some((parameter.name.to_owned(), value)))
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Parsed<()> {
        if self.at_end() {
            return Ok(());
        }
        if self.expected.is_empty() {
            self.would_take("the end of the line", []);
        }
        Err(self.unexpected())
    }
}

/// What the first wrong word of a list was probably meant to be.
fn meant(value: &str, legal: &[&str]) -> String {
    let wrong = value.split(',').find(|word| !legal.contains(word)).unwrap_or_default();
    nearest(wrong, legal.iter().copied())
        .map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}
