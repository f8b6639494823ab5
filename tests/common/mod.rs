//! What end-to-end tests share: the binary in a scratch folder, and clips made by code.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A scratch folder in which the binary runs.
pub struct Scratch {
    pub dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.args(args).current_dir(self.path());
        command
    }

    pub fn omni(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Where networks lie, when the `open` profile's are here.
pub fn store() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let store = variable("OMNI_CACHE").or_else(|| variable("HOME").map(|home| home.join(".cache/omni")))?;
    let there = store.join("models/yunet_2023mar").is_dir()
        && store.join("models/whisper_base_q8").is_dir()
        && store.join("onnxruntime").is_dir();
    if !there {
        println!(
            "skipped: the networks are not in {}; run `omni models pull`",
            store.display()
        );
    }
    there.then_some(store)
}

/// The real clips beside a checkout, where somebody has them.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let base = std::env::var_os("OMNI_SHARED").map(PathBuf::from);
    let base = base.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let path = base.join(folder);
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
    }
    path.is_dir().then(|| path.canonicalize().unwrap())
}

/// Runs the `ffmpeg` command; `false` when there is none.
pub fn ffmpeg(args: &[&str]) -> bool {
    let ran = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y"])
        .args(args)
        .output();
    match ran {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            true
        }
        Err(_) => {
            println!("skipped: no `ffmpeg` command");
            false
        }
    }
}

/// Two seconds of a test picture in a hue of 0 to 360 degrees, with a tone, as an mp4. Whether there is one: not without ffmpeg.
pub fn film(path: &Path, hue: u32) -> bool {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = format!("testsrc2=s=320x180:r=25:d=2,hue=h={hue}");
    let (picture, tone) = (
        ["-f", "lavfi", "-i", &picture],
        ["-f", "lavfi", "-i", "sine=f=220:d=2"],
    );
    let coded = [
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        "-shortest",
    ];
    ffmpeg(&[&picture[..], &tone, &coded, &[path.to_str().unwrap()]].concat())
}
