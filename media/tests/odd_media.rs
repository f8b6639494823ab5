//! Files as corpora really hold them: damaged, mislabelled, turned, uneven, too long. Made on the spot by the `ffmpeg`
//! command; skipped where it is not installed.
#![cfg(feature = "ffmpeg")]

use crate::support;
use omni_media::{Error, Limits, Span, probe, read_audio, read_audio_16k, read_frames};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{ALL, ffmpeg, ffmpeg_words, frames, has_ffmpeg, near, pixel};
use tempfile::TempDir;

const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
const PICTURES: &str = "-f lavfi -i testsrc=s=160x120:r=25:d=2";
const TONE: &str = "-f lavfi -i sine=f=440:r=48000:d=2";

/// A folder with one file made by ffmpeg; none (with a printed line) where ffmpeg is absent.
fn made(name: &str, line: &str) -> Option<(TempDir, PathBuf)> {
    if !has_ffmpeg() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    assert!(ffmpeg(line, &path), "ffmpeg could not make {name}");
    Some((folder, path))
}

fn both() -> String {
    format!("{PICTURES} {TONE} {H264} -c:a aac")
}

/// The reasons of all three ways to look at a file.
fn reasons(path: &Path) -> [&'static str; 3] {
    let word = |result: Result<(), Error>| result.map_or_else(|error| error.reason(), |()| "fine");
    let limits = Limits::default();
    [
        word(probe(path, &ALL, &limits).map(drop)),
        word(frames(path, &ALL).map(drop)),
        word(read_audio_16k(path, &ALL, &limits).map(drop)),
    ]
}

fn span(start: f64, end: f64) -> Span {
    Span {
        start: Some(start),
        end: Some(end),
    }
}

#[test]
fn a_whole_clip_is_described_as_made() {
    let Some((_folder, path)) = made("whole.mp4", &both()) else {
        return;
    };
    let info = probe(&path, &ALL, &Limits::default()).unwrap();
    let (video, audio) = (info.video.unwrap(), info.audio.unwrap());
    assert_eq!(
        (video.width, video.height, video.frames, video.rotation),
        (160, 120, 50, 0)
    );
    assert_eq!(
        (video.fps_num, video.fps_den, video.variable_rate),
        (25, 1, false)
    );
    assert!((video.seconds - 2.0).abs() < 1e-6, "{}", video.seconds);
    assert_eq!(
        (
            video.codec.as_str(),
            audio.codec.as_str(),
            audio.rate,
            audio.channels
        ),
        ("h264", "aac", 48000, 1)
    );
    assert!(
        (audio.seconds - 2.0).abs() < 0.05 && (0.11..0.18).contains(&audio.peak),
        "{audio:?}"
    );
    // A sine of amplitude 1/8 lies 21.1 dB below full scale; one channel, K-weighted near 0 dB at 440 Hz.
    let loudness = audio.loudness.unwrap();
    assert!((-23.0..-20.0).contains(&loudness), "{loudness}");
    let seen = frames(&path, &ALL).unwrap();
    assert_eq!(seen.times.len(), 50);
    assert!(
        seen.times
            .iter()
            .enumerate()
            .all(|(i, t)| (t - i as f64 / 25.0).abs() < 1e-6)
    );
}

#[test]
fn damaged_files_are_unreadable() {
    let Some((folder, path)) = made("whole.mp4", &both()) else {
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    let quick = folder.path().join("quick.mp4");
    assert!(ffmpeg(
        &format!("-i {} -c copy -movflags +faststart", path.display()),
        &quick
    ));
    let faststart = std::fs::read(&quick).unwrap();
    let cases: [(&str, &[u8]); 5] = [
        ("no index", &bytes[..bytes.len() / 2]),
        ("half the data", &faststart[..faststart.len() / 2]),
        ("index only", &faststart[..faststart.len() / 8]),
        ("zero bytes", &[]),
        ("text", b"hello, this is a letter and no film\n"),
    ];
    let target = folder.path().join("case.mp4");
    for (name, content) in cases {
        std::fs::write(&target, content).unwrap();
        assert_eq!(reasons(&target), ["unreadable"; 3], "{name}");
    }
}

#[test]
fn a_clip_whose_time_starts_late_is_whole_and_half_of_it_is_not() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for ending in ["mp4", "mkv", "flv"] {
        let late = folder.path().join(format!("late.{ending}"));
        let inputs = PICTURES.replace("-f", "-itsoffset 3 -f") + " " + &TONE.replace("-f", "-itsoffset 3 -f");
        let line = format!("{inputs} -copyts {H264} -c:a aac -ar 44100 -movflags +faststart");
        assert!(ffmpeg(&line, &late), "{ending}");
        assert_eq!(reasons(&late), ["fine"; 3], "{ending}");
        let seen = frames(&late, &ALL).unwrap();
        assert_eq!((seen.times.len(), seen.times[0]), (50, 0.0), "{ending}");
        let bytes = std::fs::read(&late).unwrap();
        let half = folder.path().join(format!("half.{ending}"));
        std::fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(reasons(&half), ["unreadable"; 3], "{ending}");
    }
}

#[test]
fn playlists_and_folders_and_devices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.mp4");
    for content in [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
    ] {
        std::fs::write(&list, content).unwrap();
        for reason in reasons(&list) {
            assert!(["unreadable", "unsupported"].contains(&reason), "{reason}");
        }
    }
    assert_eq!(reasons(folder.path()), ["unreadable"; 3]);
    assert_eq!(reasons(Path::new("/dev/null")), ["unreadable"; 3]);
    assert_eq!(reasons(&folder.path().join("none.mp4")), ["not_found"; 3]);
}

#[test]
fn sound_alone_and_pictures_alone_are_told_apart() {
    let Some((_folder, path)) = made("sound.mp4", &format!("{TONE} -c:a aac")) else {
        return;
    };
    let info = probe(&path, &ALL, &Limits::default()).unwrap();
    assert!(info.video.is_none() && info.audio.is_some());
    assert_eq!(reasons(&path), ["fine", "no_video", "fine"]);
    let Some((_folder, path)) = made("pictures.mp4", &format!("{PICTURES} {H264}")) else {
        return;
    };
    let info = probe(&path, &ALL, &Limits::default()).unwrap();
    assert!(info.video.is_some() && info.audio.is_none());
    assert_eq!(reasons(&path), ["fine", "fine", "no_audio"]);
}

#[test]
fn cover_art_is_no_film() {
    let Some((folder, cover)) = made("cover.png", "-f lavfi -i testsrc=s=64x64 -frames:v 1") else {
        return;
    };
    let path = folder.path().join("song.m4a");
    let line = format!(
        "{TONE} -i {} -map 0 -map 1 -c:a aac -c:v copy -disposition:v attached_pic",
        cover.display()
    );
    assert!(ffmpeg(&line, &path));
    assert!(probe(&path, &ALL, &Limits::default()).unwrap().video.is_none());
    assert_eq!(reasons(&path), ["fine", "no_video", "fine"]);
}

/// Makes Matroska forget how long a picture lasts: DefaultDuration becomes Void of the same size.
fn without_rate(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(3).position(|id| id == [0x23, 0xe3, 0x83]).unwrap();
    let size = 4 + usize::from(bytes[at + 3] & 0x7f);
    bytes[at..at + size].fill(0);
    bytes[at] = 0xec;
    bytes[at + 1] = 0x80 | (size as u8 - 2);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_stream_without_rate_and_pictures_is_unreadable_and_one_picture_is_no_length() {
    let vp8 = "-f lavfi -i testsrc=s=160x120:r=25:d=2 -c:v libvpx";
    let Some((folder, path)) = made("one.webm", &format!("{vp8} -frames:v 1")) else {
        return;
    };
    without_rate(&path);
    let info = probe(&path, &ALL, &Limits::default()).unwrap();
    let video = info.video.unwrap();
    assert!(video.seconds < 0.1 && video.frames == 1, "{video:?}");
    assert!(video.fps_num > 0 && video.fps_den > 0, "{video:?}");
    // A stream that is announced and has neither rate nor pictures.
    let bytes = std::fs::read(&path).unwrap();
    let cluster = bytes
        .windows(4)
        .position(|id| id == [0x1f, 0x43, 0xb6, 0x75])
        .unwrap();
    let empty = folder.path().join("empty.webm");
    std::fs::write(&empty, &bytes[..cluster]).unwrap();
    assert_eq!(reasons(&empty), ["unreadable"; 3]);
    // With all its pictures the rate is found in their times.
    let film = folder.path().join("film.webm");
    assert!(ffmpeg(vp8, &film));
    without_rate(&film);
    let video = probe(&film, &ALL, &Limits::default()).unwrap().video.unwrap();
    assert_eq!((video.frames, video.fps_num, video.fps_den), (50, 25, 1));
    assert!((video.seconds - 2.0).abs() < 0.05, "{video:?}");
}

#[test]
fn variable_rates_keep_their_times() {
    let words = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=30:d=2",
        "-vf",
        "select='lt(n,20)+not(mod(n,5))'",
        "-fps_mode",
        "vfr",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
    ];
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["uneven.mp4", "uneven.mkv"] {
        let path = folder.path().join(name);
        assert!(ffmpeg_words(&words, &path));
        let want: Vec<f64> = (0..60)
            .filter(|n| *n < 20 || n % 5 == 0)
            .map(|n| f64::from(n) / 30.0)
            .collect();
        let video = probe(&path, &ALL, &Limits::default()).unwrap().video.unwrap();
        assert_eq!(
            (video.frames, video.variable_rate),
            (want.len() as u64, true),
            "{name}"
        );
        let times = frames(&path, &ALL).unwrap().times;
        assert_eq!(times.len(), want.len(), "{name}");
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
        assert!(
            times.iter().zip(&want).all(|(a, b)| (a - b).abs() < 2e-3),
            "{name}: {times:?}"
        );
    }
}

/// Writes a display matrix (the first four numbers, 16.16) into the first `tkhd` box.
fn turn(path: &Path, matrix: [i32; 4]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|four| four == b"tkhd").unwrap() + 44;
    for (slot, value) in [0, 4, 12, 16].into_iter().zip(matrix) {
        bytes[at + slot..at + slot + 4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn turned_films_are_shown_upright() {
    let filter = "color=blue:s=320x240:r=25:d=1,drawbox=0:0:80:80:red:fill";
    let Some((_folder, path)) = made("turned.mp4", &format!("-f lavfi -i {filter} {H264}")) else {
        return;
    };
    // Where the stored picture's upper left corner is shown (as far from the right and the lower edge).
    for (matrix, rotation, corner) in [
        ([1, 0, 0, 1], 0, (false, false)),
        ([0, 1, -1, 0], 90, (true, false)),
        ([-1, 0, 0, -1], 180, (true, true)),
        ([0, -1, 1, 0], 270, (false, true)),
    ] {
        turn(&path, matrix);
        let video = probe(&path, &ALL, &Limits::default()).unwrap().video.unwrap();
        let shown = if rotation % 180 == 0 {
            (320, 240)
        } else {
            (240, 320)
        };
        assert_eq!(
            (video.rotation, video.width, video.height),
            (rotation, shown.0, shown.1)
        );
        let first = frames(&path, &ALL).unwrap().first;
        let (wide, high) = (first.width, first.height);
        assert_eq!((wide, high), (shown.0 as usize, shown.1 as usize));
        for (right, down) in [(false, false), (true, false), (false, true), (true, true)] {
            let (x, y) = (
                if right { wide - 20 } else { 20 },
                if down { high - 20 } else { 20 },
            );
            let want = if (right, down) == corner {
                [254, 0, 0]
            } else {
                [0, 0, 254]
            };
            let got = pixel(&first, x, y);
            assert!(near(got, want, 12), "{rotation}: {got:?} at {x},{y}");
        }
    }
}

#[test]
fn ten_bits_and_odd_sizes_are_read() {
    let cases = [
        ("ten.mkv", "320x240", "-c:v ffv1 -pix_fmt yuv420p10le"),
        ("ten.mp4", "320x240", "-c:v libx264 -pix_fmt yuv420p10le"),
        ("odd.mkv", "321x241", "-c:v ffv1 -pix_fmt yuv420p"),
        ("odd.mp4", "321x241", "-c:v mpeg4 -q:v 2"),
        ("grey.mkv", "33x17", "-c:v ffv1 -pix_fmt gray"),
        ("alpha.mkv", "64x48", "-c:v ffv1 -pix_fmt yuva420p"),
    ];
    for (name, size, codec) in cases {
        let line = format!("-f lavfi -i color=0x40A0E0:s={size}:r=25:d=0.4,format=rgb24 {codec}");
        let Some((_folder, path)) = made(name, &line) else {
            return;
        };
        let (width, height) = size.split_once('x').unwrap();
        let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
        let seen = frames(&path, &ALL).unwrap();
        assert_eq!(seen.sizes, vec![(width, height); 10], "{name}");
        let video = probe(&path, &ALL, &Limits::default()).unwrap().video.unwrap();
        assert_eq!(
            (video.width as usize, video.height as usize, video.frames),
            (width, height, 10),
            "{name}"
        );
        // Not the very corners: swscale mixes something else into the last chroma sample of odd sizes.
        let (right, low) = (width - 5, height - 5);
        for (x, y) in [(4, 4), (right, 4), (4, low), (right, low)] {
            let got = pixel(&seen.first, x, y);
            let grey = got[0] == got[1] && got[1] == got[2] && got[0].abs_diff(139) <= 3;
            let fine = if name == "grey.mkv" {
                grey
            } else {
                near(got, [0x40, 0xA0, 0xE0], 4)
            };
            assert!(fine, "{name}: {got:?} at {x},{y}");
        }
    }
}

#[test]
fn the_name_of_a_file_does_not_matter() {
    let Some((folder, path)) = made("film.mp4", &both()) else {
        return;
    };
    for name in ["film.wav", "film.txt", "film.m3u8", "film"] {
        let other = folder.path().join(name);
        std::fs::copy(&path, &other).unwrap();
        assert_eq!(reasons(&other), ["fine"; 3], "{name}");
    }
}

#[test]
fn very_short_clips_are_whole() {
    let line = both().replace("d=2", "d=0.2");
    let Some((_folder, path)) = made("short.mp4", &line) else {
        return;
    };
    let info = probe(&path, &ALL, &Limits::default()).unwrap();
    let (video, audio) = (info.video.unwrap(), info.audio.unwrap());
    assert_eq!((video.frames, video.variable_rate), (5, false));
    assert!((video.seconds - 0.2).abs() < 1e-6 && (audio.seconds - 0.2).abs() < 0.03);
    assert_eq!(frames(&path, &ALL).unwrap().times.len(), 5);
    let line = format!("-f lavfi -i testsrc=s=64x48:r=25 -frames:v 1 {H264}");
    let Some((_folder, path)) = made("one.mp4", &line) else {
        return;
    };
    assert_eq!(frames(&path, &ALL).unwrap().times, [0.0]);
    assert_eq!(
        probe(&path, &ALL, &Limits::default())
            .unwrap()
            .video
            .unwrap()
            .frames,
        1
    );
}

#[test]
fn three_hours_are_refused_at_once() {
    let pictures = "-f lavfi -i color=black:s=32x32:r=1:d=10800 -c:v mpeg4";
    let Some((folder, path)) = made("long.mp4", pictures) else {
        return;
    };
    let endless = folder.path().join("endless.mkv");
    // Matroska made as a live stream names no length: reading stops where the limit is.
    assert!(ffmpeg(
        &format!("-i {} -c copy -live 1 -f matroska", path.display()),
        &endless
    ));
    for file in [&path, &endless] {
        let begun = Instant::now();
        let [info, pictures, _] = reasons(file);
        assert_eq!([info, pictures], ["too_long"; 2], "{}", file.display());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(
        read_audio(&path, &ALL, &Limits::default()).unwrap_err().reason(),
        "too_long"
    );
    assert_eq!(frames(&path, &span(7200.0, 7205.0)).unwrap().times.len(), 5);
}

#[test]
fn pictures_beyond_the_limit_are_refused() {
    let Some((_folder, path)) = made("wide.mp4", &both()) else {
        return;
    };
    let limits = Limits {
        max_pixels: 160 * 120 - 1,
        ..Limits::default()
    };
    assert_eq!(probe(&path, &ALL, &limits).unwrap_err().reason(), "too_large");
    let error = read_frames(&path, &ALL, &limits, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.reason(), "too_large");
    let limits = Limits {
        max_pixels: 160 * 120,
        ..Limits::default()
    };
    assert!(probe(&path, &ALL, &limits).is_ok());
}

#[test]
fn a_span_is_the_same_frames_as_in_the_whole() {
    let line = format!("-f lavfi -i testsrc=s=64x48:r=25:d=4 {TONE} {H264} -g 30 -bf 2 -c:a pcm_s16le");
    let Some((_folder, path)) = made("spans.mov", &line.replace("48000:d=2", "48000:d=4")) else {
        return;
    };
    let mut whole = Vec::new();
    read_frames(&path, &ALL, &Limits::default(), &mut |frame| {
        whole.push(frame.image.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    let sound = read_audio_16k(&path, &ALL, &Limits::default()).unwrap().samples;
    assert_eq!((whole.len(), sound.len()), (100, 64000));
    for (start, end, from, count) in [
        (1.0, 2.0, 25, 25),
        (0.0, 0.4, 0, 10),
        (3.6, 9.0, 90, 10),
        (0.5, 3.5, 13, 75),
        (2.0, 2.0, 50, 0),
    ] {
        let part = span(start, end);
        let seen = frames(&path, &part).unwrap();
        assert_eq!(seen.times.len(), count, "{start}..{end}");
        let info = probe(&path, &part, &Limits::default()).unwrap();
        assert_eq!(
            info.video.map_or(0, |video| video.frames),
            count as u64,
            "{start}..{end}"
        );
        if count == 0 {
            continue;
        }
        assert!(
            (seen.times[0] - (from as f64 / 25.0 - start)).abs() < 2e-3,
            "{start}..{end}"
        );
        assert!(
            seen.first == whole[from],
            "{start}..{end}: another picture than {from}"
        );
        let got = read_audio_16k(&path, &part, &Limits::default()).unwrap().samples;
        let want = &sound[(start * 16000.0) as usize..((end * 16000.0) as usize).min(64000)];
        assert_eq!(got.len(), want.len(), "{start}..{end}");
        let worst = got
            .iter()
            .zip(want)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-3, "{start}..{end}: sound off by {worst}");
    }
}

/// Where the sound begins, seconds.
fn onset(samples: &[f32], rate: f64) -> f64 {
    samples.iter().position(|v| v.abs() > 0.01).unwrap() as f64 / rate
}

#[test]
fn sound_is_placed_against_the_first_picture() {
    let tone = "-f lavfi -i sine=f=440:r=16000:d=2";
    let late = format!("{PICTURES} -itsoffset 0.5 {tone} -map 0 -map 1 {H264}");
    let early = format!("{tone} -itsoffset 0.48 {PICTURES} -map 1 -map 0 -fps_mode passthrough {H264}");
    for (name, line, begins, seconds, slack) in [
        ("late.mkv", format!("{late} -c:a pcm_s16le"), 0.5, 2.5, 2e-3f64),
        ("late.mp4", format!("{late} -c:a aac"), 0.5, 2.5, 0.1),
        ("early.mkv", format!("{early} -c:a pcm_s16le"), 0.0, 1.52, 2e-3),
        ("early.mp4", format!("{early} -c:a aac"), 0.0, 1.52, 0.1),
    ] {
        let Some((_folder, path)) = made(name, &line) else {
            return;
        };
        let wave = read_audio_16k(&path, &ALL, &Limits::default()).unwrap();
        let at = onset(&wave.samples, 16000.0);
        assert!(
            (at - begins).abs() < slack.min(0.03),
            "{name}: sound begins at {at}"
        );
        assert!(
            (wave.samples.len() as f64 / 16000.0 - seconds).abs() < slack,
            "{name}: {}",
            wave.samples.len()
        );
        let pcm = read_audio(&path, &ALL, &Limits::default()).unwrap();
        let at = onset(&pcm.samples, f64::from(pcm.rate * pcm.channels));
        assert!(
            (at - begins).abs() < slack.min(0.03),
            "{name}: sound begins at {at}"
        );
        assert_eq!(frames(&path, &ALL).unwrap().times[0], 0.0, "{name}");
    }
}
