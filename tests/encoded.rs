//! `omni encode` again: clips that were dropped, and folders that are another command's.
#![cfg(all(feature = "model", feature = "ffmpeg"))]

use crate::{
    common::stderr,
    train::{done, encode, files, refused},
    train_corpus::curated,
};
use serde_json::{Value, json};

#[test]
fn a_dropped_clip_is_encoded_when_its_file_is_there_and_no_other_folder_is_written_to() {
    let Some(scratch) = curated() else { return };
    let dropped = |reason: &str| -> u64 {
        let text = std::fs::read_to_string(scratch.join("latents/summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        summary["dropped"][reason].as_u64().unwrap_or(0)
    };
    // the wrong corpus, then the right one
    std::fs::create_dir(scratch.join("wrong")).unwrap();
    let wrong = encode(&scratch, "chosen", "latents", &["--root", "wrong"]);
    refused(
        &wrong,
        1,
        &[
            "4 clips were not found below wrong",
            "when its file is there at last",
        ],
    );
    assert_eq!(dropped("not_found"), 4);
    let planned = encode(&scratch, "chosen", "latents", &["--dry-run"]);
    done(&planned);
    assert!(
        stderr(&planned).contains("4 clips that were dropped are tried again"),
        "{}",
        stderr(&planned)
    );
    assert_eq!(dropped("not_found"), 4);
    done(&encode(&scratch, "chosen", "latents", &[]));
    assert_eq!(dropped("not_found"), 0);
    // a clip that is damaged, and repaired by a copy that keeps its time
    let clip = scratch.join("media/a.mp4");
    let (sound, time) = (
        std::fs::read(&clip).unwrap(),
        std::fs::metadata(&clip).unwrap().modified().unwrap(),
    );
    std::fs::write(&clip, &sound[..200]).unwrap();
    std::fs::remove_dir_all(scratch.join("latents")).unwrap();
    done(&encode(&scratch, "chosen", "latents", &[]));
    let text = std::fs::read_to_string(scratch.join("latents/summary.json")).unwrap();
    assert!(
        !serde_json::from_str::<Value>(&text).unwrap()["dropped"]
            .as_object()
            .unwrap()
            .is_empty()
    );
    // as long as nothing changes nothing is tried
    let same = encode(&scratch, "chosen", "latents", &[]);
    done(&same);
    assert!(!stderr(&same).contains("tried again:"), "{}", stderr(&same));
    std::fs::write(&clip, &sound).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&clip)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let repaired = encode(&scratch, "chosen", "latents", &[]);
    done(&repaired);
    assert!(
        stderr(&repaired).contains("1 clips that were dropped are tried again:"),
        "{}",
        stderr(&repaired)
    );
    let text = std::fs::read_to_string(scratch.join("latents/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&summary["kept"], &summary["pending"]), (&json!(4), &json!(0)));
    // folders of others stay as they are
    let run = files(&scratch.join("out"));
    refused(
        &encode(&scratch, "chosen", "out", &[]),
        2,
        &["--out out is the output of `omni curate`"],
    );
    assert!(run == files(&scratch.join("out")));
    refused(
        &encode(&scratch, "chosen", "base", &[]),
        2,
        &["--out base is a checkpoint"],
    );
    scratch.write("run/run.json", r#"{"recipe": {}, "from": "base", "data": []}"#);
    refused(
        &encode(&scratch, "chosen", "run", &[]),
        2,
        &["--out run is a run of `omni train`"],
    );
    let sampled = |out: &str| {
        scratch.omni(&[
            "sample",
            "--checkpoint",
            "base",
            "--prompt",
            "A room.",
            "--out",
            out,
        ])
    };
    for (out, words) in [
        ("base", "--out base is a checkpoint"),
        ("out", "the output of `omni curate`"),
        ("latents", "the output of `omni encode`"),
        ("run", "a run of `omni train`"),
    ] {
        let before = files(&scratch.join(out));
        refused(&sampled(out), 2, &[words]);
        assert!(before == files(&scratch.join(out)), "{out} was changed");
    }
}
