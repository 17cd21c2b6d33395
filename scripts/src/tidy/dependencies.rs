//! Every dependency of the workspace stands in ARCHITECTURE.md with its reason.

use super::{Finding, Tree};

/// Looks for dependencies that nobody gave a reason for.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let (Some(manifest), Some(document)) =
        (tree.texts.get("Cargo.toml"), tree.texts.get("ARCHITECTURE.md"))
    else {
        return;
    };
    let mut is_inside = false;
    for (at, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line == "[workspace.dependencies]";
        } else if is_inside && !line.contains("path =") {
            let name = line.split(['=', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !document.text.contains(&format!("`{name}`")) {
                findings.push(Finding {
                    path: "Cargo.toml".to_owned(),
                    line: at + 1,
                    rule: "dependency",
                    message: format!("`{name}`: give its reason in ARCHITECTURE.md, or remove it"),
                });
            }
        }
    }
}
