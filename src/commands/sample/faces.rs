//! Whether reference pictures show a face, where the networks for that are here.

use super::{jobs::Job, request::Prepared};

/// Fails on a picture without a face. Without a face detector nothing is looked at, and that is said.
#[cfg(feature = "perception")]
pub fn check(prepared: &[(&Job, Prepared)]) -> anyhow::Result<()> {
    use crate::{cli::NetworkArgs, commands::networks, config::Config, exit::usage, output};
    use omni_media::Image;
    use omni_perception::{
        Error,
        runtime::Runtime,
        vision::{DetectSettings, face_detector},
    };
    let any = |found: &Prepared| {
        found
            .request
            .subjects
            .iter()
            .any(|subject| subject.face.is_some())
    };
    if !prepared.iter().any(|(_, found)| any(found)) {
        return Ok(());
    }
    let chosen = networks::chosen(&NetworkArgs::default(), &Config::load()?)?;
    let open = || -> Result<_, Error> {
        let found = chosen
            .store
            .locate(&chosen.registry, &chosen.profile, "face_detector")?;
        let runtime = Runtime::open(&chosen.library, chosen.device.clone())?;
        face_detector(
            &runtime,
            &found.first(),
            found.network(),
            &DetectSettings::default(),
        )
    };
    let detector = match open() {
        Ok(detector) => detector,
        Err(error) => {
            output::note(&format!(
                "reference pictures are not looked at for a face: {error}"
            ));
            return Ok(());
        }
    };
    for (job, found) in prepared {
        for subject in &found.request.subjects {
            let Some(face) = &subject.face else { continue };
            let image = Image {
                width: face.width,
                height: face.height,
                data: face.rgb.clone(),
            };
            if detector.detect(&image)?.is_empty() {
                return Err(usage(format!(
                    "{}: no face is found in the picture of {}; give one that shows the face",
                    job.case.case, subject.anchor
                )));
            }
        }
    }
    Ok(())
}

/// Without a face detector in this build.
#[cfg(not(feature = "perception"))]
pub fn check(prepared: &[(&Job, Prepared)]) -> anyhow::Result<()> {
    let any = |found: &Prepared| {
        found
            .request
            .subjects
            .iter()
            .any(|subject| subject.face.is_some())
    };
    if prepared.iter().any(|(_, found)| any(found)) {
        crate::output::note("reference pictures are not looked at for a face: this build has no detector");
    }
    Ok(())
}
