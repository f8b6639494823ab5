//! PyTorch's files are read as data. The fixtures are made by `scripts/golden/pth_fixtures.py`, without torch.

use candle_core::{DType, Device};
use omni_model::weights::Weights;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn open(path: &Path) -> Result<Weights, String> {
    Weights::open(path, DType::F32, &Device::Cpu).map_err(|error| error.to_string())
}

#[test]
fn tensors_come_out_whole_turned_cut_and_half() {
    for file in ["plain.pth", "nested.pth"] {
        let weights = open(&fixture(file)).unwrap();
        let a = weights.pp("a");
        let matrix = a.get("weight", &[2, 3]).unwrap().t().to_vec2::<f32>().unwrap();
        assert_eq!(matrix, [[0., 1., 2.], [3., 4., 5.]]);
        let turned = a.get("turned", &[3, 2]).unwrap().t().to_vec2::<f32>().unwrap();
        assert_eq!(turned, [[0., 3.], [1., 4.], [2., 5.]]);
        assert_eq!(
            a.get("tail", &[2]).unwrap().t().to_vec1::<f32>().unwrap(),
            [4., 5.]
        );
        assert_eq!(
            weights.get("half", &[4]).unwrap().t().to_vec1::<f32>().unwrap(),
            [0.5, 1.5, 2.5, 3.5]
        );
        assert_eq!(
            weights
                .get("scalar", &[])
                .unwrap()
                .t()
                .to_scalar::<f32>()
                .unwrap(),
            5.0
        );
        weights.finish().unwrap();
    }
}

#[test]
fn a_pickle_with_code_in_it_is_refused_by_name() {
    let why = open(&fixture("hostile.pth")).err().unwrap();
    assert!(
        why.contains("`posix.system`") && why.contains("nothing of it was run"),
        "{why}"
    );
}

#[test]
fn a_tensor_beyond_its_storage_is_refused() {
    let why = open(&fixture("beyond.pth")).err().unwrap();
    assert!(why.contains("reaches beyond its storage of 6"), "{why}");
}

#[test]
fn a_zip_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let mut bytes = std::fs::read(fixture("plain.pth")).unwrap();
    bytes.truncate(bytes.len() - 30);
    std::fs::write(&path, &bytes).unwrap();
    assert!(
        open(&path)
            .err()
            .unwrap()
            .contains("cannot be read as a PyTorch file")
    );
}

#[test]
fn a_file_of_an_old_pytorch_is_called_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    // pickle.dumps(0x1950a86a20f9469cfc6c, 2), then the version of the form
    std::fs::write(
        &path,
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    )
    .unwrap();
    let said = open(&path).err().unwrap();
    assert!(said.contains("before 1.6"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes, there is an answer and no panic.
    #[test]
    fn changed_bytes_never_panic(places in prop::collection::vec((0usize..1030, any::<u8>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pth");
        let mut bytes = std::fs::read(fixture("nested.pth")).unwrap();
        for (place, value) in places {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(weights) = open(&path) {
            // a damaged part is an error, another shape or dtype is told by `finish`
            let _ = weights.get("a.weight", &[2, 3]);
            let _ = weights.get("a.turned", &[3, 2]);
            let _ = weights.finish();
        }
    }
}
