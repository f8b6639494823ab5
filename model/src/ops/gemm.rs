//! Matrix products on raw strides, checked.

pub(super) use gemm::Parallelism;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Row-major with `stride` values from row to row.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn fits(&self) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1) * stride;
        self.rows == 0
            || self.columns == 0
            || last(self.rows, self.row_stride) + last(self.columns, self.column_stride) < self.data.len()
    }
}

/// `out = scale * a b`, or with `add` `out += scale * a b`; `out` is row-major with `stride` values from row to row.
pub(super) fn gemm(
    out: &mut [f32],
    stride: usize,
    add: bool,
    scale: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Parallelism,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let end = m.saturating_sub(1) * stride + n;
    assert!(
        k == b.rows && n <= stride && end <= out.len() && a.fits() && b.fits(),
        "a matrix reaches beyond its slice"
    );
    let step = |stride: usize| isize::try_from(stride).unwrap_or(isize::MAX);
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: the assertion above holds every address of the three matrices inside its slice; `out` is borrowed mutably and
    // so overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            step(stride),
            add,
            a.data.as_ptr(),
            step(a.column_stride),
            step(a.row_stride),
            b.data.as_ptr(),
            step(b.column_stride),
            step(b.row_stride),
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}
