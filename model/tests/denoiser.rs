//! The backbone as sampler and trainer see it: streams present or absent, references appended and dropped again.

use candle_core::{DType, Device, Tensor};
use omni_model::{
    net::{Condition, Denoiser, FusionConfig, FusionModel, Latents, RefLayout, References, StreamInput},
    sample::{Conditions, Guidance, Plan, SolverKind, denoise},
    weights::{Formula, Weights, value_of},
};

const T: f64 = 700.0;

fn values(name: &str, shape: &[usize]) -> Tensor {
    let values = value_of(name, 8, shape.iter().product(), 1.7, 0.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn model(config: &FusionConfig) -> FusionModel {
    FusionModel::new(
        config,
        &Weights::new(Formula { seed: 4 }, DType::F32, &Device::Cpu),
    )
    .unwrap()
}

fn latents() -> Latents {
    Latents {
        video: Some(values("video", &[48, 3, 4, 6])),
        audio: Some(values("audio", &[11, 20])),
    }
}

fn condition() -> Condition {
    Condition {
        video_text: Some(values("text", &[5, 96])),
        audio_text: Some(values("text", &[5, 96])),
        ..Condition::default()
    }
}

fn references(layout: RefLayout) -> References {
    References {
        video: Some(values("pictures", &[48, 2, 4, 6])),
        audio: vec![values("voice 0", &[4, 20]), values("voice 1", &[3, 20])],
        layout,
    }
}

fn far(a: &Option<Tensor>, b: &Tensor) -> f32 {
    let a = a.as_ref().unwrap();
    assert_eq!(a.dims(), b.dims());
    let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    off.max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn references_lie_where_their_layout_says_and_are_dropped_again() {
    let (model, x) = (model(&FusionConfig::tiny()), latents());
    for layout in [RefLayout::ovi(), RefLayout::dreamid()] {
        let given = references(layout.clone());
        let mut wanted = condition();
        wanted.clean_first_frame = layout.clean;
        wanted.references = Some(given.clone());
        let ours = model.velocity(&x, T, &wanted).unwrap();

        let text = condition().video_text.unwrap();
        let joined = [x.video.as_ref().unwrap(), given.video.as_ref().unwrap()];
        let mut video = StreamInput::new(Tensor::cat(&joined, 1).unwrap(), text.clone(), T);
        video.positions = vec![0., 1., 2., 150., 300.];
        video.clean = vec![layout.clean, false, false, layout.clean, layout.clean];
        let joined = [x.audio.as_ref().unwrap(), &given.audio[0], &given.audio[1]];
        let mut audio = StreamInput::new(Tensor::cat(&joined, 0).unwrap(), text, T);
        let step = if layout.clean { 762. } else { 760. };
        audio.positions = (0..11).map(f64::from).collect();
        audio.positions.extend((0..4).map(|k| step + f64::from(k)));
        audio.positions.extend((0..3).map(|k| 2. * step + f64::from(k)));
        audio.clean = (0..18).map(|unit| layout.clean && unit >= 11).collect();
        audio.scaling = (!layout.clean).then_some(0.197_265_625);
        let (v, a) = model.forward(&video, &audio, 0).unwrap();
        assert_eq!(far(&ours.video, &v.narrow(1, 0, 3).unwrap()), 0.0);
        assert_eq!(far(&ours.audio, &a.narrow(0, 0, 11).unwrap()), 0.0);

        let plain = model.velocity(&x, T, &condition()).unwrap();
        assert!(far(&ours.video, plain.video.as_ref().unwrap()) > 1e-3);
    }
}

#[test]
fn one_stream_alone_is_that_stream_and_no_stream_is_an_error() {
    let (model, both) = (model(&FusionConfig::tiny()), latents());
    let text = condition().video_text.unwrap();
    let speech = Latents {
        video: None,
        audio: both.audio.clone(),
    };
    let ours = model.velocity(&speech, T, &condition()).unwrap();
    assert!(ours.video.is_none());
    let input = StreamInput::new(both.audio.clone().unwrap(), text.clone(), T);
    assert_eq!(far(&ours.audio, &model.audio.forward(&input).unwrap()), 0.0);

    let why = |x: &Latents, condition: &Condition| model.velocity(x, T, condition).unwrap_err().to_string();
    assert!(why(&Latents::default(), &condition()).contains("neither video nor audio"));
    assert!(why(&both, &Condition::default()).contains("latents of video without its text"));
    let mut long = condition();
    long.audio_text = Some(values("text", &[17, 96]));
    assert!(why(&both, &long).contains("17 text rows, the model takes 16"));
    let odd = Latents {
        video: Some(values("video", &[48, 3, 5, 6])),
        audio: None,
    };
    assert!(why(&odd, &condition()).contains("not made of 1x2x2 patches"));
}

#[test]
fn two_video_blocks_may_share_an_audio_block() {
    let mut config = FusionConfig::tiny();
    config.video.num_layers = 4;
    config.audio.num_layers = 2;
    let out = model(&config).velocity(&latents(), T, &condition()).unwrap();
    assert_eq!(out.audio.unwrap().dims(), [11, 20]);
    config.audio.num_layers = 3;
    let weights = Weights::shapes_only();
    let why = FusionModel::new(&config, &weights).unwrap_err().to_string();
    assert!(why.contains("4 video blocks are no multiple of 3"), "{why}");
    config = FusionConfig::tiny();
    config.audio.dim = 60;
    assert!(
        FusionModel::new(&config, &weights)
            .unwrap_err()
            .to_string()
            .contains("is not 4 heads")
    );
    config = FusionConfig::tiny();
    config.video.window_size = [8, 8];
    assert!(
        FusionModel::new(&config, &weights)
            .unwrap_err()
            .to_string()
            .contains("only full attention")
    );
}

#[test]
fn sampling_is_the_same_twice_and_keeps_a_given_picture() {
    let model = model(&FusionConfig::tiny());
    let first = values("first", &[48, 1, 4, 6]);
    let plan = Plan {
        solver: SolverKind::UniPc,
        steps: 3,
        shift: 5.0,
        guidance: Guidance::default(),
        first_frame: Some(first.clone()),
    };
    let mut positive = condition();
    positive.clean_first_frame = true;
    let mut negative = positive.clone();
    negative.skip_layer = 1;
    let conditions = Conditions {
        positive,
        negative,
        unreferenced: None,
    };
    let run = || {
        let mut steps = Vec::new();
        let out = denoise(&model, latents(), &conditions, &plan, |step, _| steps.push(step)).unwrap();
        assert_eq!(steps, [0, 1, 2]);
        out
    };
    let (once, again) = (run(), run());
    assert_eq!(far(&once.video, again.video.as_ref().unwrap()), 0.0);
    assert_eq!(far(&once.audio, again.audio.as_ref().unwrap()), 0.0);
    assert_eq!(
        far(&Some(once.video.unwrap().narrow(1, 0, 1).unwrap()), &first),
        0.0
    );
}
