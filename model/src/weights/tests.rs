use super::{Formula, Loaded, Stored, Weights, value_of};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;

fn tensors(shapes: &[(&str, &[usize])]) -> HashMap<String, Tensor> {
    shapes
        .iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>() as f32;
            let values = Tensor::arange(0f32, count, &Device::Cpu).unwrap();
            ((*name).to_owned(), values.reshape(*shape).unwrap())
        })
        .collect()
}

fn weights(shapes: &[(&str, &[usize])]) -> Weights {
    Weights::new(Loaded::new("the test", tensors(shapes)), DType::F32, &Device::Cpu)
}

#[test]
fn a_whole_checkpoint_loads_and_linear_weights_are_turned() {
    let weights = weights(&[("a.weight", &[3, 2]), ("a.bias", &[3])]);
    let matrix = weights.pp("a").linear("weight", 2, 3).unwrap();
    weights.pp("a").get("bias", &[3]).unwrap();
    assert_eq!(matrix.t().to_vec2::<f32>().unwrap(), [[0., 2., 4.], [1., 3., 5.]]);
    weights.finish().unwrap();
}

#[test]
fn missing_extra_and_misshapen_are_told_at_once_with_the_nearest_name() {
    let weights = weights(&[
        ("block.q.weight", &[2, 2]),
        ("block.k.wieght", &[2, 2]),
        ("head", &[4]),
    ]);
    weights.get("block.q.weight", &[2, 3]).unwrap();
    weights.get("block.k.weight", &[2, 2]).unwrap();
    let text = weights.finish().unwrap_err().to_string();
    assert!(
        text.contains("`block.k.weight` (the file has `block.k.wieght`)"),
        "{text}"
    );
    assert!(
        text.contains("`block.q.weight` is [2, 2], needed [2, 3]"),
        "{text}"
    );
    assert!(
        text.contains("not part of the network (2)") && text.contains("`head`"),
        "{text}"
    );
}

#[test]
fn a_truncated_or_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let refused = |path: &std::path::Path| {
        let error = Weights::open(path, DType::F32, &Device::Cpu).err().unwrap();
        error.to_string()
    };
    assert!(refused(&path).contains("cannot be read or written"));
    candle_core::safetensors::save(&tensors(&[("a", &[64])]), &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert!(refused(&path).contains("cannot be read as safetensors"));
    std::fs::write(&path, b"not a safetensors file at all").unwrap();
    assert!(refused(&path).contains("cannot be read as safetensors"));
}

#[test]
fn the_three_stored_forms_come_back_as_they_were() {
    let tensor = Tensor::arange(0f32, 30., &Device::Cpu)
        .unwrap()
        .reshape((3, 2, 5))
        .unwrap();
    for stored in [Stored::AsIs, Stored::Transposed, Stored::Taps] {
        let ours = stored.load(&tensor).unwrap();
        assert_eq!(ours.dims(), stored.shape(&[3, 2, 5]));
        let back = stored.save(&ours, &[3, 2, 5]).unwrap();
        assert_eq!(back.to_vec3::<f32>().unwrap(), tensor.to_vec3::<f32>().unwrap());
    }
}

#[test]
fn shapes_only_asks_for_everything_and_holds_nothing() {
    let weights = Weights::shapes_only();
    let huge = weights.pp("x").linear("weight", 1 << 20, 1 << 20).unwrap();
    assert_eq!(huge.tensor().dims(), [1 << 20, 1 << 20]);
    assert_eq!(weights.asked(), [("x.weight".to_owned(), vec![1 << 20, 1 << 20])]);
    weights.finish().unwrap();
}

#[test]
fn the_formula_gives_its_published_kinds_of_values() {
    let norm = Weights::new(Formula { seed: 7 }, DType::F32, &Device::Cpu);
    let values = norm
        .get("norm.weight", &[64])
        .unwrap()
        .t()
        .to_vec1::<f32>()
        .unwrap();
    assert!(values.iter().all(|value| (0.9..=1.1).contains(value)));
    assert_eq!(
        value_of("a", 1, 3, 1.0, 0.0)[1..],
        value_of("a", 1, 3, 1.0, 0.0)[1..3]
    );
    assert_ne!(value_of("a", 1, 3, 1.0, 0.0), value_of("b", 1, 3, 1.0, 0.0));
}
