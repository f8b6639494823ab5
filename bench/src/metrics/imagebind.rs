//! IB-S and IB-A: do pictures and sound, text and sound, belong together? Cosines of ImageBind's mean vectors.
//!
//! Reference: facebookresearch/ImageBind, scores as in JavisBench. The text is the case's audio caption; without one it is
//! the prompt without its tags.

use std::{collections::BTreeMap, sync::Arc};

use omni_media::Frame;
use omni_perception::imagebind::{ImageBind, audio, cosine, mean, text::ClipTokenizer, video};
use omni_pipeline::Fault;
use omni_schemas::Case;
use serde_json::{Value, json};

use crate::{
    metric::{Better, Measured, Metric, Outcome, Reading, Scoring},
    take::{Sound, TakeInfo},
};

const PAPER: &str = "imagebind_huge_vision";

/// The three towers and the vocabulary.
pub struct Towers {
    /// Pictures.
    pub vision: ImageBind,
    /// Sound.
    pub audio: ImageBind,
    /// Text.
    pub text: ImageBind,
    /// Words to tokens.
    pub tokenizer: ClipTokenizer,
}

/// Belonging together.
pub struct Together {
    towers: Arc<Towers>,
}

impl Together {
    /// With the three towers.
    pub fn new(towers: Arc<Towers>) -> Together {
        Together { towers }
    }
}

impl Metric for Together {
    fn name(&self) -> &'static str {
        "ib"
    }

    fn version(&self) -> u32 {
        1
    }

    fn readings(&self) -> Vec<Reading> {
        let id = self.towers.vision.network().id.as_str();
        let other = (id != PAPER).then_some(id);
        ["ib_s", "ib_a"]
            .map(|name| Reading::plain(name, other, Better::Higher))
            .to_vec()
    }

    fn settings(&self) -> Value {
        let tags =
            [&self.towers.vision, &self.towers.audio, &self.towers.text].map(|tower| tower.network().tag());
        json!({ "networks": tags })
    }

    fn sees(&self) -> bool {
        true
    }

    fn hears(&self) -> bool {
        true
    }

    fn start<'a>(&'a self, take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
        let video = take.video.as_ref();
        let pairs = video.and_then(|video| video::frame_pairs(video.frames, (video.fps_num, video.fps_den)));
        let wanted = pairs
            .iter()
            .flatten()
            .flatten()
            .map(|frame| (*frame, None))
            .collect();
        Ok(Box::new(Meeting {
            towers: &self.towers,
            text: words(&take.case),
            pairs,
            wanted,
            sound: None,
        }))
    }
}

/// What is to be heard, in words; `None` when nothing is said of it.
fn words(case: &Case) -> Option<String> {
    let text = case
        .audio_caption
        .clone()
        .unwrap_or_else(|| without_tags(&case.prompt));
    (!text.trim().is_empty()).then_some(text)
}

/// The prompt without `<S>`, `<E>` and anchors; what is said stays.
fn without_tags(prompt: &str) -> String {
    let mut out = prompt.replace("<S>", "").replace("<E>", "");
    while let Some(start) = out.find("<sub") {
        let Some(end) = out[start..].find('>') else { break };
        out.replace_range(start..=start + end, "");
    }
    out
}

struct Meeting<'a> {
    towers: &'a Towers,
    text: Option<String>,
    pairs: Option<[[u64; 2]; video::CLIPS]>,
    wanted: BTreeMap<u64, Option<[Vec<f32>; video::CROPS]>>,
    sound: Option<Vec<f32>>,
}

impl Scoring for Meeting<'_> {
    fn audio(&mut self, sound: &Sound) -> Result<(), Fault> {
        if let Some(clips) = audio::clips(sound.pcm()) {
            self.sound = Some(mean(&self.towers.audio.embed(&clips).map_err(Fault::stop)?));
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        if let Some(slot) = self.wanted.get_mut(&frame.index) {
            *slot = video::crops(frame.image);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Measured, Fault> {
        let Some(sound) = &self.sound else {
            return Ok(vec![Outcome::Absent("no_audio"); 2].into());
        };
        let seen = match self.inputs() {
            Some(inputs) => cosine(
                &mean(&self.towers.vision.embed(&inputs).map_err(Fault::stop)?),
                sound,
            ),
            None => None,
        };
        let read = match &self.text {
            Some(text) => {
                let tokens = vec![self.towers.tokenizer.encode(text)];
                cosine(
                    &mean(&self.towers.text.embed_tokens(&tokens).map_err(Fault::stop)?),
                    sound,
                )
            }
            None => None,
        };
        Ok(vec![Outcome::of(seen, "no_video"), Outcome::of(read, "no_prompt")].into())
    }
}

impl Meeting<'_> {
    /// The fifteen inputs; `None` when the clip ended before its last frame.
    fn inputs(&self) -> Option<Vec<Vec<f32>>> {
        let mut out = Vec::new();
        for [first, last] in self.pairs? {
            let (first, last) = (
                self.wanted.get(&first)?.as_ref()?,
                self.wanted.get(&last)?.as_ref()?,
            );
            out.extend(first.iter().zip(last).map(|(a, b)| video::pair(a, b)));
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audio_caption_comes_before_the_prompt() {
        let mut case = Case {
            prompt: "A man <sub1> says, <S>Hi.<E>".into(),
            ..Case::default()
        };
        assert_eq!(words(&case).as_deref(), Some("A man  says, Hi."));
        case.audio_caption = Some("rain".into());
        assert_eq!(words(&case).as_deref(), Some("rain"));
        assert_eq!(words(&Case::default()), None);
    }
}
