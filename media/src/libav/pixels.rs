//! Decoded pictures to RGB: one colour matrix, one size, turned as shown, one buffer.

use crate::{Colours, Image};
use ff::ffi;
use ff::format::Pixel;
use ff::software::scaling;
use ffmpeg_next as ff;

/// What swscale must be set up for anew when it changes.
#[derive(Clone, Copy, PartialEq)]
struct Form {
    format: Pixel,
    width: u32,
    height: u32,
    matrix: i32,
    full: bool,
}

/// Turns decoded frames into one reused [`Image`].
///
/// A stream whose size changes on the way is scaled (bicubic) to its first size, so that boxes found in one frame
/// mean the same place in the next.
pub(super) struct Painter {
    rotation: u32,
    colours: Colours,
    size: Option<(u32, u32)>,
    scaler: Option<(Form, scaling::Context)>,
    rgb: ff::frame::Video,
    image: Image,
}

impl Painter {
    /// `rotation`: clockwise, 0, 90, 180 or 270.
    pub(super) fn new(rotation: u32, colours: Colours) -> Self {
        let rgb = ff::frame::Video::empty();
        Self {
            rotation,
            colours,
            size: None,
            scaler: None,
            rgb,
            image: Image::default(),
        }
    }

    /// Converts one frame; the picture stays valid until the next call.
    pub(super) fn paint(&mut self, frame: &ff::frame::Video) -> Result<&Image, ff::Error> {
        let form = form(frame, self.colours);
        if form.width == 0 || form.height == 0 || form.format == Pixel::None {
            return Err(ff::Error::InvalidData);
        }
        let (width, height) = *self.size.get_or_insert((form.width, form.height));
        let scaler = match &mut self.scaler {
            Some((known, scaler)) if *known == form => scaler,
            slot => &mut slot.insert((form, scaler(&form, width, height)?)).1,
        };
        scaler.run(frame, &mut self.rgb)?;
        self.turn(width as usize, height as usize);
        Ok(&self.image)
    }

    /// Copies the rows (which FFmpeg pads) into the image, turned as shown.
    fn turn(&mut self, width: usize, height: usize) {
        let (rows, stride) = (self.rgb.data(0), self.rgb.stride(0));
        let image = &mut self.image;
        (image.width, image.height) = if self.rotation.is_multiple_of(180) {
            (width, height)
        } else {
            (height, width)
        };
        image.data.resize(width * height * 3, 0);
        if self.rotation == 0 {
            for (to, from) in image.data.chunks_exact_mut(width * 3).zip(rows.chunks(stride)) {
                to.copy_from_slice(&from[..width * 3]);
            }
            return;
        }
        let wide = image.width;
        for (y, row) in image.data.chunks_exact_mut(wide * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let (from_x, from_y) = match self.rotation {
                    90 => (y, height - 1 - x),
                    180 => (width - 1 - x, height - 1 - y),
                    _ => (width - 1 - y, x),
                };
                let at = from_y * stride + from_x * 3;
                pixel.copy_from_slice(&rows[at..at + 3]);
            }
        }
    }
}

/// Whether both colour rules give the same bytes for this frame: its tags say nothing, or BT.601 limited.
pub(super) fn plain(frame: &ff::frame::Video) -> bool {
    let (tagged, bt601) = (form(frame, Colours::Tagged), form(frame, Colours::Bt601));
    tagged.full == bt601.full && coefficients(tagged.matrix) == coefficients(bt601.matrix)
}

/// The coefficients that swscale takes for a matrix; unknown ones get BT.601's.
#[expect(unsafe_code, reason = "the wrapper does not give them out")]
fn coefficients(matrix: i32) -> [i32; 4] {
    // SAFETY: the call returns a pointer to four integers of a static table, whatever the number.
    unsafe { *ffi::sws_getCoefficients(matrix).cast::<[i32; 4]>() }
}

fn form(frame: &ff::frame::Video, colours: Colours) -> Form {
    let format = frame.format();
    let jpeg = matches!(
        format,
        Pixel::YUVJ411P | Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ440P | Pixel::YUVJ444P
    );
    let (matrix, full) = match colours {
        Colours::Tagged => {
            let full = jpeg || frame.color_range() == ff::color::Range::JPEG;
            (ffi::AVColorSpace::from(frame.color_space()) as i32, full)
        }
        Colours::Bt601 => (ffi::SWS_CS_DEFAULT, jpeg),
    };
    Form {
        format,
        width: frame.width(),
        height: frame.height(),
        matrix,
        full,
    }
}

/// A bicubic converter to RGB24 with the matrix and range of the source; BT.601 limited when untagged.
#[expect(unsafe_code, reason = "the wrapper cannot set the colour matrix")]
fn scaler(form: &Form, width: u32, height: u32) -> Result<scaling::Context, ff::Error> {
    let flags = scaling::Flags::BICUBIC;
    let mut context = scaling::Context::get(
        form.format,
        form.width,
        form.height,
        Pixel::RGB24,
        width,
        height,
        flags,
    )?;
    // SAFETY: the context is live; the coefficient tables are static, and unknown matrices give the default one.
    // The result is ignored because RGB and grey sources have no matrix to set.
    unsafe {
        let table = ffi::sws_getCoefficients(form.matrix);
        let plain = ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT);
        ffi::sws_setColorspaceDetails(
            context.as_mut_ptr(),
            table,
            i32::from(form.full),
            plain,
            1,
            0,
            1 << 16,
            1 << 16,
        );
    }
    Ok(context)
}
