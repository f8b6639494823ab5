//! How long listing a large OpenHumanVid takes, and how much memory.
//!
//! `cargo run --release -p omni-curate --example plan_13m -- [ROWS] [captions|bare] [FOLDER]` (13 million rows, with captions, in
//! a temporary folder) writes the tables, makes one media file per 1000 rows (13 million inodes would measure the file
//! system), lists them under a filter, and prints seconds, rows a second and the peak resident memory of the listing.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use omni_curate::sources::openhumanvid::{OpenHumanVid, Settings};
use omni_pipeline::{ListingSink, SourceError};
use omni_schemas::Listing;
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Rows of one part's table.
const PART: u64 = 500_000;
/// One media file for so many rows.
const EVERY: u64 = 1000;

/// Counts, keeps nothing.
#[derive(Default)]
struct Count {
    kept: u64,
    dropped: u64,
    caption_bytes: u64,
}

impl ListingSink for Count {
    fn keep(&mut self, row: Listing) -> Result<(), SourceError> {
        self.kept += 1;
        self.caption_bytes += row.caption.map_or(0, |caption| caption.len() as u64);
        Ok(())
    }

    fn drop(&mut self, _key: &str, _reason: &str) -> Result<(), SourceError> {
        self.dropped += 1;
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let rows: u64 = given.first().map_or(Ok(13_000_000), |rows| rows.parse())?;
    let captions = given.get(1).is_none_or(|word| word == "captions");
    let parent = given.get(2).map_or_else(std::env::temp_dir, Into::into);
    let folder = parent.join(format!("plan_13m_{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let done = measure(&folder, rows, captions);
    fs::remove_dir_all(&folder)?;
    done
}

fn measure(folder: &Path, rows: u64, captions: bool) -> Outcome<()> {
    let written = Instant::now();
    let bytes = write_corpus(folder, rows, captions)?;
    println!(
        "{rows} rows, {:.2} GB, written in {:.1} s",
        bytes as f64 / 1e9,
        written.elapsed().as_secs_f64()
    );
    let before = peak_mib();
    let settings: Settings =
        serde_json::from_value(serde_json::json!({"filters": {"aesthetic": {"min": 4.5}}}))?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut sink = Count::default();
    let counts = OpenHumanVid::new(folder, settings)?.scan(&mut sink)?;
    let seconds = start.elapsed().as_secs_f64();
    let (per_second, megabytes) = (rows as f64 / seconds, bytes as f64 / 1e6 / seconds);
    println!("listed in {seconds:.2} s: {per_second:.0} rows/s, {megabytes:.0} MB/s");
    println!("processor time of the listing {:.2} s", cpu_seconds() - cpu);
    println!(
        "kept {}, dropped {}, caption bytes {}; {:?}",
        sink.kept, sink.dropped, sink.caption_bytes, counts.states
    );
    println!(
        "peak resident memory {} MiB (before listing {} MiB)",
        peak_mib(),
        before
    );
    Ok(())
}

fn write_corpus(folder: &Path, rows: u64, captions: bool) -> Outcome<u64> {
    let mut bytes = 0;
    for part in 0..rows.div_ceil(PART) {
        let path = folder.join(format!("OpenHumanVid_part_{:03}.csv", part + 1));
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        writeln!(
            out,
            "clip_id,path,caption,luminance_min,luminance_max,blur_min,blur_max,aesthetic,technical_score,global_motion,,"
        )?;
        for row in part * PART..((part + 1) * PART).min(rows) {
            write_row(&mut out, folder, part + 1, row, captions)?;
        }
        out.flush()?;
        bytes += fs::metadata(&path)?.len();
    }
    Ok(bytes)
}

fn write_row(out: &mut impl Write, folder: &Path, part: u64, row: u64, captions: bool) -> Outcome<()> {
    let mixed = u128::from(row)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let id = format!("{mixed:032x}");
    let below = format!("part_{part:03}/{}/{}", &id[..2], &id[2..4]);
    if row.is_multiple_of(EVERY) {
        fs::create_dir_all(folder.join(&below))?;
        File::create(folder.join(format!("{below}/{id}.mp4")))?;
    }
    let number = |shift: u32, span: f64| (mixed >> shift & 0xffff) as f64 / 65_536.0 * span;
    let caption = match captions {
        true => {
            "\"A woman in a \"\"green\"\" coat stands in a kitchen, turns to the window and talks, then laughs.\nThe camera \
                 moves slowly to the left; behind her a man reads a newspaper at a table, and the light of the late \
                 afternoon falls on the wall. She wears glasses, her hair is tied back, and her hands rest on the chair in \
                 front of her while she goes on speaking in a calm way.\""
        }
        false => "",
    };
    let (low, high, sharp) = (number(0, 80.0), 120.0 + number(16, 135.0), number(32, 1.0));
    let (aesthetic, technical, motion) = (2.0 + number(48, 5.0), number(64, 2.0) - 1.0, number(80, 20.0));
    writeln!(
        out,
        "{id},clips/{below}/{id},{caption},{low:.1},{high:.1},{sharp:.3},{:.3},{aesthetic:.2},{technical:.3},{motion:.2},,",
        sharp + 0.3
    )?;
    Ok(())
}

/// Processor seconds of this process (Linux, 100 ticks a second); 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Peak resident memory of this process, MiB; 0 where the system does not tell.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
