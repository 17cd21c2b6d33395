//! Every variant of an error is made somewhere: one that never is promises a check that nobody
//! does.
//!
//! Looks at enums that derive `Error`. A variant counts as made when it is named behind the enum's
//! name or `Self` anywhere in code, or carries `#[from]`.

use super::{Finding, Tree};

/// Looks for variants that nobody names.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, source) in tree.ending(".rs") {
        for error in errors(&source.code) {
            let unmade = error.variants.iter().filter(|variant| {
                let full = format!("{}::{}", error.name, variant.name);
                let short = format!("Self::{}", variant.name);
                !variant.has_from
                    && !has_name(&source.code, &short)
                    && !tree.ending(".rs").any(|(_, other)| has_name(&other.code, &full))
            });
            findings.extend(unmade.map(|variant| Finding {
                path: path.to_owned(),
                line: variant.line,
                rule: "error-variant",
                message: format!("`{}::{}` is never made: remove it", error.name, variant.name),
            }));
        }
    }
}

struct ErrorEnum {
    name: String,
    variants: Vec<Variant>,
}

struct Variant {
    name: String,
    line: usize,
    has_from: bool,
}

fn errors(code: &str) -> Vec<ErrorEnum> {
    let derives = code.match_indices("#[derive(").filter_map(|(at, _)| {
        let (derived, rest) = code[at + "#[derive(".len()..].split_once(')')?;
        let is_error = derived.split([',', ' ', ':']).any(|word| word == "Error");
        let head = rest.find('{').filter(|_| is_error)?;
        let name = rest[..head].trim().strip_suffix('>').unwrap_or(rest[..head].trim());
        let name = name.split_once("enum ")?.1.split('<').next()?.trim().to_owned();
        let start = code.len() - rest.len() + head + 1;
        Some(ErrorEnum { name, variants: variants(code, start) })
    });
    derives.collect()
}

/// The variants of the enum whose body begins at `start`.
fn variants(code: &str, start: usize) -> Vec<Variant> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut begin = start;
    for (at, c) in code[start..].char_indices() {
        let at = start + at;
        match c {
            '(' | '[' | '{' => depth += 1,
            '}' if depth == 0 => {
                found.extend(variant(code, begin, at));
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend(variant(code, begin, at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The variant between two commas, behind its attributes.
fn variant(code: &str, begin: usize, end: usize) -> Option<Variant> {
    let text = &code[begin..end];
    let mut rest = text.trim_start();
    while rest.starts_with("#[") {
        let mut depth = 0;
        let close = rest.find(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ']' && depth == 0
        })?;
        rest = rest[close + 1..].trim_start();
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    let line = code[..end - rest.len()].matches('\n').count() + 1;
    let has_from = text.contains("#[from]");
    (!name.is_empty()).then_some(Variant { name, line, has_from })
}

fn has_name(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = code[at + name.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
