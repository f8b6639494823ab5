//! What tests of this crate share: where the runtime, networks, goldens and clips lie when they are here.

use std::path::{Path, PathBuf};

use super::{Device, Runtime};
use crate::Network;

/// The folder `omni` downloads into: `$OMNI_CACHE`, else `~/.cache/omni`.
fn cache() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("OMNI_CACHE") {
        return Some(path.into());
    }
    Some(Path::new(&std::env::var_os("HOME")?).join(".cache/omni"))
}

/// ONNX Runtime's library, or `None` (with a printed line) where it was not downloaded.
pub(crate) fn library() -> Option<PathBuf> {
    let found = cache().and_then(|cache| {
        let versions = std::fs::read_dir(cache.join("onnxruntime")).ok()?;
        let folders = versions.flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = folders
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|folder| folder.flatten().map(|entry| entry.path()))
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
            })
            .collect();
        files.sort();
        files.pop()
    });
    if found.is_none() {
        println!("skipped: no ONNX Runtime in the cache");
    }
    found
}

/// A runtime on the CPU, or `None` where the library is not here.
pub(crate) fn runtime() -> Option<Runtime> {
    Some(Runtime::open(&library()?, Device::Cpu).unwrap())
}

/// A downloaded file of a network, or `None` (with a printed line).
pub(crate) fn model(id: &str, file: &str) -> Option<PathBuf> {
    let path = cache()?.join("models").join(id).join(file);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: no {file} of {id} in the cache");
    None
}

/// A file of the shared folder (`$OMNI_SHARED`, else `../shared` beside the workspace), or `None`.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("OMNI_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {path} is not here");
    None
}

/// A network's name for tests.
pub(crate) fn network(id: &str) -> Network {
    Network {
        id: id.to_owned(),
        hash: "0".repeat(64),
    }
}

/// A graph of one node, `y = x + x` on f32 `[n, 2]`, encoded by hand as the ONNX protobuf.
pub(crate) fn doubling_graph() -> tempfile::NamedTempFile {
    let node = [text(1, "x"), text(1, "x"), text(2, "y"), text(4, "Add")].concat();
    let graph = [
        bytes(1, &node),
        text(2, "double"),
        bytes(11, &value("x")),
        bytes(12, &value("y")),
    ]
    .concat();
    let opset = [text(1, ""), number(2, 17)].concat();
    let model = [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), model).unwrap();
    file
}

fn value(name: &str) -> Vec<u8> {
    let shape = [bytes(1, &text(2, "n")), bytes(1, &number(1, 2))].concat();
    let tensor = [number(1, 1), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "one length byte only");
    [&[field << 3 | 2, content.len() as u8], content].concat()
}

fn text(field: u8, content: &str) -> Vec<u8> {
    bytes(field, content.as_bytes())
}
