//! Faces followed from frame to frame, and how their mouths move: what `av_offset` and `binding` are made from.

use omni_media::{Frame, VideoInfo};
use omni_perception::vision::{Face, iou, motion::MotionMeter};

/// Overlap from one frame to the next that makes it the same face.
const SAME: f32 = 0.3;
/// Clips of more frames a second are looked at 25 times a second: pictures of a fast clip are often shown twice, and between
/// two equal ones nothing moves.
const FAST: f64 = 31.0;

/// The mouths of a clip.
#[derive(Debug)]
pub struct Mouths {
    /// Slots of time a second.
    fps: f64,
    /// The slot of the last frame that was looked at.
    slot: Option<usize>,
    /// Frames that were looked at.
    looked: usize,
    list: Vec<Mouth>,
}

/// One face followed from frame to frame.
#[derive(Debug)]
struct Mouth {
    bbox: [f32; 4],
    /// Number of the frame, of those looked at, in which it was seen last.
    last: usize,
    meter: MotionMeter,
    /// By slot of time; unknown where the face was not seen twice in a row, or no frame lies in the slot.
    motion: Vec<Option<f64>>,
}

impl Mouths {
    /// For a clip, at its own frame rate.
    pub fn new(video: &VideoInfo) -> Mouths {
        let fps = video.fps_num as f64 / video.fps_den as f64;
        Mouths {
            fps: if fps > FAST { 25.0 } else { fps },
            slot: None,
            looked: 0,
            list: Vec::new(),
        }
    }

    /// Slots of time a second.
    pub fn fps(&self) -> f64 {
        self.fps
    }

    /// Slots so far.
    pub fn slots(&self) -> usize {
        self.slot.map_or(0, |slot| slot + 1)
    }

    /// The slot of a frame, by its time and not by its number, so that a clip of uneven frame rate stays beside its sound;
    /// `None` when a frame of that slot was looked at.
    pub fn slot(&self, frame: &Frame<'_>) -> Option<usize> {
        let slot = (frame.seconds * self.fps).round().max(0.0) as usize;
        self.slot.is_none_or(|last| slot > last).then_some(slot)
    }

    /// Takes the faces of the next frame; the number of each one's mouth.
    pub fn look(&mut self, frame: &Frame<'_>, faces: &[Face], slot: usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        for face in faces {
            let number = self.mouth(face);
            self.list[number].follow(frame, face, slot);
            numbers.push(number);
        }
        (self.slot, self.looked) = (Some(slot), self.looked + 1);
        numbers
    }

    /// How each mouth moved since the frame before, less the upper face, in levels of 0..255; by slot.
    pub fn motions(&self) -> Vec<&[Option<f64>]> {
        self.list.iter().map(|mouth| mouth.motion.as_slice()).collect()
    }

    /// The mouth of a face that was there in the frame before, or a new one.
    fn mouth(&mut self, face: &Face) -> usize {
        let now = self.looked;
        let near = |mouth: &Mouth| match mouth.last + 1 == now {
            true => iou(&mouth.bbox, &face.bbox),
            false => 0.0,
        };
        let best = (0..self.list.len()).max_by(|&a, &b| near(&self.list[a]).total_cmp(&near(&self.list[b])));
        let known = best.filter(|&i| near(&self.list[i]) > SAME);
        let at = known.unwrap_or_else(|| {
            self.list.push(Mouth {
                bbox: face.bbox,
                last: now,
                meter: MotionMeter::new(),
                motion: Vec::new(),
            });
            self.list.len() - 1
        });
        self.list[at].last = now;
        at
    }
}

impl Mouth {
    fn follow(&mut self, frame: &Frame<'_>, face: &Face, slot: usize) {
        self.bbox = face.bbox;
        let (mouth, upper) = self.meter.push(frame.image, face);
        self.motion.resize(slot, None);
        self.motion
            .push(mouth.zip(upper).map(|(mouth, upper)| f64::from(mouth - upper)));
    }
}
