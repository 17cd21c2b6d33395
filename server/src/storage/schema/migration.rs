//! From one version of the database's format to another, one minor version at a time
//! (contract-cluster.md, section 6.8). Since 3.5 only the version itself differs, which 3.5 does
//! not write.

use super::meta::storage_version;
use crate::member::version::Version;
use crate::storage::database::BucketChange;

/// The version of a format that has terms, and does not say its version.
pub const UNWRITTEN_VERSION: Version = Version::new(3, 5, 0);

/// The steps between two versions of one major version, each with the version that it leads to.
pub fn migration(from: &Version, to: &Version) -> Vec<(Version, BucketChange)> {
    let minors: Vec<i64> = match from.minor <= to.minor {
        true => (from.minor + 1..=to.minor).collect(),
        false => (to.minor..from.minor).rev().collect(),
    };
    let step = |minor| {
        let version = Version::new(from.major, minor, 0);
        let change =
            storage_version(Some(&version).filter(|version| **version > UNWRITTEN_VERSION));
        (version, change)
    };
    minors.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: i64, to: i64, expected: &[(&str, Option<&str>)]) {
        let version = |minor| Version::new(3, minor, 0);
        let steps = migration(&version(from), &version(to));
        let text = |change: BucketChange| {
            change.value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        let found: Vec<(String, Option<String>)> = steps
            .into_iter()
            .map(|(version, change)| (version.to_string(), text(change)))
            .collect();
        let owned = |(version, value): &(&str, Option<&str>)| {
            ((*version).to_owned(), value.map(str::to_owned))
        };
        assert_eq!(found, expected.iter().map(owned).collect::<Vec<_>>());
    }

    #[test]
    fn a_migration_goes_through_every_minor_version_and_3_5_writes_none() {
        check(5, 6, &[("3.6.0", Some("3.6.0"))]);
        check(5, 7, &[("3.6.0", Some("3.6.0")), ("3.7.0", Some("3.7.0"))]);
        check(7, 5, &[("3.6.0", Some("3.6.0")), ("3.5.0", None)]);
        check(6, 6, &[]);
    }
}
