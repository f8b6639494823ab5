//! A store in a temporary folder, lists of one network, packages made on the spot.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use omni_perception::registry::{PullError, PullEvent, PullOptions, Registry, Store, pull};
use sha2::{Digest, Sha256};

pub const CONTENT: &[u8] = b"weights of a tiny network";
pub const PIP: &str = "kind = \"pip\", package = \"pkg\", version = \"1.0\"";
pub const NPM: &str = "kind = \"npm\", package = \"pkg\", version = \"1.0\"";
pub const HF: &str =
    "kind = \"hf\", repository = \"a/b\", revision = \"0123456789012345678901234567890123456789\"";

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn entry(id: &str, source: &str, member: &str, content: &[u8], non_commercial: bool) -> String {
    let (bytes, hash) = (content.len(), hash(content));
    format!(
        "[[network]]\nid = \"{id}\"\nrole = \"vad\"\ninput = \"\"\noutput = \"\"\nsource = {{ {source} }}\n\
         licence = {{ package = \"BSD\", weights = \"MIT\", non_commercial = {non_commercial} }}\n\
         files = [{{ name = \"{id}.onnx\", member = \"{member}\", bytes = {bytes}, sha256 = \"{hash}\" }}]\n"
    )
}

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub options: PullOptions,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("store"));
        let mut options = PullOptions::default();
        options.net.system_proxy = false;
        options.net.retry.tries = 1;
        options.path = Some(format!("{}:/usr/bin:/bin", dir.path().display()).into());
        options.pip = vec!["fakepip".to_owned()];
        options.npm = "fakenpm".to_owned();
        Bench { dir, store, options }
    }

    /// A client that copies `package` into the folder it is given and writes down its arguments.
    pub fn client(&self, name: &str, package: &str) {
        let dir = self.dir.path().display();
        let copy =
            format!("for a in \"$@\"; do\n[ -d \"$a\" ] && cp {dir}/{package} \"$a/\"\ndone\nexit 0\n");
        self.script(name, &format!("echo \"$@\" >> {dir}/calls\n{copy}"));
    }

    pub fn script(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn pull(&self, list: &str, ids: &[&str]) -> Result<Vec<PullEvent>, PullError> {
        let registry = Registry::from_toml(list, "t").unwrap();
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let mut events = Vec::new();
        pull(&registry, &self.store, &ids, &self.options, &mut |event| {
            events.push(event)
        })
        .map(|_| events)
    }

    /// Another folder for the store.
    pub fn move_store(&mut self, root: &str) {
        self.store = Store::new(root);
    }

    pub fn placed(&self, id: &str) -> PathBuf {
        self.store.root().join(format!("models/{id}/{id}.onnx"))
    }

    pub fn files(&self, id: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store.root().join("models").join(id))
            .into_iter()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub fn wheel(path: &Path, members: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

/// A tar.gz whose names are written as they are, also where the tar crate would refuse them.
pub fn tarball(path: &Path, members: &[(&str, &[u8], tar::EntryType)]) {
    let gz = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (name, content, kind) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(*kind);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}
