//! What the only writer of a value knows of it, and whether what is read fits that.

use std::collections::BTreeSet;

use store_core::{Bytes, ErrorKind, Result};

/// A value with one writer, whose versions are numbered.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) key: String,
    next: u64,
    /// The version that was acknowledged or read last.
    known: Option<u64>,
    /// Versions that may have been written, or may still be: a write that was held back by the
    /// network can come after later ones.
    doubtful: BTreeSet<u64>,
    pub(crate) violations: Vec<String>,
}

impl Register {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            key: format!("register:{number}"),
            next: 0,
            known: None,
            doubtful: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// The value to write next.
    pub(crate) fn next_value(&self) -> String {
        self.value(self.next)
    }

    /// The value that is there unless one in doubt has replaced it.
    pub(crate) fn known_value(&self) -> Option<String> {
        self.known.map(|version| self.value(version))
    }

    /// Takes the outcome of writing the next value, under a condition that holds unless one in
    /// doubt is there.
    pub(crate) fn wrote(&mut self, outcome: &Result<bool>) {
        let version = self.next;
        self.next += 1;
        match outcome {
            Ok(true) => self.known = Some(version),
            Ok(false) if !self.doubtful.is_empty() => {}
            Ok(false) => self.violations.push(format!(
                "{}: {version} was not written over {:?}",
                self.key, self.known
            )),
            Err(error) => match error.kind() {
                ErrorKind::Unavailable | ErrorKind::PermissionDenied => {}
                ErrorKind::Indeterminate => {
                    self.doubtful.insert(version);
                }
                _ => self.violations.push(format!("{}: {error:?}", self.key)),
            },
        }
    }

    /// Takes the outcome of reading.
    pub(crate) fn read(&mut self, outcome: &Result<Option<Bytes>>) {
        match outcome {
            Ok(value) => self.found(value.as_deref()),
            Err(error) => {
                let kind = error.kind();
                if !matches!(kind, ErrorKind::Unavailable | ErrorKind::PermissionDenied) {
                    self.violations.push(format!("{}: {error:?}", self.key));
                }
            }
        }
    }

    fn found(&mut self, value: Option<&[u8]>) {
        let text = value.map(String::from_utf8_lossy);
        let version = text.as_ref().and_then(|text| self.version(text));
        if text.is_some() == version.is_some() && version == self.known {
            return;
        }
        match version {
            // It happens once, so from now on it is what is there.
            Some(version) if self.doubtful.remove(&version) => self.known = Some(version),
            _ => self.violations.push(format!(
                "{}: read {text:?}, where {:?} was known",
                self.key, self.known
            )),
        }
    }

    fn value(&self, version: u64) -> String {
        format!("{}={version}", self.key)
    }

    fn version(&self, value: &str) -> Option<u64> {
        let version = value.strip_prefix(&self.key)?.strip_prefix('=')?;
        version.parse().ok()
    }
}
