//! A status as `etcdutl` prints it, in each of its forms, without the final newline.

use serde::Serialize;

use super::Status;
use crate::config::CompatVersion;
use crate::member::membership::json;

/// Borders of a table: of its first, middle and last rule the left end, the crossings and the
/// right end; then what rules and columns are made of.
struct Borders {
    rules: [[char; 3]; 3],
    horizontal: char,
    vertical: char,
}

const PLAIN: Borders = Borders { rules: [['+'; 3]; 3], horizontal: '-', vertical: '|' };
const BOXED: Borders = Borders {
    rules: [['┌', '┬', '┐'], ['├', '┼', '┤'], ['└', '┴', '┘']],
    horizontal: '─',
    vertical: '│',
};

#[derive(Serialize)]
struct Json<'a> {
    hash: u32,
    revision: i64,
    #[serde(rename = "totalKey")]
    total_keys: u64,
    #[serde(rename = "totalSize")]
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

impl Status {
    /// The version, where it is told.
    fn told_version(&self) -> Option<&str> {
        (self.compat > CompatVersion::V3_5).then_some(&self.version[..])
    }

    fn cells(&self) -> Vec<(&'static str, String)> {
        let mut cells = vec![
            ("HASH", format!("{:x}", self.hash)),
            ("REVISION", self.revision.to_string()),
            ("TOTAL KEYS", self.total_keys.to_string()),
            ("TOTAL SIZE", size(self.size_bytes)),
        ];
        cells.extend(self.told_version().map(|version| ("VERSION", version.to_owned())));
        cells
    }

    /// `--write-out=simple`.
    pub fn simple(&self) -> String {
        let cells: Vec<String> = self.cells().into_iter().map(|(_, cell)| cell).collect();
        cells.join(", ")
    }

    /// `--write-out=json`.
    pub fn json(&self) -> String {
        json::to_json(&Json {
            hash: self.hash,
            revision: self.revision,
            total_keys: self.total_keys,
            size_bytes: self.size_bytes,
            version: self.told_version(),
        })
    }

    /// `--write-out=fields`.
    pub fn fields(&self) -> String {
        let mut lines = vec![
            format!("\"Hash\" : {}", self.hash),
            format!("\"Revision\" : {}", self.revision),
            format!("\"Keys\" : {}", self.total_keys),
            format!("\"Size\" : {}", self.size_bytes),
        ];
        lines.extend(self.told_version().map(|version| format!("\"Version\" : {version}")));
        lines.join("\n")
    }

    /// `--write-out=table`.
    pub fn table(&self) -> String {
        table(self.compat, &self.cells())
    }
}

/// One row under its heads, with the borders of the version.
pub(super) fn table(compat: CompatVersion, cells: &[(&'static str, String)]) -> String {
    let borders = if compat >= CompatVersion::V3_7 { BOXED } else { PLAIN };
    let widths: Vec<usize> =
        cells.iter().map(|(head, cell)| head.len().max(cell.chars().count())).collect();
    let rule = |[left, crossing, right]: [char; 3]| {
        let horizontal = borders.horizontal.to_string();
        let parts: Vec<String> = widths.iter().map(|width| horizontal.repeat(width + 2)).collect();
        format!("{left}{}{right}", parts.join(&crossing.to_string()))
    };
    let line = |texts: Vec<String>| {
        let vertical = borders.vertical;
        let inner = texts.join(&format!(" {vertical} "));
        format!("{vertical} {inner} {vertical}")
    };
    let centred = |((head, _), width): (&(&str, String), &usize)| {
        let missing = width - head.len();
        // An odd blank goes to the left.
        let left = missing.div_ceil(2);
        format!("{}{head}{}", " ".repeat(left), " ".repeat(missing - left))
    };
    let heads = cells.iter().zip(&widths).map(centred).collect();
    let row = cells.iter().zip(&widths).map(|((_, cell), width)| format!("{cell:>width$}"));
    let [first, middle, last] = borders.rules;
    let lines = [rule(first), line(heads), rule(middle), line(row.collect()), rule(last)];
    lines.join("\n")
}

/// Bytes in decimal units with two or three digits, halves to the even neighbour.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0, 1u128);
    while u128::from(bytes) >= scale * 1000 {
        scale *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 20 + scale) / (2 * scale);
    if tenths < 100 {
        return format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]);
    }
    let (whole, rest) = (tenths / 10, tenths % 10);
    let is_up = rest > 5 || rest == 5 && whole % 2 == 1;
    format!("{} {}", whole + u128::from(is_up), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let expected = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (20_480, "20 kB"),
            (21_500, "22 kB"),
            (24_576, "25 kB"),
            (1_048_576, "1.0 MB"),
            (16_801_792, "17 MB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in expected {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    /// As `etcdutl` of each minor version prints one file.
    #[test]
    fn a_status_is_printed_as_each_version_does() {
        let status = |compat, total_keys| Status {
            hash: 2_945_086_304,
            revision: 18,
            total_keys,
            size_bytes: 20_480,
            version: "3.6.0".to_owned(),
            compat,
        };
        let old = status(CompatVersion::V3_5, 28);
        assert_eq!(old.simple(), "af8a7360, 18, 28, 20 kB");
        assert_eq!(
            old.json(),
            r#"{"hash":2945086304,"revision":18,"totalKey":28,"totalSize":20480}"#
        );
        assert_eq!(
            old.fields(),
            "\"Hash\" : 2945086304\n\"Revision\" : 18\n\"Keys\" : 28\n\"Size\" : 20480"
        );
        let table = "\
+----------+----------+------------+------------+
|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE |
+----------+----------+------------+------------+
| af8a7360 |       18 |         28 |      20 kB |
+----------+----------+------------+------------+";
        assert_eq!(old.table(), table);
        let new = status(CompatVersion::V3_7, 14);
        assert_eq!(new.simple(), "af8a7360, 18, 14, 20 kB, 3.6.0");
        assert!(new.json().ends_with(r#""totalKey":14,"totalSize":20480,"version":"3.6.0"}"#));
        assert!(new.fields().ends_with("\n\"Version\" : 3.6.0"));
        let table = "\
┌──────────┬──────────┬────────────┬────────────┬─────────┐
│   HASH   │ REVISION │ TOTAL KEYS │ TOTAL SIZE │ VERSION │
├──────────┼──────────┼────────────┼────────────┼─────────┤
│ af8a7360 │       18 │         14 │      20 kB │   3.6.0 │
└──────────┴──────────┴────────────┴────────────┴─────────┘";
        assert_eq!(new.table(), table);
    }
}
