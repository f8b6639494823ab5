//! How fast nested rows are written and read, and how much memory it takes.
//!
//! `cargo run -p omni-manifests --example nested_rows -- [ROWS] [FRAMES] [FOLDER]` (a million tracks of five frames, in
//! a temporary folder) writes the rows as parts of 10,000 and reads them back, then as one file `track.parquet`, of
//! which it reads the first row, all rows as `omni show` does, and the rows of one clip as `omni show --where` does.
//! With a folder the one file stays, so that `omni show FOLDER track` can be tried.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use omni_manifests::{ListingWriter, Receipt, for_each_row, for_each_row_where, read_part, write_part};
use omni_schemas::{Track, TrackFrame};
use std::{fs, ops::ControlFlow, path::Path, time::Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Rows of one part.
const PART: u64 = 10_000;
/// Rows of one row group of the one file.
const GROUP: u64 = 2048;

fn main() -> Outcome<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let rows: u64 = given.first().map_or(Ok(1_000_000), |rows| rows.parse())?;
    let frames: u64 = given.get(1).map_or(Ok(5), |frames| frames.parse())?;
    let folder = given.get(2).map_or_else(
        || std::env::temp_dir().join(format!("nested_rows_{}", std::process::id())),
        Into::into,
    );
    let parts = folder.join("parts");
    fs::create_dir_all(&parts)?;
    let done = in_parts(&parts, rows, frames).and_then(|()| in_one_file(&folder, rows, frames));
    fs::remove_dir_all(&parts)?;
    if given.len() < 3 {
        fs::remove_dir_all(&folder)?;
    }
    done
}

fn in_parts(folder: &Path, rows: u64, frames: u64) -> Outcome<()> {
    let path = |part: u64| folder.join(format!("part-{part}.parquet"));
    timed("write, parts", rows, || {
        for part in 0..rows.div_ceil(PART) {
            let tracks: Vec<Track> = (part * PART..rows.min((part + 1) * PART))
                .map(|row| track(row, frames))
                .collect();
            write_part(&path(part), &tracks, &Receipt::default())?;
        }
        Ok(rows)
    })?;
    timed("read, parts", rows, || {
        let mut read = 0;
        for part in 0..rows.div_ceil(PART) {
            read += read_part::<Track>(&path(part))?.0.len() as u64;
        }
        Ok(read)
    })
}

fn in_one_file(folder: &Path, rows: u64, frames: u64) -> Outcome<()> {
    let path = folder.join("track.parquet");
    timed("write, one file", rows, || {
        let mut writer = ListingWriter::create(&path, &serde_json::json!({}))?;
        for first in (0..rows).step_by(GROUP as usize) {
            let tracks: Vec<Track> = (first..rows.min(first + GROUP))
                .map(|row| track(row, frames))
                .collect();
            writer.push_group(&tracks)?;
        }
        writer.finish()?;
        Ok(rows)
    })?;
    timed("first row as JSON", 1, || shown(&path, 1))?;
    timed("all rows as JSON", rows, || shown(&path, u64::MAX))?;
    let wanted = track(rows / 8 * 4, 0).clip;
    timed("rows of one clip as JSON", 4, || {
        let mut count = 0;
        for_each_row_where(&path, "clip", &|clip| *clip == wanted.as_str(), &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    })?;
    println!(
        "{} has {:.2} GB",
        path.display(),
        fs::metadata(&path)?.len() as f64 / 1e9
    );
    Ok(())
}

fn shown(path: &Path, most: u64) -> Outcome<u64> {
    let mut count = 0;
    for_each_row(path, &mut |_| {
        count += 1;
        match count < most {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    Ok(count)
}

/// Four tracks a clip; no two values alike, so that nothing packs too well.
fn track(row: u64, frames: u64) -> Track {
    let value = |number: u64| {
        let mixed = (row * 1000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        mixed as f64 / 16_384.0
    };
    let frame = |frame: u64| TrackFrame {
        frame: frame as i64,
        bbox: std::array::from_fn(|i| value(frame * 20 + i as u64)),
        score: value(frame * 20 + 4),
        points: std::array::from_fn(|i| value(frame * 20 + 5 + i as u64)),
        mouth_motion: (frame > 0).then(|| value(frame * 20 + 15)),
        upper_motion: (frame > 0).then(|| value(frame * 20 + 16)),
    };
    Track {
        clip: format!("clip_{:08}.mp4", row / 4),
        track: (row % 4) as i64,
        subject: (row % 4) as i64 + 1,
        shot: 0,
        frames: (0..frames).map(frame).collect(),
        vector: Vec::new(),
        embedder: "sface#000000000000".into(),
    }
}

/// Runs one phase and prints its seconds, rows a second, and peak memory.
fn timed(what: &str, rows: u64, phase: impl FnOnce() -> Outcome<u64>) -> Outcome<()> {
    let _ = fs::write("/proc/self/clear_refs", "5"); // the peak begins anew, where the system can
    let start = Instant::now();
    let count = phase()?;
    let seconds = start.elapsed().as_secs_f64();
    if count != rows {
        return Err(format!("{what}: {count} rows, not {rows}").into());
    }
    let per_second = rows as f64 / seconds;
    println!(
        "{what}: {seconds:.3} s, {per_second:.0} rows/s, peak {} MiB",
        peak_mib()
    );
    Ok(())
}

/// Peak resident memory of this process, MiB; 0 where the system does not tell.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
