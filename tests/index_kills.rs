//! The index of an OpenS2V part, killed at random bytes while it is made: resumed, it is byte for byte that of a run in
//! one go. `OMNI_SEED` repeats the places.

use crate::{common, kit};
use common::{Scratch, code, stderr};
use kit::{Group, Random, Signals};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

const JSON: &str = "root/Jsons/mask_and_bbox_High-Quality/total_part1.json";
/// Three pieces of the index: one ends every 256 MiB.
const BYTES: u64 = 600 << 20;

/// A part of the published form, as large as wanted: nearly all of a record is the text of its masks.
fn write_part(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    let counts = "V16600000000000V2".repeat(6000);
    let (mut written, mut number) = (0, 0);
    while written < BYTES {
        let record = json!({
            "metadata": {"path": format!("clip{number}.mp4"), "cut": [0, 60], "crop": [0, 16, 0, 12], "fps": 25.0,
                         "num_frames": 60, "resolution": {"height": 12, "width": 16}, "aesthetic": 5.2, "tech": 1.9,
                         "motion": 0.02, "cap": ["A person waves."]},
            "annotation": {"ann_frame_data": {"ann_frame_idx": 30, "box_format": "xyxy", "img_width": 16, "img_height": 12,
                "annotations": [{"class_name": "person", "bbox": [3.0, 2.0, 10.0, 8.0]}]},
                "mask_map": {"1": {"class_name": "person"}},
                "mask_annotation": {"30": {"1": {"size": [12, 16], "counts": counts, "score": [0.98]}}}}
        });
        let before = if number == 0 { '{' } else { ',' };
        let text = format!("{before}\n\"vid{number}_part1_step1-0-60\": {record}");
        file.write_all(text.as_bytes()).unwrap();
        written += text.len() as u64;
        number += 1;
    }
    file.write_all(b"}\n").unwrap();
    file.flush().unwrap();
}

/// Bytes that a process has read so far.
fn read_by(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn pieces(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = kit::walk(folder).into_iter();
    files
        .map(|path| {
            (
                path.strip_prefix(folder).unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn an_index_that_is_killed_at_random_bytes_is_resumed_to_the_same_bytes() {
    let scratch = Scratch::new();
    scratch.write(
        "mine.toml",
        "name = 'mine'\nsource = 'opens2v'\nstages = ['probe']\n",
    );
    write_part(&scratch.join(JSON));
    let command = |index: &str, out: &str| {
        let index = format!("settings.opens2v.index={}", scratch.join(index).display());
        let args = [
            "curate",
            "--recipe",
            "mine.toml",
            "--root",
            "root",
            "--out",
            out,
            "--set",
            &index,
        ];
        scratch.command(&args)
    };
    let (mut signals, mut random) = (Signals::new(), Random::new());
    let wanted = if kit::soak() { 20 } else { 4 };
    let (mut kills, mut over, mut torn) = (0, 0, 0);
    while kills < wanted {
        let stderr = scratch.join("stderr.txt");
        let mut group = Group::spawn(command("killed", "killed-out"), &stderr);
        let (pid, at) = (group.child.id(), random.below(BYTES));
        if let Some(status) = group.until(|| read_by(pid) >= at) {
            assert!(status.success(), "{}", group.said());
            over += 1;
            assert!(over < 10 * wanted, "{over} runs were over before the signal");
            // All of it is there: one piece is taken away, so that there is work again.
            let all: Vec<PathBuf> = pieces(&scratch.join("killed")).into_keys().collect();
            fs::remove_file(
                scratch
                    .join("killed")
                    .join(&all[random.below(all.len() as u64) as usize]),
            )
            .unwrap();
            let _ = fs::remove_dir_all(scratch.join("killed-out"));
            continue;
        }
        signals.send("KILL", &group);
        if group.child.wait().unwrap().success() {
            continue;
        }
        kills += 1;
        let names = pieces(&scratch.join("killed")).into_keys();
        torn += names
            .filter(|path| !path.to_string_lossy().contains("/from-"))
            .count();
    }
    for (index, out) in [("killed", "killed-out"), ("whole", "whole-out")] {
        let output = command(index, out).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
    let (killed, whole) = (pieces(&scratch.join("killed")), pieces(&scratch.join("whole")));
    assert_eq!(
        killed.keys().collect::<Vec<_>>(),
        whole.keys().collect::<Vec<_>>(),
        "and nothing is left over"
    );
    assert!(whole.len() >= 3 && killed == whole, "the index differs");
    println!(
        "{kills} kills, {over} runs over before, {torn} temporary files seen; {} pieces of the index equal",
        whole.len()
    );
}
