//! The merged decoder with its key and value cache, which stays inside ONNX Runtime.

use crate::Error;
use crate::runtime::{Feed, Session, Tensor, Value};

const PAST: &str = "past_key_values.";
const PRESENT: &str = "present.";
const LOGITS: &str = "logits";

/// Cached keys and values of one window. The encoder's are computed once and never copied.
pub(super) struct Decoding<'a> {
    session: &'a Session,
    hidden: &'a Value,
    cache: Vec<(String, Value)>,
}

impl<'a> Decoding<'a> {
    pub(super) fn new(session: &'a Session, hidden: &'a Value) -> Self {
        Decoding {
            session,
            hidden,
            cache: Vec::new(),
        }
    }

    /// Feeds tokens (several only in the first call); logits `[tokens, vocabulary]`, row-major.
    pub(super) fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        let ids: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
        let outputs = self.call(&ids)?;
        let mut logits = None;
        let first = self.cache.is_empty();
        for (name, value) in outputs {
            if name == LOGITS {
                logits = self.session.read(&name, &value)?.into_f32s();
            } else if let Some(rest) = name.strip_prefix(PRESENT) {
                let key = format!("{PAST}{rest}");
                match self.cache.iter_mut().find(|(name, _)| *name == key) {
                    None => self.cache.push((key, value)),
                    // Later calls return nothing for the encoder's part.
                    Some((_, kept)) if first || !rest.contains("encoder") => *kept = value,
                    Some(_) => {}
                }
            }
        }
        logits.ok_or_else(|| self.session.error("the decoder gave no logits"))
    }

    fn call(&self, ids: &[i64]) -> Result<Vec<(String, Value)>, Error> {
        let (shape, cached) = ([1, ids.len()], [!self.cache.is_empty()]);
        let pasts: Vec<_> = self
            .session
            .inputs()
            .iter()
            .filter(|p| p.name.starts_with(PAST))
            .collect();
        let size = |port: &crate::runtime::Port, d: usize| port.shape.get(d).copied().flatten().unwrap_or(1);
        let empty: Vec<[usize; 4]> = pasts.iter().map(|p| [1, size(p, 1), 0, size(p, 3)]).collect();
        let mut inputs = vec![
            ("input_ids", Feed::Tensor(Tensor::i64(&shape, ids))),
            ("encoder_hidden_states", Feed::Kept(self.hidden)),
            ("use_cache_branch", Feed::Tensor(Tensor::bool(&[1], &cached))),
        ];
        for (port, empty) in pasts.iter().zip(&empty) {
            let kept = self.cache.iter().find(|(name, _)| *name == port.name);
            let feed = kept.map_or(Feed::Tensor(Tensor::f32(empty, &[])), |(_, value)| {
                Feed::Kept(value)
            });
            inputs.push((port.name.as_str(), feed));
        }
        let wanted = |output: &str| output == LOGITS || output.starts_with(PRESENT);
        self.session.run_kept(&inputs, wanted)
    }
}
