//! Versions as etcd compares and prints them: `X.Y.Z`, with an optional pre-release and build.

use std::fmt;

use thiserror::Error;

/// A text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VersionError {
    /// Fewer than three numbers.
    #[error("{0} is not in dotted-tri format")]
    NotDottedTri(String),
    /// One of the three is not a number.
    #[error("strconv.ParseInt: parsing {0:?}: invalid syntax")]
    NotANumber(String),
}

/// A version. Ordered by its numbers; a pre-release comes before its release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// First number.
    pub major: i64,
    /// Second number.
    pub minor: i64,
    /// Third number.
    pub patch: i64,
    /// What follows a `-`, or nothing.
    pub pre_release: String,
    /// What follows a `+`, or nothing.
    pub build: String,
}

impl Version {
    /// The lowest cluster version that any 3.x member works with.
    pub const MIN_CLUSTER: Version = Version::new(3, 0, 0);

    /// A release.
    pub const fn new(major: i64, minor: i64, patch: i64) -> Version {
        Version { major, minor, patch, pre_release: String::new(), build: String::new() }
    }

    /// Reads a version.
    pub fn parse(text: &str) -> Result<Version, VersionError> {
        let (rest, build) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre_release) = rest.split_once('-').unwrap_or((rest, ""));
        let parts: Vec<&str> = numbers.splitn(3, '.').collect();
        let &[major, minor, patch] = parts.as_slice() else {
            return Err(VersionError::NotDottedTri(numbers.to_owned()));
        };
        let number =
            |part: &str| part.parse().map_err(|_| VersionError::NotANumber(part.to_owned()));
        Ok(Version {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            pre_release: pre_release.to_owned(),
            build: build.to_owned(),
        })
    }

    /// `X.Y.0`: what decides whether members understand each other.
    #[must_use]
    pub const fn major_minor(&self) -> Version {
        Version::new(self.major, self.minor, 0)
    }

    /// The same major version, one minor version on.
    #[must_use]
    pub const fn next_minor(&self) -> Version {
        Version::new(self.major, self.minor + 1, 0)
    }

    /// `X.Y`, as log lines print a cluster version.
    pub fn short(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    fn numbers(&self) -> (i64, i64, i64, bool) {
        (self.major, self.minor, self.patch, self.pre_release.is_empty())
    }

    /// Numeric identifiers by value and before all others.
    fn pre_release_identifiers(&self) -> impl Iterator<Item = (bool, u64, &str)> {
        self.pre_release.split('.').map(|identifier| match identifier.parse() {
            Ok(number) => (false, number, identifier),
            Err(_) => (true, 0, identifier),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> std::cmp::Ordering {
        self.numbers()
            .cmp(&other.numbers())
            .then_with(|| self.pre_release_identifiers().cmp(other.pre_release_identifiers()))
            .then_with(|| self.build.cmp(&other.build))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre_release.is_empty() {
            write!(f, "-{}", self.pre_release)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn a_version_prints_as_it_was_written() {
        for text in ["3.6.14", "3.8.0-alpha.0", "1.2.3-rc.1+build.5", "0.0.0+git"] {
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn versions_order_by_number_and_a_pre_release_comes_first() {
        let ascending =
            ["2.9.9", "3.0.0", "3.6.9", "3.6.14", "3.10.0-alpha.9", "3.10.0-alpha.10", "3.10.0"];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn what_is_not_three_numbers_is_no_version() {
        assert_eq!(
            Version::parse("not_decided").unwrap_err().to_string(),
            "not_decided is not in dotted-tri format"
        );
        assert_eq!(
            Version::parse("3.x.0").unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn a_cluster_version_has_no_patch() {
        assert_eq!(version("3.6.14").major_minor(), Version::new(3, 6, 0));
        assert_eq!(version("3.6.14").next_minor(), Version::new(3, 7, 0));
        assert_eq!(version("3.6.14").short(), "3.6");
    }
}
