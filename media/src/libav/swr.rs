//! swresample with its defaults, from whatever the decoder gives to interleaved samples.

use ff::ChannelLayout;
use ff::ffi;
use ff::format::Sample;
use ff::format::sample::Type::Packed;
use ff::software::resampling;
use ffmpeg_next as ff;

/// Most channels: layouts beyond have no defined downmix here.
const MAX_CHANNELS: u16 = 64;
/// Rates outside are damage; swresample's filter grows with the ratio (gigabytes at the largest rates a header can name).
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;

/// What comes out.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// 16-bit mono at 16 kHz, as `ffmpeg -ac 1 -ar 16000 -c:a pcm_s16le` makes it.
    Speech,
    /// f32 with the first frame's rate and channels.
    Full {
        /// Frames per second.
        rate: u32,
        /// Channels.
        channels: u16,
    },
}

impl Form {
    pub(super) fn rate(self) -> u32 {
        match self {
            Self::Speech => 16000,
            Self::Full { rate, .. } => rate,
        }
    }

    pub(super) fn channels(self) -> u16 {
        match self {
            Self::Speech => 1,
            Self::Full { channels, .. } => channels,
        }
    }

    fn sample(self) -> Sample {
        match self {
            Self::Speech => Sample::I16(Packed),
            Self::Full { .. } => Sample::F32(Packed),
        }
    }
}

/// Format, rate, channel mask and channels of a decoded frame.
type Source = (Sample, u32, u64, u16);

/// Converts frames one by one; a source that changes on the way is flushed and set up anew.
pub(super) struct Converter {
    form: Form,
    context: Option<(Source, resampling::Context)>,
    words: Vec<i16>,
    out: Vec<f32>,
}

impl Converter {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            context: None,
            words: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Converts a frame; what comes out stays valid until the next call.
    pub(super) fn convert(&mut self, frame: &ff::frame::Audio) -> Result<&[f32], ff::Error> {
        self.out.clear();
        let source = source(frame)?;
        if self.context.as_ref().is_none_or(|(known, _)| *known != source) {
            self.drain()?;
            self.context = Some((source, context(source, self.form)?));
        }
        self.step(Some(frame))?;
        Ok(&self.out)
    }

    /// What the filter still holds.
    pub(super) fn flush(&mut self) -> Result<&[f32], ff::Error> {
        self.out.clear();
        self.drain()?;
        Ok(&self.out)
    }

    fn drain(&mut self) -> Result<(), ff::Error> {
        while self.context.is_some() && self.step(None)? > 0 {}
        self.context = None;
        Ok(())
    }

    /// Runs the converter once and appends to `out`; returns the frames that came.
    #[expect(
        unsafe_code,
        reason = "the wrapper's run() refuses unordered channel layouts and allocates a frame per call"
    )]
    fn step(&mut self, frame: Option<&ff::frame::Audio>) -> Result<usize, ff::Error> {
        let Some((_, context)) = &mut self.context else {
            return Ok(0);
        };
        let count = frame.map_or(0, ff::frame::Audio::samples) as i32;
        let channels = usize::from(self.form.channels());
        // SAFETY: the context is live. The output buffer has room for `room` frames of all channels in the packed
        // format the context was made for. The input is a decoded frame whose format, rate and channels were compared
        // with the context's in `convert`; its `extended_data` holds one pointer per plane with `count` samples.
        let got = unsafe {
            let room = ffi::swr_get_out_samples(context.as_mut_ptr(), count).max(0) + 32;
            let length = room as usize * channels;
            self.words
                .resize(if self.form == Form::Speech { length } else { 0 }, 0);
            let before = self.out.len();
            self.out.resize(before + length, 0.0);
            let mut target = match self.form {
                Form::Speech => self.words.as_mut_ptr().cast::<u8>(),
                Form::Full { .. } => self.out[before..].as_mut_ptr().cast::<u8>(),
            };
            let input = frame.map_or(std::ptr::null_mut(), |frame| (*frame.as_ptr()).extended_data);
            let got = ffi::swr_convert(context.as_mut_ptr(), &mut target, room, input.cast(), count);
            let frames = got.max(0) as usize;
            self.out.truncate(before + frames * channels);
            if self.form == Form::Speech {
                self.out.truncate(before);
                self.out
                    .extend(self.words[..frames].iter().map(|&word| f32::from(word) / 32768.0));
            }
            got
        };
        if got < 0 {
            Err(ff::Error::from(got))
        } else {
            Ok(got as usize)
        }
    }
}

fn source(frame: &ff::frame::Audio) -> Result<Source, ff::Error> {
    let (rate, channels) = (frame.rate(), frame.channels());
    if !RATES.contains(&rate) || channels == 0 || channels > MAX_CHANNELS {
        return Err(ff::Error::InvalidData);
    }
    let given = frame.channel_layout();
    let layout = if given.channels() == i32::from(channels) {
        given
    } else {
        ChannelLayout::default(channels.into())
    };
    Ok((frame.format(), rate, layout.bits(), channels))
}

fn context((format, rate, layout, channels): Source, form: Form) -> Result<resampling::Context, ff::Error> {
    let layout = ChannelLayout::from_bits_truncate(layout);
    let target = match form {
        Form::Speech => ChannelLayout::MONO,
        Form::Full { channels: same, .. } if same == channels => layout,
        Form::Full { channels: other, .. } => ChannelLayout::default(other.into()),
    };
    if layout.channels() != i32::from(channels) || target.channels() != i32::from(form.channels()) {
        return Err(ff::Error::InvalidData);
    }
    resampling::Context::get(format, layout, rate, form.sample(), target, form.rate())
}
