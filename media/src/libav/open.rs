//! Opening a hostile file: one regular file, known containers only, bounded probing, and a clock that runs out.

use crate::identity::identity;
use crate::{Error, Limits, Span, Window};
use ff::ffi;
use ff::format::context::{Input, StreamIo};
use ff::format::stream::Disposition;
use ffmpeg_next as ff;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Containers that hold their own data. Playlists (hls, concat, dash, image2 ...) would pull in other files.
const CONTAINERS: &str = "mov,matroska,avi,mpeg,mpegts,flv,ogg,wav,w64,aiff,flac,mp3,aac,asf,ivf";
/// Largest packet: no frame or block of sound of a sane file comes near.
const MAX_PACKET: usize = 256 << 20;
/// Damaged packets in a row after which the file has ended.
const MAX_DAMAGED: u32 = 1000;

/// Runs out when nothing has moved for the limit's `stall`.
#[derive(Clone)]
pub(super) struct Clock {
    base: Instant,
    touched: Arc<AtomicU64>,
    stall: Duration,
}

impl Clock {
    fn new(stall: Duration) -> Self {
        Self {
            base: Instant::now(),
            touched: Arc::default(),
            stall,
        }
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.touched
            .store(self.base.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn expired(&self) -> bool {
        let idle = self
            .base
            .elapsed()
            .saturating_sub(Duration::from_millis(self.touched.load(Ordering::Relaxed)));
        idle > self.stall
    }
}

/// The file as FFmpeg sees it: every read looks at the clock.
struct Guarded {
    file: Window,
    clock: Clock,
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.clock.expired() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.file.read(buffer)
    }
}

impl Seek for Guarded {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// A file opened for demuxing.
pub(super) struct Media {
    pub(super) path: PathBuf,
    pub(super) input: Input,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) bytes: u64,
    pub(super) identity: String,
    /// Packets that the demuxer had to throw away.
    pub(super) damaged: u64,
}

/// One chosen stream, in plain numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Track {
    pub(super) index: usize,
    /// Seconds per tick.
    pub(super) tick: f64,
    /// First timestamp, seconds on the file's own clock.
    pub(super) start: Option<f64>,
    /// Frame rate (pictures only), reduced.
    pub(super) fps: (i64, i64),
}

impl Media {
    /// Opens one regular file. Anything longer than the limit (by its own word) is refused here.
    pub(super) fn open(path: &Path, span: &Span, limits: &Limits) -> Result<Self, Error> {
        ff::log::set_level(ff::log::Level::Quiet);
        let mut file = Window::open(path)?;
        let (bytes, identity) =
            identity(&mut file).map_err(|error| Error::unreadable(path, error.to_string()))?;
        if bytes == 0 {
            return Err(Error::unreadable(path, "is empty"));
        }
        let clock = Clock::new(limits.stall);
        let stream = StreamIo::from_read_seek(Guarded {
            file,
            clock: clock.clone(),
        });
        let stream = stream.map_err(|error| Error::unreadable(path, error.to_string()))?;
        let input = open_input(stream, limits).map_err(|refusal| refusal.explain(path, &clock))?;
        let media = Self {
            path: path.into(),
            input,
            clock,
            limits: *limits,
            bytes,
            identity,
            damaged: 0,
        };
        media.check_length(span)?;
        Ok(media)
    }

    /// Declared length of the whole file, seconds; none when it is only guessed from the bit rate.
    pub(super) fn declared(&self) -> Option<f64> {
        let duration = self.input.duration();
        (duration > 0 && !guessed(&self.input)).then(|| duration as f64 / f64::from(ffi::AV_TIME_BASE))
    }

    fn check_length(&self, span: &Span) -> Result<(), Error> {
        let Some(declared) = self.declared() else {
            return Ok(());
        };
        let end = span.end.unwrap_or(declared).min(declared);
        self.check_seconds(end - span.start.unwrap_or(0.0))
    }

    /// Fails when a clip of this length is over the limit.
    pub(super) fn check_seconds(&self, seconds: f64) -> Result<(), Error> {
        if seconds > self.limits.max_seconds {
            return Err(Error::TooLong {
                path: self.path.clone(),
                seconds,
                limit: self.limits.max_seconds,
            });
        }
        Ok(())
    }

    /// The stream of moving pictures: not cover art, not without a frame rate.
    pub(super) fn video(&self) -> Option<Track> {
        self.pick(ff::media::Type::Video)
    }

    /// The stream of sound.
    pub(super) fn audio(&self) -> Option<Track> {
        self.pick(ff::media::Type::Audio)
    }

    fn pick(&self, kind: ff::media::Type) -> Option<Track> {
        let best = self.input.streams().best(kind).map(|stream| stream.index());
        let all = self
            .input
            .streams()
            .filter(|stream| stream.parameters().medium() == kind)
            .map(|s| s.index());
        best.into_iter()
            .chain(all)
            .find_map(|index| self.track(index, kind))
    }

    fn track(&self, index: usize, kind: ff::media::Type) -> Option<Track> {
        let stream = self.input.stream(index)?;
        let still = Disposition::ATTACHED_PIC;
        let fps = [stream.avg_frame_rate(), stream.rate()]
            .into_iter()
            .find_map(positive)
            .unwrap_or((0, 1));
        if kind == ff::media::Type::Video && (fps.0 == 0 || stream.disposition().intersects(still)) {
            return None;
        }
        let tick = f64::from(stream.time_base());
        let seconds = |ticks: i64| (ticks != ffi::AV_NOPTS_VALUE).then_some(ticks as f64 * tick);
        let track = Track {
            index,
            tick,
            start: seconds(stream.start_time()),
            fps,
        };
        (tick > 0.0).then_some(track)
    }

    /// Where the clip's clock starts, on the file's own clock: the first picture, else the first sound.
    pub(super) fn origin(&self) -> f64 {
        let track = self.video().or_else(|| self.audio());
        track.and_then(|track| track.start).unwrap_or(0.0)
    }

    /// The next packet that is not damaged, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<ff::Packet>, Error> {
        let mut in_a_row = 0;
        loop {
            self.check_clock()?;
            let mut packet = ff::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.size() <= MAX_PACKET => return Ok(Some(packet)),
                Ok(()) | Err(ff::Error::InvalidData) => {
                    self.damaged += 1;
                    in_a_row += 1;
                    if in_a_row > MAX_DAMAGED {
                        return Ok(None);
                    }
                }
                Err(ff::Error::Eof) => return Ok(None),
                Err(ff::Error::Other { errno }) if errno == ff::util::error::EAGAIN => {}
                Err(error) => {
                    self.check_clock()?;
                    return Err(Error::unreadable(&self.path, error.to_string()));
                }
            }
        }
    }

    /// Fails once nothing has moved for the limit's `stall`.
    pub(super) fn check_clock(&self) -> Result<(), Error> {
        if self.clock.expired() {
            return Err(Error::Stalled {
                path: self.path.clone(),
                seconds: self.limits.stall.as_secs_f64(),
            });
        }
        Ok(())
    }

    /// Moves to the last key frame before `seconds` on the file's own clock; whether that worked.
    pub(super) fn seek(&mut self, seconds: f64) -> bool {
        let target = (seconds * f64::from(ffi::AV_TIME_BASE)) as i64;
        self.input.seek(target, ..target).is_ok()
    }
}

/// A positive fraction, reduced.
fn positive(rate: ff::Rational) -> Option<(i64, i64)> {
    let (num, den) = (i64::from(rate.numerator()), i64::from(rate.denominator()));
    let divisor = gcd(num, den);
    (num > 0 && den > 0).then(|| (num / divisor, den / divisor))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs().max(1) } else { gcd(b, a % b) }
}

/// Largest picture that a decoder may allocate, as FFmpeg's option: codecs store whole blocks of up to 64 x 64, so the
/// stored picture is larger than the shown one, whose size is checked exactly.
pub(super) fn coded_pixels(limits: &Limits) -> String {
    let pixels = limits.max_pixels.saturating_mul(2).saturating_add(1 << 16);
    pixels.min(i32::MAX as u64).to_string()
}

/// Why FFmpeg did not open the file.
enum Refusal {
    Code(i32),
    Pixels(u64),
}

impl Refusal {
    fn explain(self, path: &Path, clock: &Clock) -> Error {
        if clock.expired() {
            return Error::Stalled {
                path: path.into(),
                seconds: clock.stall.as_secs_f64(),
            };
        }
        match self {
            Self::Pixels(pixels) => too_large(path, pixels),
            Self::Code(code) if code == ffi::AVERROR(ffi::EINVAL) => Error::Unsupported {
                path: path.into(),
                message: "is in a container that is not read here".into(),
            },
            Self::Code(code) => {
                Error::unreadable(path, format!("cannot be read ({})", ff::Error::from(code)))
            }
        }
    }
}

/// The error for pictures beyond the limit.
pub(super) fn too_large(path: &Path, pixels: u64) -> Error {
    Error::TooLarge {
        path: path.into(),
        message: format!("has pictures of {pixels} pixels"),
    }
}

/// `avformat_open_input` and `avformat_find_stream_info` with what the safe wrapper cannot pass on: the largest
/// picture that the probing decoders may allocate.
#[expect(
    unsafe_code,
    reason = "the wrapper's open functions give no options to the probing decoders"
)]
fn open_input(mut stream: StreamIo, limits: &Limits) -> Result<Input, Refusal> {
    let options = [
        ("format_whitelist", CONTAINERS),
        ("protocol_whitelist", "none"),
        ("max_streams", "64"),
        ("probesize", "5000000"),
        ("fpsprobesize", "50"),
    ];
    // SAFETY: the context is allocated here, gets the stream's live AVIOContext, and is handed to FFmpeg, which frees
    // it (not the stream: custom IO) and nulls the pointer when opening fails. The dictionary is taken over by
    // `disown` and given back by `own`, which frees it. A null file name is allowed.
    let context = unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(Refusal::Code(ffi::AVERROR(ffi::ENOMEM)));
        }
        (*context).pb = stream.as_mut_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut dictionary = ff::Dictionary::from_iter(options).disown();
        let code =
            ffi::avformat_open_input(&mut context, std::ptr::null(), std::ptr::null(), &mut dictionary);
        drop(ff::Dictionary::own(dictionary));
        if code < 0 {
            return Err(Refusal::Code(code));
        }
        context
    };
    // SAFETY: the context is open and owned by nobody else; `Input` takes it and the stream it reads from.
    let mut input = unsafe { Input::wrap_with_custom_io(context, stream) };
    check_pixels(&input, limits)?;
    find_streams(&mut input, limits)?;
    check_pixels(&input, limits)?;
    Ok(input)
}

#[expect(unsafe_code, reason = "the wrapper has no call for this")]
fn find_streams(input: &mut Input, limits: &Limits) -> Result<(), Refusal> {
    let pixels = coded_pixels(limits);
    let one = || ff::Dictionary::from_iter([("max_pixels", pixels.as_str()), ("threads", "1")]);
    let mut options: Vec<_> = (0..input.nb_streams()).map(|_| one()).collect();
    // SAFETY: FFmpeg wants one dictionary per stream known so far and may replace each of them; they are taken out of
    // their owners before and given back after, so that each is freed once.
    let code = unsafe {
        let mut raw: Vec<_> = options.drain(..).map(|dictionary| dictionary.disown()).collect();
        let code = ffi::avformat_find_stream_info(input.as_mut_ptr(), raw.as_mut_ptr());
        raw.into_iter()
            .for_each(|dictionary| drop(ff::Dictionary::own(dictionary)));
        code
    };
    if code < 0 {
        Err(Refusal::Code(code))
    } else {
        Ok(())
    }
}

/// Sizes that the container (or the probing) names, before a decoder of ours exists.
#[expect(
    unsafe_code,
    reason = "the wrapper does not show the size in the codec parameters"
)]
fn check_pixels(input: &Input, limits: &Limits) -> Result<(), Refusal> {
    for stream in input.streams() {
        let parameters = stream.parameters();
        // SAFETY: the parameters belong to the stream and live as long as the input.
        let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
        let pixels = u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs());
        if pixels > limits.max_pixels {
            return Err(Refusal::Pixels(pixels));
        }
    }
    Ok(())
}

/// Whether the duration is only a guess from the bit rate.
#[expect(unsafe_code, reason = "the wrapper does not show this field")]
fn guessed(input: &Input) -> bool {
    // SAFETY: the context is open.
    let method = unsafe { (*input.as_ptr()).duration_estimation_method };
    method == ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE
}
