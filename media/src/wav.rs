//! WAV out: 16-bit mono, the form that speech services and other tools take.

use crate::Waveform;

/// Encodes a waveform as a 16-bit mono WAV file (44-byte header).
///
/// Samples are rounded to the nearest step of 1/32768 and limited to full scale, so that sound read with
/// [`read_audio_16k`](crate::read_audio_16k) comes back bit for bit. Not-a-number becomes silence.
/// Sound beyond the 4 GiB of the format (37 hours at 16 kHz) is cut there.
pub fn wav_s16(wave: &Waveform) -> Vec<u8> {
    let most = (u32::MAX as usize - 36) / 2;
    let samples = &wave.samples[..wave.samples.len().min(most)];
    let size = (samples.len() * 2) as u32;
    let mut bytes = Vec::with_capacity(44 + samples.len() * 2);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + size).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&16u32.to_le_bytes());
    bytes.extend_from_slice(&1u16.to_le_bytes());
    bytes.extend_from_slice(&1u16.to_le_bytes());
    bytes.extend_from_slice(&wave.rate.to_le_bytes());
    bytes.extend_from_slice(&wave.rate.saturating_mul(2).to_le_bytes());
    bytes.extend_from_slice(&2u16.to_le_bytes());
    bytes.extend_from_slice(&16u16.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&size.to_le_bytes());
    for &sample in samples {
        bytes.extend_from_slice(&to_s16(sample).to_le_bytes());
    }
    bytes
}

/// `as` saturates and turns not-a-number into 0.
fn to_s16(sample: f32) -> i16 {
    (sample * 32768.0).round_ties_even() as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loud_and_broken_samples_stay_in_range() {
        let got: Vec<i16> = [1.0, -1.0, 2.0, -9.0, f32::NAN, f32::INFINITY, 0.5]
            .map(to_s16)
            .to_vec();
        assert_eq!(got, [32767, -32768, 32767, -32768, 0, 32767, 16384]);
    }

    proptest! {
        #[test]
        fn another_reader_gets_the_same_samples(values in proptest::collection::vec(any::<i16>(), 0..300), rate in 8000u32..96001) {
            let wave = Waveform { rate, samples: values.iter().map(|&v| f32::from(v) / 32768.0).collect() };
            let mut reader = hound::WavReader::new(std::io::Cursor::new(wav_s16(&wave))).unwrap();
            prop_assert_eq!(reader.spec(), hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int });
            prop_assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), values);
        }
    }
}
