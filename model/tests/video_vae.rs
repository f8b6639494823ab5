//! The video VAE's streams: what chunks may not change, and what they cost.

use candle_core::{DType, Device, Tensor};
use omni_model::{
    net::vae_video::{LatentScale, VideoVae, VideoVaeConfig},
    weights::{Formula, Weights, value_of},
};

fn vae() -> (VideoVae, LatentScale) {
    let weights = Weights::new(Formula { seed: 9 }, DType::F32, &Device::Cpu);
    let vae = VideoVae::new(&VideoVaeConfig::tiny(), &weights).unwrap();
    let scale = vae.scale(&[0.1, -0.2, 0.3, 0.0], &[1.0, 0.5, 2.0, 1.5]).unwrap();
    (vae, scale)
}

fn clip(frames: usize) -> Tensor {
    let values = value_of("clip", 1, 3 * 17 * 32 * 48, 1.0, 0.0);
    let clip = Tensor::from_vec(values, (3, 17, 32, 48), &Device::Cpu).unwrap();
    clip.narrow(1, 0, frames).unwrap()
}

fn decode(vae: &VideoVae, latent: &Tensor, scale: &LatentScale) -> Vec<Tensor> {
    let mut parts = Vec::new();
    vae.decode(latent, scale, &mut |_, _| {}, |frames| {
        parts.push(frames);
        Ok(())
    })
    .unwrap();
    parts
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    let off = (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap();
    off.to_scalar::<f32>().unwrap() < 1e-5
}

#[test]
fn later_frames_change_nothing_before_them() {
    let (vae, scale) = vae();
    let encode = |frames| vae.encode(&clip(frames), &scale, &mut |_, _| {}).unwrap();
    let (long, short) = (encode(17), encode(9));
    assert_eq!(
        (long.dims(), short.dims()),
        (&[4, 5, 2, 3][..], &[4, 3, 2, 3][..])
    );
    assert!(same(&long.narrow(1, 0, 3).unwrap(), &short));
    let (whole, begun) = (decode(&vae, &long, &scale), decode(&vae, &short, &scale));
    // the same convolutions over the same chunks: the same bits
    for (a, b) in whole.iter().zip(&begun) {
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(a), values(b));
    }
}

#[test]
fn each_latent_frame_gives_its_pictures_at_once() {
    let (vae, scale) = vae();
    let latent = vae.encode(&clip(9), &scale, &mut |_, _| {}).unwrap();
    let shapes: Vec<Vec<usize>> = decode(&vae, &latent, &scale)
        .iter()
        .map(|part| part.dims().to_vec())
        .collect();
    assert_eq!(
        shapes,
        [vec![3, 1, 32, 48], vec![3, 4, 32, 48], vec![3, 4, 32, 48]]
    );
}

#[test]
fn a_rest_of_frames_is_dropped_and_odd_sizes_are_refused() {
    let (vae, scale) = vae();
    let encode = |clip: &Tensor| vae.encode(clip, &scale, &mut |_, _| {});
    assert!(same(&encode(&clip(7)).unwrap(), &encode(&clip(5)).unwrap()));
    let narrow = clip(5).narrow(3, 0, 40).unwrap();
    assert!(
        encode(&narrow)
            .unwrap_err()
            .to_string()
            .contains("multiples of 16")
    );
}
