//! Frames of any rate as pictures of a constant rate: what SyncNet and the binding of mouths look at.
//!
//! The rule is that of FFmpeg's `fps` filter (specs: 25 pictures a second): frame `i` starts at output
//! `floor(i * to / fps + 1/2)`, in exact numbers; output `k` shows the last frame that has started. A frame of a clip
//! of uneven rate starts where its time says.

use std::ops::Range;

use omni_media::{Frame, Image, VideoInfo};
use omni_pipeline::Fault;

/// Turns frames, one after the other, into output pictures; holds one frame.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Frames a second, as a fraction.
    rate: (i128, i128),
    /// Whether the steps from frame to frame are equal.
    even: bool,
    /// Output pictures a second.
    to: i64,
    seen: u64,
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    image: Image,
    start: usize,
    seconds: f64,
}

/// What is done with an output picture: its numbers, several for a frame that is shown repeatedly, and the picture.
pub type Give<'a> = dyn FnMut(Range<usize>, &Image) -> Result<(), Fault> + 'a;

impl Grid {
    /// For a clip, at `to` pictures a second.
    pub fn new(video: &VideoInfo, to: i64) -> Grid {
        Grid {
            rate: (i128::from(video.fps_num.max(1)), i128::from(video.fps_den.max(1))),
            even: !video.variable_rate,
            to,
            seen: 0,
            held: None,
        }
    }

    /// Takes the next frame, and gives the one before if it is shown at all.
    ///
    /// # Errors
    /// Whatever `give` returns.
    pub fn push(&mut self, frame: &Frame<'_>, give: &mut Give<'_>) -> Result<(), Fault> {
        let (number, seconds) = (self.seen, frame.seconds);
        self.seen += 1;
        let earliest = self.held.as_ref().map_or(0, |held| held.start);
        let start = self.start(number, seconds).max(earliest);
        if let Some(held) = &self.held
            && held.start < start
        {
            give(held.start..start, &held.image)?;
        }
        let image = match self.held.take() {
            Some(mut held) => {
                held.image.clone_from(frame.image);
                held.image
            }
            None => frame.image.clone(),
        };
        self.held = Some(Held {
            image,
            start,
            seconds,
        });
        Ok(())
    }

    /// Gives the last frame, which ends one frame's length after it began, and begins anew.
    ///
    /// # Errors
    /// Whatever `give` returns.
    pub fn end(&mut self, give: &mut Give<'_>) -> Result<(), Fault> {
        if let Some(held) = self.held.take() {
            let end = self.start(self.seen, held.seconds + 1.0 / self.fps());
            if held.start < end {
                give(held.start..end, &held.image)?;
            }
        }
        self.seen = 0;
        Ok(())
    }

    fn fps(&self) -> f64 {
        self.rate.0 as f64 / self.rate.1 as f64
    }

    fn start(&self, number: u64, seconds: f64) -> usize {
        if !self.even {
            return (seconds * self.to as f64 + 0.5).floor().max(0.0) as usize;
        }
        let (num, step) = (self.rate.0, i128::from(self.to) * self.rate.1);
        usize::try_from((2 * i128::from(number) * step + num) / (2 * num)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_media::fps_map;

    fn image(level: u8) -> Image {
        Image {
            width: 1,
            height: 1,
            data: vec![level; 3],
        }
    }

    fn video(fps_num: i64, fps_den: i64, variable_rate: bool) -> VideoInfo {
        VideoInfo {
            width: 1,
            height: 1,
            fps_num,
            fps_den,
            frames: 120,
            seconds: 1.0,
            rotation: 0,
            codec: String::new(),
            variable_rate,
        }
    }

    /// Which frame each output picture shows, for frames at these times.
    fn shown(video: &VideoInfo, times: &[f64]) -> Vec<usize> {
        let mut grid = Grid::new(video, 25);
        let mut out = Vec::new();
        let mut give = |slots: Range<usize>, image: &Image| {
            assert_eq!(slots.start, out.len());
            out.extend(slots.map(|_| usize::from(image.data[0])));
            Ok(())
        };
        for (i, seconds) in times.iter().enumerate() {
            let image = image(i as u8);
            let frame = Frame {
                image: &image,
                bt601: None,
                index: i as u64,
                seconds: *seconds,
            };
            grid.push(&frame, &mut give).unwrap();
        }
        grid.end(&mut give).unwrap();
        out
    }

    #[test]
    fn a_constant_rate_gives_the_map_of_the_fps_filter() {
        for (num, den) in [
            (25, 1),
            (24, 1),
            (30, 1),
            (30000, 1001),
            (60, 1),
            (50, 1),
            (12, 1),
            (16, 1),
            (24000, 1001),
        ] {
            let times: Vec<f64> = (0..120).map(|i| f64::from(i) * den as f64 / num as f64).collect();
            assert_eq!(
                shown(&video(num, den, false), &times),
                fps_map(120, num, den, 25),
                "{num}/{den}"
            );
        }
    }

    #[test]
    fn frames_of_an_uneven_clip_stay_at_their_times() {
        // Twenty frames a second on average: of 25, each fifth is lacking, and the one before it stays.
        let times: Vec<f64> = (0..50)
            .filter(|i| i % 5 != 3)
            .map(|i| f64::from(i) / 25.0)
            .collect();
        let got = shown(&video(20, 1, true), &times);
        assert_eq!(&got[20..30], [16, 17, 18, 18, 19, 20, 21, 22, 22, 23]);
        assert_eq!(got.len(), 50);
    }
}
