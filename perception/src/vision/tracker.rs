//! Follows faces through a clip and says which tracks are one person.
//!
//! Pure: it sees boxes and asks for a face's vector through a callback; it reads no pictures and runs no networks.
//! Per frame the faces are matched one to one with the tracks by overlap; where overlap cannot tell (after a gap, two
//! near candidates, nothing overlaps) the vectors decide. A cut ends every track.

use super::hungarian::assign_max;
use super::{Face, cosine, iou};
use crate::Error;

/// Settings of [`Tracker`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TrackSettings {
    /// Frames per second of the clip: seconds below become frames with it.
    pub fps: f64,
    /// A face may be away this long, in seconds.
    pub max_gap: f64,
    /// A track's vector is taken again after this many seconds.
    pub embed_every: f64,
    /// Overlap above which a face continues a track.
    pub overlap: f32,
    /// Overlap that is enough when there is no other candidate and the centres are near (fast motion).
    pub loose_overlap: f32,
    /// Cosine above which two vectors are the same person: the embedder's own threshold.
    pub threshold: f32,
    /// Tracks with fewer detections are dropped.
    pub min_frames: usize,
    /// Tracks whose mean score is lower are dropped.
    pub min_score: f32,
}

impl Default for TrackSettings {
    fn default() -> TrackSettings {
        TrackSettings {
            fps: 25.0,
            max_gap: 1.0,
            embed_every: 0.5,
            overlap: 0.5,
            loose_overlap: 0.3,
            threshold: 0.4,
            min_frames: 8,
            min_score: 0.65,
        }
    }
}

/// One face followed within one shot.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTrack {
    /// Number of the shot, from 0.
    pub shot: usize,
    /// Frame numbers (rising) and the face there.
    pub frames: Vec<(u64, Face)>,
    /// Frame numbers and the unit vectors taken there.
    pub vectors: Vec<(u64, Vec<f32>)>,
}

impl RawTrack {
    /// Mean of the vectors (not of unit length); `None` without any.
    pub fn mean_vector(&self) -> Option<Vec<f32>> {
        let mut sum = self.vectors.first()?.1.clone();
        for (_, vector) in &self.vectors[1..] {
            sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v);
        }
        let count = self.vectors.len() as f32;
        sum.iter_mut().for_each(|s| *s /= count);
        Some(sum)
    }

    /// Mean score of the detections.
    pub fn mean_score(&self) -> f32 {
        self.frames.iter().map(|(_, face)| face.score).sum::<f32>() / self.frames.len().max(1) as f32
    }

    fn span(&self) -> (u64, u64) {
        (
            self.frames.first().map_or(0, |f| f.0),
            self.frames.last().map_or(0, |f| f.0),
        )
    }
}

/// The callback that turns a face of the current frame into a vector; `None` where that is not possible.
pub type Embed<'a> = dyn FnMut(&Face) -> Result<Option<Vec<f32>>, Error> + 'a;

/// Follows faces; feed it every looked-at frame in order.
#[derive(Clone, Debug)]
pub struct Tracker {
    settings: TrackSettings,
    shot: usize,
    last_frame: Option<u64>,
    open: Vec<RawTrack>,
    closed: Vec<RawTrack>,
}

/// The faces of one frame with the vectors asked for so far.
struct Now<'a, 'b> {
    frame: u64,
    faces: Vec<Face>,
    vectors: Vec<Option<Option<Vec<f32>>>>,
    embed: &'a mut Embed<'b>,
}

impl Now<'_, '_> {
    /// The face's vector, asked for once.
    fn vector(&mut self, face: usize) -> Result<Option<&Vec<f32>>, Error> {
        if self.vectors[face].is_none() {
            self.vectors[face] = Some((self.embed)(&self.faces[face])?);
        }
        Ok(self.vectors[face].as_ref().and_then(Option::as_ref))
    }
}

impl Tracker {
    /// A tracker at the start of a clip.
    pub fn new(settings: TrackSettings) -> Tracker {
        Tracker {
            settings,
            shot: 0,
            last_frame: None,
            open: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Takes the faces of one frame; `cut` says that this frame, or one left out before it, starts a new shot.
    ///
    /// # Errors
    /// What `embed` returns, and [`Error::Input`] when frames do not come in rising order.
    pub fn push(
        &mut self,
        frame: u64,
        faces: Vec<Face>,
        embed: &mut Embed<'_>,
        cut: bool,
    ) -> Result<(), Error> {
        if self.last_frame.is_some_and(|last| frame <= last) {
            return Err(Error::Input(format!("frame {frame} came twice or too late")));
        }
        self.retire(frame, cut);
        let count = faces.len();
        let mut now = Now {
            frame,
            faces,
            vectors: vec![None; count],
            embed,
        };
        let mut owner = vec![None; count];
        self.match_by_overlap(&mut now, &mut owner)?;
        self.match_by_vector(&mut now, &mut owner)?;
        self.store(&mut now, &owner)?;
        self.last_frame = Some(frame);
        Ok(())
    }

    /// Every track that is long and sure enough, by first frame and then from left to right.
    pub fn finish(mut self) -> Vec<RawTrack> {
        self.closed.append(&mut self.open);
        let (frames, score) = (self.settings.min_frames, self.settings.min_score);
        self.closed
            .retain(|track| track.frames.len() >= frames && track.mean_score() >= score);
        self.closed.sort_by(|a, b| {
            order(a)
                .partial_cmp(&order(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        self.closed
    }

    fn retire(&mut self, frame: u64, cut: bool) {
        let gap = (self.settings.max_gap * self.settings.fps).round().max(1.0) as u64;
        let (closed, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|t| cut || frame.saturating_sub(t.span().1) > gap);
        self.open = open;
        self.closed.extend::<Vec<RawTrack>>(closed);
        if cut && self.last_frame.is_some() {
            self.shot += 1;
        }
    }

    /// Tracks seen in the frame before, by overlap; faces with two near candidates also show their vectors.
    fn match_by_overlap(&mut self, now: &mut Now<'_, '_>, owner: &mut [Option<usize>]) -> Result<(), Error> {
        let fresh: Vec<usize> = (0..self.open.len())
            .filter(|&t| Some(self.open[t].span().1) == self.last_frame)
            .collect();
        let overlaps: Vec<Vec<f32>> = fresh
            .iter()
            .map(|&t| {
                now.faces
                    .iter()
                    .map(|face| {
                        self.open[t]
                            .frames
                            .last()
                            .map_or(0.0, |l| iou(&l.1.bbox, &face.bbox))
                    })
                    .collect()
            })
            .collect();
        let mut weights = vec![vec![f64::NEG_INFINITY; now.faces.len()]; fresh.len()];
        for (row, &track) in fresh.iter().enumerate() {
            for face in 0..now.faces.len() {
                let overlap = overlaps[row][face];
                let rivals = rivals(&overlaps, row, face);
                if !self.admits(track, &now.faces[face], overlap, rivals.is_empty()) {
                    continue;
                }
                let mut weight = f64::from(overlap);
                if rivals.iter().any(|rival| (rival - overlap).abs() < 0.25) {
                    weight += self.likeness(track, now, face)?.map_or(0.0, f64::from);
                }
                weights[row][face] = weight;
            }
        }
        for (row, face) in assign_max(fresh.len(), now.faces.len(), |r, f| weights[r][f]) {
            if weights[row][face].is_finite() {
                owner[face] = Some(fresh[row]);
            }
        }
        Ok(())
    }

    /// Whether overlap alone lets a face continue a track.
    fn admits(&self, track: usize, face: &Face, overlap: f32, alone: bool) -> bool {
        if overlap > self.settings.overlap {
            return true;
        }
        let Some((_, last)) = self.open[track].frames.last() else {
            return false;
        };
        let centre = |b: &[f32; 4]| ((b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0);
        let ((ax, ay), (bx, by)) = (centre(&last.bbox), centre(&face.bbox));
        let size = last.area().max(face.area()).sqrt();
        alone && overlap > self.settings.loose_overlap && (ax - bx).hypot(ay - by) < 0.6 * size
    }

    /// Cosine of a face with a track; `None` when either has no vector.
    fn likeness(&self, track: usize, now: &mut Now<'_, '_>, face: usize) -> Result<Option<f32>, Error> {
        let Some(mean) = self.open[track].mean_vector() else {
            return Ok(None);
        };
        Ok(now.vector(face)?.map(|vector| cosine(vector, &mean)))
    }

    /// Faces left over against tracks left over (lost ones too), by vector.
    fn match_by_vector(&mut self, now: &mut Now<'_, '_>, owner: &mut [Option<usize>]) -> Result<(), Error> {
        let faces: Vec<usize> = (0..owner.len()).filter(|&f| owner[f].is_none()).collect();
        let tracks: Vec<usize> = (0..self.open.len())
            .filter(|&t| !owner.contains(&Some(t)))
            .collect();
        let mut weights = vec![vec![f64::NEG_INFINITY; faces.len()]; tracks.len()];
        for (row, &track) in tracks.iter().enumerate() {
            for (column, &face) in faces.iter().enumerate() {
                let near = self.open[track]
                    .frames
                    .last()
                    .map_or(0.0, |l| iou(&l.1.bbox, &now.faces[face].bbox));
                let alike = self.likeness(track, now, face)?;
                let same = match alike {
                    // In the same place a turned head may look less like itself.
                    Some(alike) if near > self.settings.overlap => alike > self.settings.threshold / 2.0,
                    Some(alike) => alike > self.settings.threshold,
                    None => near > self.settings.overlap,
                };
                if same {
                    weights[row][column] = f64::from(near) + f64::from(alike.unwrap_or(0.0));
                }
            }
        }
        for (row, column) in assign_max(tracks.len(), faces.len(), |r, c| weights[r][c]) {
            if weights[row][column].is_finite() {
                owner[faces[column]] = Some(tracks[row]);
            }
        }
        Ok(())
    }

    /// Writes the frame down: continued tracks, new tracks, and vectors where they are due.
    fn store(&mut self, now: &mut Now<'_, '_>, owner: &[Option<usize>]) -> Result<(), Error> {
        let every = (self.settings.embed_every * self.settings.fps).round().max(1.0) as u64;
        for (face, owner) in owner.iter().enumerate() {
            let track = owner.unwrap_or_else(|| {
                self.open.push(RawTrack {
                    shot: self.shot,
                    frames: Vec::new(),
                    vectors: Vec::new(),
                });
                self.open.len() - 1
            });
            let due = self.open[track]
                .vectors
                .last()
                .is_none_or(|(at, _)| now.frame - at >= every);
            let vector = if due || now.vectors[face].is_some() {
                now.vector(face)?.cloned()
            } else {
                None
            };
            self.open[track]
                .vectors
                .extend(vector.map(|vector| (now.frame, vector)));
            self.open[track].frames.push((now.frame, now.faces[face].clone()));
        }
        Ok(())
    }
}

/// Overlaps that compete with pair (row, face): other faces of that track, other tracks of that face.
fn rivals(overlaps: &[Vec<f32>], row: usize, face: usize) -> Vec<f32> {
    let faces = overlaps[row]
        .iter()
        .enumerate()
        .filter(|(f, _)| *f != face)
        .map(|(_, o)| *o);
    let tracks = overlaps
        .iter()
        .enumerate()
        .filter(|(r, _)| *r != row)
        .map(|(_, o)| o[face]);
    faces.chain(tracks).filter(|overlap| *overlap > 0.2).collect()
}

fn order(track: &RawTrack) -> (u64, f32) {
    track
        .frames
        .first()
        .map_or((0, 0.0), |(frame, face)| (*frame, face.bbox[0]))
}

/// Subject number of every track, from 1 by first appearance and then from left to right.
///
/// Groups of tracks that never overlap in time are joined, the most alike first, while the cosine of their summed
/// vectors is above `threshold`. Equal likeness joins the earlier tracks first, so the answer is always the same.
/// A track without vectors stays alone.
pub fn join(tracks: &[RawTrack], threshold: f32) -> Vec<usize> {
    let mut groups: Vec<(Vec<usize>, Option<Vec<f32>>)> = tracks
        .iter()
        .enumerate()
        .map(|(i, track)| (vec![i], track.mean_vector()))
        .collect();
    while let Some((a, b)) = most_alike(tracks, &groups, threshold) {
        let (members, sum) = groups.remove(b);
        groups[a].0.extend(members);
        if let (Some(to), Some(from)) = (groups[a].1.as_mut(), sum) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        }
    }
    let first = |group: &(Vec<usize>, Option<Vec<f32>>)| {
        group
            .0
            .iter()
            .map(|&t| order(&tracks[t]))
            .fold((u64::MAX, f32::MAX), |a, b| if b < a { b } else { a })
    };
    groups.sort_by(|a, b| {
        first(a)
            .partial_cmp(&first(b))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut numbers = vec![0; tracks.len()];
    for (number, (members, _)) in groups.iter().enumerate() {
        members.iter().for_each(|&track| numbers[track] = number + 1);
    }
    numbers
}

fn most_alike(
    tracks: &[RawTrack],
    groups: &[(Vec<usize>, Option<Vec<f32>>)],
    threshold: f32,
) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize, f32)> = None;
    for a in 0..groups.len() {
        for b in a + 1..groups.len() {
            let (Some(x), Some(y)) = (&groups[a].1, &groups[b].1) else {
                continue;
            };
            let alike = cosine(x, y);
            let better = alike > threshold && best.is_none_or(|(_, _, most)| alike > most);
            if better && !together(tracks, &groups[a].0, &groups[b].0) {
                best = Some((a, b, alike));
            }
        }
    }
    best.map(|(a, b, _)| (a, b))
}

/// Whether any two tracks of the groups are in the picture at the same time.
fn together(tracks: &[RawTrack], a: &[usize], b: &[usize]) -> bool {
    a.iter().any(|&x| {
        let (start, end) = tracks[x].span();
        b.iter()
            .any(|&y| tracks[y].span().0 <= end && start <= tracks[y].span().1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, person: usize) -> Face {
        // The person is written into a point, so that the fake embedder can see it.
        let mut points = [[x, 0.0]; 5];
        points[0][1] = person as f32;
        Face {
            bbox: [x, 0.0, x + 40.0, 50.0],
            score: 0.9,
            points,
        }
    }

    fn vector(face: &Face) -> Vec<f32> {
        let mut vector = vec![0.0; 4];
        vector[face.points[0][1] as usize] = 1.0;
        vector
    }

    fn run(frames: &[(u64, Vec<Face>, bool)]) -> (Vec<RawTrack>, usize) {
        let mut calls = 0;
        let mut tracker = Tracker::new(TrackSettings {
            min_frames: 2,
            ..TrackSettings::default()
        });
        for (frame, faces, cut) in frames {
            let mut embed = |face: &Face| {
                calls += 1;
                Ok(Some(vector(face)))
            };
            tracker.push(*frame, faces.clone(), &mut embed, *cut).unwrap();
        }
        (tracker.finish(), calls)
    }

    #[test]
    fn two_people_side_by_side_are_two_tracks_with_few_vectors() {
        let frames: Vec<_> = (0..50)
            .map(|t| (t, vec![face(t as f32, 0), face(200.0 - t as f32, 1)], false))
            .collect();
        let (tracks, calls) = run(&frames);
        assert_eq!(tracks.len(), 2);
        assert!(tracks.iter().all(|track| track.frames.len() == 50));
        assert_eq!(calls, 8, "for two faces at frames 0, 13, 26 and 39");
        assert_eq!(join(&tracks, 0.4), [1, 2]);
    }

    #[test]
    fn crossing_people_keep_their_own_tracks() {
        let frames: Vec<_> = (0..60)
            .map(|t| {
                (
                    t,
                    vec![face(3.0 * t as f32, 0), face(180.0 - 3.0 * t as f32, 1)],
                    false,
                )
            })
            .collect();
        let (tracks, _) = run(&frames);
        assert_eq!(tracks.len(), 2);
        for track in &tracks {
            let person = track.frames[0].1.points[0][1];
            assert!(track.frames.iter().all(|(_, face)| face.points[0][1] == person));
        }
    }

    #[test]
    fn a_short_absence_is_one_track_a_long_one_is_two_of_one_person() {
        let seen = |range: std::ops::Range<u64>, x: f32| range.map(move |t| (t, vec![face(x, 0)], false));
        let away = |range: std::ops::Range<u64>| range.map(|t| (t, vec![], false));
        let short: Vec<_> = seen(0..10, 0.0)
            .chain(away(10..30))
            .chain(seen(30..40, 90.0))
            .collect();
        assert_eq!(run(&short).0.len(), 1);
        let long: Vec<_> = seen(0..10, 0.0)
            .chain(away(10..60))
            .chain(seen(60..70, 90.0))
            .collect();
        let (tracks, _) = run(&long);
        assert_eq!((tracks.len(), join(&tracks, 0.4)), (2, vec![1, 1]));
    }

    #[test]
    fn another_person_in_the_same_place_after_a_gap_is_another_track() {
        let frames: Vec<_> = (0..30)
            .map(|t| {
                (
                    t,
                    if (10..15).contains(&t) {
                        vec![]
                    } else {
                        vec![face(0.0, usize::from(t >= 15))]
                    },
                    false,
                )
            })
            .collect();
        let (tracks, _) = run(&frames);
        assert_eq!((tracks.len(), join(&tracks, 0.4)), (2, vec![1, 2]));
    }

    #[test]
    fn a_cut_ends_every_track() {
        let frames: Vec<_> = (0..20).map(|t| (t, vec![face(0.0, 0)], t == 7)).collect();
        let (tracks, _) = run(&frames);
        assert_eq!(
            tracks.iter().map(|t| (t.shot, t.span())).collect::<Vec<_>>(),
            [(0, (0, 6)), (1, (7, 19))]
        );
        assert_eq!(join(&tracks, 0.4), [1, 1]);
    }

    #[test]
    fn short_or_unsure_tracks_are_dropped() {
        let mut weak = face(100.0, 1);
        weak.score = 0.5;
        let frames: Vec<_> = (0..10)
            .map(|t| {
                (
                    t,
                    if t == 4 {
                        vec![face(300.0, 2), weak.clone()]
                    } else {
                        vec![face(0.0, 0), weak.clone()]
                    },
                    false,
                )
            })
            .collect();
        let (tracks, _) = run(&frames);
        assert_eq!(tracks.len(), 1);
        assert_eq!(tracks[0].frames[0].1.points[0][1], 0.0);
    }

    #[test]
    fn frames_out_of_order_and_failing_embedders_are_errors() {
        let mut tracker = Tracker::new(TrackSettings::default());
        let mut none = |_: &Face| Ok(None);
        tracker.push(3, vec![face(0.0, 0)], &mut none, false).unwrap();
        assert!(tracker.push(3, vec![], &mut none, false).is_err());
        let mut failing = |_: &Face| Err(Error::Input("no".to_owned()));
        assert!(
            tracker
                .push(4, vec![face(500.0, 0)], &mut failing, false)
                .is_err()
        );
    }
}
