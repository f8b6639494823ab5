//! Samples made up for tests of the trainer: two people who speak, an utterance without pictures.

use candle_core::{Device, Tensor};
use omni_model::{
    train::{InMemory, Recipe, Sample, SampleSubject, SampleUtterance},
    weights::value_of,
};

pub fn values(name: &str, shape: &[usize], scale: f32) -> Tensor {
    let values = value_of(name, 8, shape.iter().product(), scale, 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A clip of two people, one of whom speaks; the references come from `from`.
pub fn clip(id: &str, from: &str) -> Sample {
    let of = |what: &str, shape: &[usize]| values(&format!("{id} {what}"), shape, 1.7);
    let subject = |number: usize, descriptor, voice: Option<usize>| SampleSubject {
        descriptor: Some(descriptor),
        picture: Some(of(&format!("picture {number}"), &[48, 1, 4, 6])),
        voice: voice.map(|latents| of(&format!("voice {number}"), &[latents, 20])),
        from: vec![from.to_owned()],
    };
    Sample {
        id: id.to_owned(),
        video: Some(of("video", &[48, 2, 4, 6])),
        audio: of("audio", &[7, 20]),
        text: of("text", &[12, 96]),
        empty: values("empty", &[1, 96], 1.7),
        subjects: vec![subject(1, 1..3, Some(5)), subject(2, 4..6, None)],
        utterances: vec![SampleUtterance {
            span: 7..10,
            phonemes: Some(of("phonemes", &[6, 32])),
        }],
    }
}

/// The same without pictures: one speaker.
pub fn speech(id: &str) -> Sample {
    let mut sample = clip(id, id);
    sample.video = None;
    sample.subjects.truncate(1);
    sample.subjects[0].picture = None;
    sample
}

/// `clips` clips, then half as many utterances.
pub fn data(clips: usize) -> InMemory {
    let joint = (0..clips).map(|number| clip(&format!("clip-{number}"), "elsewhere"));
    let spoken = (0..clips.div_ceil(2)).map(|number| speech(&format!("said-{number}")));
    InMemory::new(joint.chain(spoken).collect())
}

/// Both kinds of steps, everything trained; `more` stands before the table of weights.
pub fn recipe(more: &str) -> Recipe {
    with_table(
        more,
        "keys = ['*']\nmode = 'train'\nlr = 1e-3\nlr_end = 1e-4\nwarmup = 2\n",
    )
}

pub fn with_table(more: &str, table: &str) -> Recipe {
    let pattern = if more.contains("pattern") {
        ""
    } else {
        "pattern = ['joint', 'speech']\n"
    };
    let text = format!(
        "name = 'test'\nseed = 3\n{pattern}{more}\n[batch]\njoint = 4\nspeech = 2\n[[weights]]\n{table}"
    );
    Recipe::parse(&text).unwrap()
}
