//! The list of networks, and where their files lie.

/// The network that made a number: its id and the hash of its files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Network {
    /// Id in `models.toml`.
    pub id: String,
    /// SHA-256 over the files, 64 hex digits.
    pub hash: String,
}

impl Network {
    /// Id and the first 12 digits of the hash, for example `yunet_2023mar#8f2383e4dd3c`.
    pub fn tag(&self) -> String {
        format!("{}#{}", self.id, self.hash.get(..12).unwrap_or(&self.hash))
    }
}
