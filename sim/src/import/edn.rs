//! A reader for EDN, as far as histories use it: every form but characters by code point; tags are
//! read and dropped, so that a tagged map is a map.

use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Edn {
    /// `nil`.
    Nil,
    /// `true`, `false`.
    Bool(bool),
    /// `42`, `42N`.
    Integer(i64),
    /// `"text"`.
    Text(String),
    /// `:keyword`, without its colon.
    Keyword(String),
    /// Anything else that is one word: symbols, floats, ratios, characters.
    Word(String),
    /// `[...]`, `(...)` and `#{...}`.
    List(Vec<Edn>),
    /// `{...}`, in the order written.
    Map(Vec<(Edn, Edn)>),
}

impl Edn {
    /// The value of a keyword in a map.
    pub fn get(&self, keyword: &str) -> Option<&Edn> {
        let Edn::Map(entries) = self else { return None };
        let is_it = |key: &Edn| matches!(key, Edn::Keyword(name) if name == keyword);
        entries.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }

    /// The word of a keyword.
    pub fn keyword(&self) -> Option<&str> {
        match self {
            Edn::Keyword(name) => Some(name),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Edn::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn list(&self) -> Option<&[Edn]> {
        match self {
            Edn::List(items) => Some(items),
            _ => None,
        }
    }
}

impl fmt::Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edn::Nil => f.write_str("nil"),
            Edn::Bool(is) => write!(f, "{is}"),
            Edn::Integer(number) => write!(f, "{number}"),
            Edn::Text(text) => write!(f, "{text:?}"),
            Edn::Keyword(name) => write!(f, ":{name}"),
            Edn::Word(word) => f.write_str(word),
            Edn::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Edn::Map(entries) => {
                f.write_str("{")?;
                for (place, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What is wrong, and on which line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdnError {
    /// The line.
    pub line: usize,
    /// What was expected and found.
    pub what: String,
}

/// How deep values may be nested: far beyond any history, and well within the stack.
const DEPTH_MAX: usize = 100;

/// Reads values one after another.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Of a text.
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, line: 1 }
    }

    /// The next value and the line on which it begins; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(usize, Edn)>, EdnError> {
        self.skip(0)?;
        let line = self.line;
        match self.peek() {
            None => Ok(None),
            Some(_) => self.value(0).map(|value| Some((line, value))),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, EdnError> {
        Err(EdnError { line: self.line, what: what.into() })
    }

    /// Skips blanks, commas, comments and discarded values.
    fn skip(&mut self, depth: usize) -> Result<(), EdnError> {
        loop {
            match self.peek() {
                Some(next) if next.is_whitespace() || next == ',' => {
                    self.take();
                }
                Some(';') => while self.take().is_some_and(|next| next != '\n') {},
                Some('#') if self.text[self.at..].starts_with("#_") => {
                    self.at += 2;
                    self.value(depth + 1)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Edn, EdnError> {
        if depth > DEPTH_MAX {
            return self.fail(format!("values are nested deeper than {DEPTH_MAX}"));
        }
        self.skip(depth)?;
        match self.peek() {
            None => self.fail("expected a value, found the end"),
            Some('"') => self.string(),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('{') => self.map(depth),
            Some('#') => {
                self.take();
                match self.peek() {
                    Some('{') => self.list('}', depth),
                    _ => {
                        self.word();
                        self.value(depth + 1)
                    }
                }
            }
            Some(closing @ (']' | ')' | '}')) => {
                self.fail(format!("expected a value, found `{closing}`"))
            }
            Some(_) => Ok(atom(self.word())),
        }
    }

    fn list(&mut self, closing: char, depth: usize) -> Result<Edn, EdnError> {
        self.take();
        let mut items = Vec::new();
        loop {
            self.skip(depth)?;
            if self.peek() == Some(closing) {
                self.take();
                return Ok(Edn::List(items));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Edn, EdnError> {
        let Edn::List(items) = self.list('}', depth)? else { return self.fail("expected a map") };
        if items.len() % 2 != 0 {
            return self.fail("a map has a key without a value");
        }
        let mut entries = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((key, value));
        }
        Ok(Edn::Map(entries))
    }

    fn string(&mut self) -> Result<Edn, EdnError> {
        self.take();
        let mut text = String::new();
        loop {
            match self.take() {
                None => return self.fail("a text does not end"),
                Some('"') => return Ok(Edn::Text(text)),
                Some('\\') => match self.take() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(other) => text.push(other),
                    None => return self.fail("a text does not end"),
                },
                Some(other) => text.push(other),
            }
        }
    }

    /// What follows up to a delimiter; at least one character.
    fn word(&mut self) -> &'a str {
        let start = self.at;
        self.take();
        while self.peek().is_some_and(|next| !next.is_whitespace() && !"[](){},\";".contains(next))
        {
            self.take();
        }
        &self.text[start..self.at]
    }
}

fn atom(word: &str) -> Edn {
    match word {
        "nil" => Edn::Nil,
        "true" => Edn::Bool(true),
        "false" => Edn::Bool(false),
        word => match word.strip_prefix(':') {
            Some(name) => Edn::Keyword(name.to_owned()),
            None => match word.trim_end_matches('N').parse() {
                Ok(number) => Edn::Integer(number),
                Err(_) => Edn::Word(word.to_owned()),
            },
        },
    }
}
