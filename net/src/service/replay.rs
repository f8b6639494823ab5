//! Answers from recorded logs and from nowhere else.

use std::path::Path;

use super::log::Recorded;
use super::{Call, Reply, ReplyLog, ServiceError, Transport};

/// A transport without a network: what was recorded, refusals included. A miss is an error, never a call.
pub struct Replay {
    log: ReplyLog,
}

impl Replay {
    /// Opens a folder of logs, such as `OUT/replies` of a live run; writes nothing there.
    ///
    /// # Errors
    /// When the folder or a log cannot be read.
    pub fn open(folder: &Path) -> Result<Replay, ServiceError> {
        Ok(Replay {
            log: ReplyLog::open_to_read(folder)?,
        })
    }
}

impl Transport for Replay {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let (service, key) = (call.service, call.key());
        match self.log.find(key)? {
            Some(Recorded::Answer(reply)) => Ok(reply),
            Some(Recorded::Refused {
                status,
                kind,
                message,
            }) => Err(ServiceError::Refused {
                service,
                status,
                kind,
                message,
            }),
            None => Err(ServiceError::NotRecorded {
                service,
                key,
                prompt: call.prompt.clone(),
            }),
        }
    }
}
