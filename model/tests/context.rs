//! What no reference can say of OCF, SA-MRoPE and MTP-CA: properties that hold for any weights or prompt.

use candle_core::{DType, Device, Tensor};
use omni_model::{
    net::{
        MtpCa, MtpCaConfig, Ocf, OcfConfig, OcfInput,
        sa_mrope::{Anchor, Points, Prompt, Settings, Subject, Utterance},
    },
    weights::{Formula, Init, Source, Weights, value_of},
};
use proptest::prelude::*;

fn rows(name: &str, count: usize, width: usize) -> Tensor {
    let values = value_of(name, 5, count * width, 1.7, 0.0);
    Tensor::from_vec(values, (count, width), &Device::Cpu).unwrap()
}

fn bits(x: &Tensor) -> Vec<Vec<u32>> {
    let rows = x.to_vec2::<f32>().unwrap();
    rows.iter()
        .map(|row| row.iter().map(|value| value.to_bits()).collect())
        .collect()
}

fn far(a: &Tensor, b: &Tensor) -> f32 {
    let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    off.max(0).unwrap().to_scalar().unwrap()
}

fn weights(source: impl Source + 'static) -> Weights {
    Weights::new(source, DType::F32, &Device::Cpu)
}

fn ocf(source: impl Source + 'static) -> Ocf {
    Ocf::new(&OcfConfig::tiny(), &weights(source).pp("ocf")).unwrap()
}

fn mtp(source: impl Source + 'static) -> MtpCa {
    MtpCa::new(&MtpCaConfig::tiny(), &weights(source).pp("mtp_ca")).unwrap()
}

/// Two subjects, two utterances.
fn prompt() -> Prompt {
    let subject = |span, picture, voice| Subject {
        descriptor: Some(span),
        picture,
        voice,
    };
    Prompt {
        text: 30,
        subjects: vec![subject(2..6, (3, 4), 5), subject(9..14, (2, 3), 4)],
        utterances: vec![
            Utterance {
                span: 18..22,
                phonemes: 7,
            },
            Utterance {
                span: 25..27,
                phonemes: 5,
            },
        ],
    }
}

fn input(prompt: &Prompt) -> OcfInput {
    let (mut pictures, mut voices) = (Vec::new(), Vec::new());
    for subject in &prompt.subjects {
        // named by the subject's descriptor, so that a subject takes its references along
        let name = format!("{:?}", subject.descriptor);
        pictures.push(rows(
            &format!("{name} picture"),
            subject.picture.0 * subject.picture.1,
            192,
        ));
        voices.push(rows(&format!("{name} voice"), subject.voice, 20));
    }
    let phonemes = prompt.utterances.iter().map(|utterance| utterance.phonemes).sum();
    OcfInput {
        text: rows("text", prompt.text, 96),
        video: Some(Tensor::cat(&pictures, 0).unwrap()),
        audio: Some(Tensor::cat(&voices, 0).unwrap()),
        tts: Some(rows("tts", phonemes, 32)),
    }
}

fn points(prompt: &Prompt) -> Points {
    prompt.points(&Settings::default()).unwrap()
}

#[test]
fn untrained_modules_change_nothing_to_the_last_bit() {
    let (prompt, input) = (prompt(), input(&prompt()));
    let points = points(&prompt);
    let out = ocf(Init { seed: 3 }).forward(&input, &points).unwrap();
    for text in &out.enriched {
        assert_eq!(bits(text), bits(&input.text));
    }
    let spoken = mtp(Init { seed: 3 });
    let spoken = spoken
        .forward(&input.text, input.tts.as_ref().unwrap(), &prompt, &points)
        .unwrap();
    assert_eq!(bits(&spoken), bits(&input.text));
}

#[test]
fn without_its_mask_phonemes_reach_every_row_and_with_it_their_own_alone() {
    let (prompt, input) = (prompt(), input(&prompt()));
    let (points, tts) = (points(&prompt), input.tts.unwrap());
    let changed = |masked: bool| {
        let config = MtpCaConfig {
            masked,
            ..MtpCaConfig::tiny()
        };
        let layer = MtpCa::new(&config, &weights(Formula { seed: 3 }).pp("mtp_ca")).unwrap();
        let out = bits(&layer.forward(&input.text, &tts, &prompt, &points).unwrap());
        let pairs = out.into_iter().zip(bits(&input.text)).enumerate();
        pairs
            .filter(|(_, (after, before))| after != before)
            .map(|(place, _)| place)
            .collect::<Vec<_>>()
    };
    assert_eq!(changed(true), (18..22).chain(25..27).collect::<Vec<_>>());
    assert_eq!(changed(false), (0..30).collect::<Vec<_>>());
}

#[test]
fn trained_modules_do_change_the_text() {
    let (prompt, input) = (prompt(), input(&prompt()));
    let out = ocf(Formula { seed: 3 })
        .forward(&input, &points(&prompt))
        .unwrap();
    assert!(far(out.enriched.last().unwrap(), &input.text) > 0.1);
    assert!(far(&out.enriched[0], &out.enriched[2]) > 0.1);
}

#[test]
fn text_alone_runs() {
    let prompt = Prompt {
        text: 7,
        subjects: Vec::new(),
        utterances: Vec::new(),
    };
    let input = OcfInput {
        text: rows("text", 7, 96),
        video: None,
        audio: None,
        tts: None,
    };
    let out = ocf(Formula { seed: 3 })
        .forward(&input, &points(&prompt))
        .unwrap();
    assert_eq!(out.tokens.dims(), [7, 64]);
}

#[test]
fn permuting_the_subjects_permutes_their_tokens_and_leaves_the_text() {
    let (one, mut other) = (prompt(), prompt());
    other.subjects.reverse();
    let network = ocf(Formula { seed: 3 });
    let a = network.forward(&input(&one), &points(&one)).unwrap();
    let b = network.forward(&input(&other), &points(&other)).unwrap();
    assert!(far(a.enriched.last().unwrap(), b.enriched.last().unwrap()) < 1e-4);
    // text 30; pictures 12 and 6; voices 5 and 4
    for (from, to, count) in [
        (0, 0, 30),
        (30, 36, 12),
        (42, 30, 6),
        (48, 52, 5),
        (53, 48, 4),
        (57, 57, 12),
    ] {
        let (x, y) = (
            a.tokens.narrow(0, from, count).unwrap(),
            b.tokens.narrow(0, to, count).unwrap(),
        );
        assert!(far(&x, &y) < 1e-4, "rows {from}..: {}", far(&x, &y));
    }
}

#[test]
fn a_reference_at_another_anchor_moves_that_subject_and_no_other() {
    let (one, mut other) = (prompt(), prompt());
    other.subjects[1].descriptor = Some(10..12);
    let (a, b) = (points(&one), points(&other));
    assert_eq!((a.anchors[0], a.anchors[1]), (6.0, 15.0));
    assert_eq!((b.anchors[0], b.anchors[1]), (6.0, 13.0));
    assert_eq!((&a.video[..12], &a.audio[..5]), (&b.video[..12], &b.audio[..5]));
    assert!(
        a.video[12..]
            .iter()
            .zip(&b.video[12..])
            .all(|(a, b)| a[0] == b[0] + 2.0 && a[1..] == b[1..])
    );
}

#[test]
fn the_text_resumes_after_the_slot_of_a_subject() {
    let prompt = prompt();
    let points = points(&prompt);
    assert_eq!(
        (points.text[5][0], points.anchors[0], points.text[6][0]),
        (5.0, 6.0, 7.0)
    );
    assert_eq!(
        (points.text[13][0], points.anchors[1], points.text[14][0]),
        (14.0, 15.0, 16.0)
    );
    let still = Settings {
        anchor_shift: false,
        ..Settings::default()
    };
    let unmoved = prompt.points(&still).unwrap();
    assert!(
        unmoved
            .text
            .iter()
            .enumerate()
            .all(|(place, point)| point[0] == place as f64)
    );
    let start = Settings {
        anchor: Anchor::Start,
        ..Settings::default()
    };
    let before = prompt.points(&start).unwrap();
    assert_eq!(
        (before.text[1][0], before.anchors[0], before.text[2][0]),
        (1.0, 2.0, 3.0)
    );
}

#[test]
fn prompts_that_contradict_themselves_are_refused() {
    let refused = |change: fn(&mut Prompt)| {
        let mut prompt = prompt();
        change(&mut prompt);
        prompt.points(&Settings::default()).unwrap_err().to_string()
    };
    assert!(refused(|p| p.subjects[0].descriptor = Some(4..31)).contains("not within 30 text tokens"));
    assert!(refused(|p| p.utterances[1].span = 20..27).contains("overlaps"));
    assert!(refused(|p| p.utterances[0].span = 18..18).contains("no visible text for its 7 phonemes"));
    let (prompt, input) = (prompt(), input(&prompt()));
    let mut few = points(&prompt);
    few.tts.pop();
    assert!(ocf(Formula { seed: 1 }).forward(&input, &few).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the weights, text outside the spans keeps its bits, and text inside sees its own phonemes only.
    #[test]
    fn phonemes_reach_their_own_utterance_and_nothing_else(
        seed in 0u64..1000, first in 0usize..8, long in 1usize..5, gap in 0usize..6, other in 1usize..5,
        (few, more) in (0usize..6, 1usize..9),
    ) {
        let (a, b) = (first..first + long, first + long + gap..first + long + gap + other);
        let prompt = Prompt {
            text: b.end + 3,
            subjects: Vec::new(),
            utterances: vec![
                Utterance { span: a.clone(), phonemes: few },
                Utterance { span: b.clone(), phonemes: more },
            ],
        };
        let points = points(&prompt);
        let (network, text) = (mtp(Formula { seed }), rows("text", prompt.text, 96));
        let tts = rows("tts", few + more, 32);
        let out = bits(&network.forward(&text, &tts, &prompt, &points).unwrap());
        let plain = bits(&text);
        for (place, (ours, before)) in out.iter().zip(&plain).enumerate() {
            let spoken = (a.contains(&place) && few > 0) || b.contains(&place);
            prop_assert_eq!(ours != before, spoken, "token {}", place);
        }
        // other phonemes in the second utterance do not move the first
        let changed = Tensor::cat(&[tts.narrow(0, 0, few).unwrap(), rows("other", more, 32)], 0).unwrap();
        let again = bits(&network.forward(&text, &changed, &prompt, &points).unwrap());
        prop_assert_eq!(&again[a.clone()], &out[a]);
        prop_assert_ne!(&again[b.clone()], &out[b]);
    }
}
