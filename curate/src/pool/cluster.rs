//! Average-linkage clustering of unit vectors with pairs that must not meet.
//!
//! The mean cosine between two groups is the dot product of their sums over the product of their sizes, so a group
//! is one sum. Nearest-neighbour chains give the agglomerative result in O(n²) comparisons and O(n) memory; they may
//! be used because no merge brings a third group nearer than both parts were (forbidden pairs count as infinitely
//! far, and stay so).
//!
//! More groups than `exact`: rounds of blocks. Each round draws other pivots, puts every group with its nearest
//! pivot, and clusters each block exactly; the threshold falls from strict to the real one over the rounds, so
//! that near pairs meet before doubtful ones. Pairs that never share a block are missed.

use crate::vector::cosine;

/// A group of appearances.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Numbers of its members, rising.
    pub members: Vec<usize>,
    /// Numbers of its clips, rising.
    clips: Vec<u32>,
    /// Sum of its members' vectors.
    sum: Vec<f32>,
}

/// What bounds the clustering.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Least mean cosine of two groups that are joined.
    pub threshold: f32,
    /// Most groups compared each with each.
    pub exact: usize,
    /// Rounds of blocks above that.
    pub rounds: usize,
}

impl Group {
    /// A group of one.
    pub(super) fn new(member: usize, clip: u32, vector: Vec<f32>) -> Group {
        Group {
            members: vec![member],
            clips: vec![clip],
            sum: vector,
        }
    }

    /// Sum of its members' vectors: their mean's direction.
    pub(super) fn sum(&self) -> &[f32] {
        &self.sum
    }

    /// Mean cosine between the members of two groups.
    fn likeness(&self, other: &Group) -> f32 {
        cosine(&self.sum, &other.sum) / (self.members.len() as f32 * other.members.len() as f32)
    }

    /// Whether both have people of one clip.
    fn share_a_clip(&self, other: &Group) -> bool {
        let (few, many) = match self.clips.len() < other.clips.len() {
            true => (self, other),
            false => (other, self),
        };
        few.clips
            .iter()
            .any(|clip| many.clips.binary_search(clip).is_ok())
    }

    fn absorb(&mut self, other: Group) {
        self.members.extend(other.members);
        self.members.sort_unstable();
        self.clips.extend(other.clips);
        self.clips.sort_unstable();
        self.sum
            .iter_mut()
            .zip(&other.sum)
            .for_each(|(total, value)| *total += value);
    }
}

/// Joins groups (given by rising first member); says whether all were compared with all.
pub(super) fn join(groups: Vec<Group>, limits: &Limits) -> (Vec<Group>, bool) {
    if groups.len() <= limits.exact {
        return (chains(groups, limits.threshold), true);
    }
    let mut groups = groups;
    for round in 0..limits.rounds {
        let strict = (limits.rounds - 1 - round) as f32 / limits.rounds as f32;
        let threshold = limits.threshold + (1.0 - limits.threshold) * 0.5 * strict;
        groups = round_of_blocks(groups, threshold, limits.exact, round as u64);
        if groups.len() <= limits.exact {
            break;
        }
    }
    match groups.len() <= limits.exact {
        true => (chains(groups, limits.threshold), false),
        false => (groups, false),
    }
}

fn round_of_blocks(groups: Vec<Group>, threshold: f32, exact: usize, round: u64) -> Vec<Group> {
    let mut out = Vec::with_capacity(groups.len());
    for block in blocks(groups, exact, round) {
        out.extend(chains(block, threshold));
    }
    out.sort_by_key(|group| group.members[0]);
    out
}

/// Splits groups by their nearest pivot until no block is larger than `exact`.
fn blocks(groups: Vec<Group>, exact: usize, round: u64) -> Vec<Vec<Group>> {
    let mut done = Vec::new();
    let mut pending = vec![(groups, 0_u64)];
    while let Some((mut block, depth)) = pending.pop() {
        if block.len() <= exact {
            done.push(block);
        } else if depth >= 8 {
            // Vectors that no pivot tells apart (all alike): cut by number.
            while block.len() > exact {
                done.push(block.split_off(block.len() - exact));
            }
            done.push(block);
        } else {
            let parts = split(block, exact, round * 64 + depth);
            pending.extend(
                parts
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .map(|part| (part, depth + 1)),
            );
        }
    }
    done
}

fn split(block: Vec<Group>, exact: usize, seed: u64) -> Vec<Vec<Group>> {
    let count = (2 * block.len().div_ceil(exact)).clamp(2, 1024);
    let mut numbers = SplitMix(seed);
    let pivots: Vec<Vec<f32>> = (0..count)
        .map(|_| direction(&block[numbers.below(block.len())]))
        .collect();
    let mut parts: Vec<Vec<Group>> = (0..count).map(|_| Vec::new()).collect();
    for group in block {
        let mut best = (f32::NEG_INFINITY, 0);
        for (at, pivot) in pivots.iter().enumerate() {
            let likeness = cosine(&group.sum, pivot);
            if likeness > best.0 {
                best = (likeness, at);
            }
        }
        parts[best.1].push(group);
    }
    parts
}

fn direction(group: &Group) -> Vec<f32> {
    let length = cosine(&group.sum, &group.sum).sqrt().max(1e-12);
    group.sum.iter().map(|value| value / length).collect()
}

/// Exact average linkage by nearest-neighbour chains; groups come back by first member.
fn chains(groups: Vec<Group>, threshold: f32) -> Vec<Group> {
    let mut active: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    let mut done = Vec::new();
    let mut chain: Vec<usize> = Vec::new();
    let mut next = 0;
    loop {
        let top = match chain.last() {
            Some(top) => *top,
            None => match (next..active.len()).find(|at| active[*at].is_some()) {
                Some(at) => {
                    next = at;
                    chain.push(at);
                    at
                }
                None => break,
            },
        };
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        match nearest(&active, top, before, threshold) {
            // Nothing will ever come nearer: this group is finished.
            None => {
                chain.pop();
                done.extend(active[top].take());
            }
            Some(other) if Some(other) == before => {
                chain.truncate(chain.len() - 2);
                merge(&mut active, top, other);
            }
            Some(other) => chain.push(other),
        }
    }
    done.sort_by_key(|group: &Group| group.members[0]);
    done
}

/// The nearest group that may be joined; the chain's previous one wins ties, then the lowest number.
fn nearest(active: &[Option<Group>], top: usize, before: Option<usize>, threshold: f32) -> Option<usize> {
    let group = active[top].as_ref()?;
    let mut best: Option<(f32, usize)> = None;
    let others = before.into_iter().chain(0..active.len());
    for at in others.filter(|at| *at != top) {
        let Some(other) = &active[at] else { continue };
        let likeness = group.likeness(other);
        let nearer = best.is_none_or(|(most, _)| likeness > most);
        if likeness >= threshold && nearer && !group.share_a_clip(other) {
            best = Some((likeness, at));
        }
    }
    best.map(|(_, at)| at)
}

/// Puts both into the lower place, so that places stay in the order of first members.
fn merge(active: &mut [Option<Group>], one: usize, two: usize) {
    let (low, high) = (one.min(two), one.max(two));
    let taken = active[high].take();
    if let (Some(group), Some(other)) = (active[low].as_mut(), taken) {
        group.absorb(other);
    }
}

/// The SplitMix64 generator (Steele, Lea, Flood 2014): pivots must be the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
