//! A key that cannot be printed.

use std::fmt;
use std::path::Path;

use super::ServiceError;

/// A service's key. `Debug` and `Display` show three stars; only the transport reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key from memory, as the binary read it from the environment. White space at the ends is cut off.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// A key from a file that holds nothing else.
    ///
    /// # Errors
    /// When the file cannot be read, or is empty.
    pub fn from_file(path: &Path) -> Result<Secret, ServiceError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ServiceError::Setup(format!("key file {}: {error}", path.display())))?;
        let secret = Secret::new(&text);
        match secret.is_empty() {
            true => Err(ServiceError::Setup(format!(
                "key file {} is empty",
                path.display()
            ))),
            false => Ok(secret),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The text without the key: a server may echo what it was sent.
    pub(crate) fn scrub(&self, text: &str) -> String {
        match self.is_empty() {
            true => text.to_owned(),
            false => text.replace(&self.0, "***"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let secret = Secret::new(" sk-abc\n");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        assert_eq!(secret.expose(), "sk-abc");
        assert_eq!(secret.scrub("you sent sk-abc"), "you sent ***");
    }

    #[test]
    fn a_key_file_is_read_and_an_empty_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "sk-abc\n").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap().expose(), "sk-abc");
        std::fs::write(&path, " \n").unwrap();
        let error = Secret::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
        assert!(Secret::from_file(&dir.path().join("none")).is_err());
    }
}
