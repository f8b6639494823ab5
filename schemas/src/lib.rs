//! The records that flow between stages: struct, columns, and version, one file each.
//!
//! A record is a plain struct with public fields. Times are seconds (f64) from the start of the clip, boxes are
//! pixels `[x0, y0, x1, y1]`, and a value that could not be measured is `None`, never -1 or 0. This crate knows
//! nothing of files or tables: `omni-manifests` maps [`Column`]s to Parquet.

mod audit_row;
mod av_evidence;
mod binding;
mod blob;
mod caption;
mod case;
pub mod clean;
mod clip;
mod column;
mod cross_check;
mod face_ref;
mod generation;
mod identity;
mod latents;
mod listing;
mod omni_caption;
mod score;
mod selection;
mod track;
mod transcript;
mod voice_ref;

pub use audit_row::AuditRow;
pub use av_evidence::{AvEvidence, VoiceMotion};
pub use binding::{Binding, BoundSubject, Claim, ClaimedDescriptor, SOURCE_LOCAL};
pub use blob::Blob;
pub use caption::Caption;
pub use case::{Case, CaseSubject, CaseUtterance};
pub use clip::Clip;
pub use column::{Column, Kind, boolean, integer, list, real, record, text};
pub use cross_check::{CheckedSpeaker, CrossCheck};
pub use face_ref::FaceRef;
pub use generation::Generation;
pub use identity::{Identity, IdentityMember};
pub use latents::Latents;
pub use listing::{Listing, NamedScore, Partner};
pub use omni_caption::{Descriptor, OmniCaption, Utterance};
pub use score::Score;
pub use selection::{Reference, Selection};
pub use track::{Track, TrackFrame};
pub use transcript::{Segment, Transcript};
pub use voice_ref::VoiceRef;

use serde::{Serialize, de::DeserializeOwned};

/// One row type of a manifest.
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The manifest's name, as `omni show OUT <NAME>` spells it.
    const NAME: &'static str;
    /// Raised when a field changes; part of every fingerprint downstream.
    const VERSION: u32;
    /// The clip (or generation) this row belongs to.
    fn key(&self) -> &str;
    /// The columns, in the order of the struct's fields.
    fn columns() -> Vec<Column>;
    /// The artifacts of this row, so that the runner can place them in the part's tar.
    fn blobs_mut(&mut self) -> Vec<&mut Blob> {
        Vec::new()
    }
}

/// A record's name, version and columns.
type Described = (&'static str, u32, fn() -> Vec<Column>);

/// Every record's name, version and columns, for `omni show` and the column reference.
pub const ALL: &[Described] = &[
    entry::<Listing>(),
    entry::<Clip>(),
    entry::<Track>(),
    entry::<FaceRef>(),
    entry::<Caption>(),
    entry::<Transcript>(),
    entry::<VoiceRef>(),
    entry::<AvEvidence>(),
    entry::<Binding>(),
    entry::<CrossCheck>(),
    entry::<OmniCaption>(),
    entry::<Selection>(),
    entry::<Identity>(),
    entry::<AuditRow>(),
    entry::<Case>(),
    entry::<Generation>(),
    entry::<Score>(),
    entry::<Latents>(),
];

const fn entry<R: Record>() -> Described {
    (R::NAME, R::VERSION, R::columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_columns_are_documented() {
        fn documented(columns: &[Column]) {
            for column in columns {
                assert!(!column.about.is_empty(), "{} has no description", column.name);
                if let Kind::List(inner) = &column.kind
                    && let Kind::Struct(fields) = inner.as_ref()
                {
                    documented(fields);
                }
            }
        }
        let mut names: Vec<_> = ALL.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        ALL.iter().for_each(|(_, _, columns)| documented(&columns()));
    }
}
