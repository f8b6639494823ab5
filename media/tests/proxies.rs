//! Proxies: size, rate, sound, and the same bytes every time.
#![cfg(feature = "ffmpeg")]

use crate::support;
use omni_media::{Limits, ProxyForm, Span, can_make_proxies, probe, proxy, read_audio_16k};
use std::{fs, path::PathBuf};

const FORM: ProxyForm = ProxyForm {
    short_side: 120,
    fps: 4.0,
    crf: 28,
};

/// A clip of two seconds, 320 x 240, 25 pictures a second, with a tone.
fn clip(dir: &tempfile::TempDir) -> Option<PathBuf> {
    if let Err(error) = can_make_proxies() {
        println!("skipped: {error}");
        return None;
    }
    let path = dir.path().join("clip.mp4");
    if !support::has_ffmpeg() {
        return None;
    }
    let line = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2 -f lavfi \
        -i sine=frequency=440:sample_rate=44100:duration=2 -pix_fmt yuv420p";
    support::ffmpeg(line, &path).then_some(path)
}

#[test]
fn a_proxy_is_small_has_all_of_the_sound_and_is_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(&dir) else { return };
    let (span, limits) = (Span::default(), Limits::default());
    let made = proxy(&path, &span, &limits, &FORM).unwrap();
    assert_eq!((made.width, made.height, made.pictures), (160, 120, 8));
    assert_eq!(
        proxy(&path, &span, &limits, &FORM).unwrap(),
        made,
        "byte for byte"
    );
    // A moment later, under another name: neither dates nor names are in it.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let other = dir.path().join("other.mp4");
    fs::copy(&path, &other).unwrap();
    assert!(proxy(&other, &span, &limits, &FORM).unwrap().mp4 == made.mp4);

    let copy = dir.path().join("proxy.mp4");
    fs::write(&copy, &made.mp4).unwrap();
    let found = probe(&copy, &span, &limits).unwrap();
    let (video, audio) = (found.video.unwrap(), found.audio.unwrap());
    assert_eq!((video.width, video.height, video.frames), (160, 120, 8));
    assert_eq!(
        (video.codec.as_str(), video.fps_num, video.fps_den),
        ("h264", 4, 1)
    );
    assert_eq!(
        (audio.codec.as_str(), audio.rate, audio.channels),
        ("aac", 16_000, 1)
    );
    let (given, heard) = (
        read_audio_16k(&path, &span, &limits).unwrap(),
        read_audio_16k(&copy, &span, &limits).unwrap(),
    );
    assert_eq!(made.sound, given);
    let seconds = |samples: usize| samples as f64 / 16_000.0;
    assert!((seconds(heard.samples.len()) - seconds(given.samples.len())).abs() < 0.1);
    assert!(made.mp4.len() < 100_000, "{}", made.mp4.len());
}

#[test]
fn a_span_is_the_whole_of_its_proxy_and_slow_clips_repeat_their_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(&dir) else { return };
    let span = Span {
        start: Some(0.5),
        end: Some(1.5),
    };
    let made = proxy(&path, &span, &Limits::default(), &FORM).unwrap();
    assert_eq!((made.pictures, made.sound.samples.len()), (4, 16_000));
    let fast = ProxyForm { fps: 50.0, ..FORM };
    let made = proxy(&path, &span, &Limits::default(), &fast).unwrap();
    assert!((47..=50).contains(&made.pictures), "{}", made.pictures);
}

#[test]
fn what_is_no_clip_has_its_own_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.mp4");
    let reason = |path: &PathBuf| {
        let made = proxy(path, &Span::default(), &Limits::default(), &FORM);
        made.unwrap_err().reason()
    };
    assert_eq!(reason(&path), "not_found");
    fs::write(&path, b"no media at all").unwrap();
    assert!(["unsupported", "unreadable"].contains(&reason(&path)));
}

const OF: &str = "OMNI_TEST_PROXY_OF";

/// Does nothing when it is not run by the test below.
#[test]
fn child_makes_a_proxy() {
    let Some(path) = std::env::var_os(OF).map(PathBuf::from) else {
        return;
    };
    let form = ProxyForm {
        short_side: 480,
        ..FORM
    };
    let made = proxy(&path, &Span::default(), &Limits::default(), &form).unwrap();
    fs::write(path.with_extension("proxy"), made.mp4).unwrap();
}

/// An answer of a service is found again by the bytes that were sent: what memory held before must not be in them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn what_memory_held_before_is_not_in_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = clip(&dir) else { return };
    let made = ["0", "1", "2", "5"].map(|fill| {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "proxies::child_makes_a_proxy"])
            .env(OF, &path)
            // The C library fills memory that it hands out, and that it takes back, with another byte each time.
            .env("MALLOC_PERTURB_", fill)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let proxy = path.with_extension("proxy");
        let bytes = fs::read(&proxy).unwrap();
        fs::remove_file(&proxy).unwrap();
        bytes
    });
    assert!(made.iter().all(|bytes| *bytes == made[0]), "the bytes differ");
}
