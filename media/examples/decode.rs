//! How fast one thread decodes a clip to RGB: `cargo run --release -p omni-media --example decode -- CLIP [REPEATS]`.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("name a clip")?);
    let repeats: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    for _ in 0..repeats {
        let begun = Instant::now();
        let (mut pixels, mut last) = (0u64, 0.0);
        let frames =
            omni_media::read_frames(&path, &Default::default(), &Default::default(), &mut |frame| {
                pixels += (frame.image.width * frame.image.height) as u64;
                last = frame.seconds;
                ControlFlow::Continue(())
            })?;
        let seconds = begun.elapsed().as_secs_f64();
        #[expect(clippy::print_stdout, reason = "an example for the terminal")]
        {
            println!(
                "{frames} frames ({last:.2} s, {pixels} pixels) in {seconds:.3} s: {:.0} frames/s",
                frames as f64 / seconds
            );
        }
    }
    Ok(())
}
