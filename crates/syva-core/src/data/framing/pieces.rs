//! The connected pieces of ink, and which of them are the digit: not what comes in from the edge of the picture, not
//! frames, not lines, not specks.

/// A piece of ink smaller than this share of the largest is a speck.
const SPECK: f64 = 0.04;
/// What is left must be at least this share of the picture's side to be a digit, where other ink reaches the edge.
const DUST: f64 = 0.06;

/// A connected piece of ink, and the box around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub pixels: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Piece {
    pub fn height(self) -> usize {
        self.bottom - self.top + 1
    }

    pub fn width(self) -> usize {
        self.right - self.left + 1
    }

    fn longest(self) -> usize {
        self.height().max(self.width())
    }

    /// The share of its box that it fills.
    pub fn fill(self) -> f64 {
        self.pixels as f64 / (self.height() * self.width()) as f64
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self {
            pixels: self.pixels + other.pixels,
            top: self.top.min(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.min(other.left),
            right: self.right.max(other.right),
        }
    }

    pub fn touches_edge(self, [height, width]: [usize; 2]) -> bool {
        self.top == 0 || self.left == 0 || self.bottom == height - 1 || self.right == width - 1
    }

    /// Whether it runs through the whole picture and is thin, as lines of the paper are and digits are not.
    fn is_ruled_line(self, [height, width]: [usize; 2]) -> bool {
        let thin = |across: usize, side: usize| 12 * across <= side;
        self.left == 0 && self.right == width - 1 && thin(self.height(), height)
            || self.top == 0 && self.bottom == height - 1 && thin(self.width(), width)
    }

    /// Whether the other's box lies within its own.
    fn surrounds(self, other: Self) -> bool {
        self.top < other.top && self.bottom > other.bottom && self.left < other.left && self.right > other.right
    }

    /// Whether it is a box, a cell or a circle around what is written in it: it fills little of its own box, and in it
    /// stands something too large for a dot.
    fn frames(self, other: Self) -> bool {
        self.surrounds(other) && self.fill() < 0.4 && 3 * other.height() >= self.height()
    }

    /// The same, lying down.
    fn turned(self) -> Self {
        let Self { pixels, top, bottom, left, right } = self;
        Self { pixels, top: left, bottom: right, left: top, right: bottom }
    }

    /// Whether it is straight, level and thin.
    fn is_flat(self) -> bool {
        let width = self.width();
        12 * self.pixels <= width * width && 5 * self.height() <= width
    }

    /// Whether it is a line drawn under (or, at a distance, over) what is written, and no stroke of it: as wide as all of
    /// it. The upper stroke of a five or a seven may stand apart, but not so far.
    fn underlines(self, written: Self) -> bool {
        let under = self.top + self.bottom > 2 * written.bottom && self.width() >= written.width();
        let over = self.bottom + written.height() / 10 < written.top && 10 * self.width() >= 13 * written.width();
        self.is_flat() && (under || over)
    }

    /// The same of a line beside it, which must not be a one.
    fn stands_beside(self, written: Self) -> bool {
        let (line, written) = (self.turned(), written.turned());
        let apart =
            line.bottom + written.height() / 10 < written.top || line.top > written.bottom + written.height() / 10;
        line.is_flat() && apart && 10 * line.width() >= 13 * written.width()
    }
}

/// The pieces of the digit.
#[derive(Clone, Debug, Default)]
pub(super) struct Digit {
    /// Their numbers, and they.
    pub pieces: Vec<(usize, Piece)>,
    /// The share of the picture that was left out because it came in from the edge.
    pub at_edge: f64,
    /// Whether they hang together with what comes in from the edge or with a frame.
    pub tangled: bool,
}

impl Digit {
    /// All of it as one.
    pub fn whole(&self) -> Option<Piece> {
        self.pieces.iter().map(|&(_, piece)| piece).reduce(Piece::and)
    }

    pub fn largest(&self) -> Option<(usize, Piece)> {
        self.pieces.iter().copied().max_by_key(|(_, piece)| piece.pixels)
    }
}

/// Picks the digit out of the pieces of a picture.
pub(super) fn pick(pieces: &[Piece], size: [usize; 2]) -> Digit {
    let numbered = || pieces.iter().copied().enumerate();
    let something = |piece: &Piece| piece.longest() as f64 >= DUST * size[0].min(size[1]) as f64;
    let inside: Vec<(usize, Piece)> = numbered().filter(|(_, piece)| !piece.touches_edge(size)).collect();
    let mut digit = Digit::default();
    if inside.iter().any(|(_, piece)| something(piece)) || inside.len() == pieces.len() {
        let outside: usize =
            numbered().filter(|(_, piece)| piece.touches_edge(size)).map(|(_, piece)| piece.pixels).sum();
        digit.at_edge = outside as f64 / (size[0] * size[1]) as f64;
        digit.pieces = without_lines(&without_frames(&without_specks(&inside)));
    } else {
        // Nothing else is left: the digit itself reaches the edge. Lines of ruled paper that it does not touch do not
        // belong to it.
        let lined = pieces.iter().all(|piece| piece.is_ruled_line(size));
        digit.pieces = numbered().filter(|(_, piece)| lined || !piece.is_ruled_line(size)).collect();
        digit.tangled = true;
    }
    digit.pieces = without_specks(&digit.pieces);
    digit
}

fn without_specks(pieces: &[(usize, Piece)]) -> Vec<(usize, Piece)> {
    let largest = pieces.iter().map(|(_, piece)| piece.pixels).max().unwrap_or(0);
    pieces.iter().copied().filter(|(_, piece)| piece.pixels as f64 >= SPECK * largest as f64).collect()
}

fn without_frames(pieces: &[(usize, Piece)]) -> Vec<(usize, Piece)> {
    let frames = |piece: Piece| pieces.iter().any(|&(_, other)| piece.frames(other));
    pieces.iter().copied().filter(|&(_, piece)| !frames(piece)).collect()
}

fn without_lines(pieces: &[(usize, Piece)]) -> Vec<(usize, Piece)> {
    let flat = |piece: Piece| piece.is_flat() || piece.turned().is_flat();
    let Some(written) = pieces.iter().map(|&(_, piece)| piece).filter(|&piece| !flat(piece)).reduce(Piece::and) else {
        // Nothing but lines: one of them may be a one.
        return pieces.to_vec();
    };
    pieces.iter().copied().filter(|(_, piece)| !piece.underlines(written) && !piece.stands_beside(written)).collect()
}

/// The connected pieces of ink, and for each pixel of ink the number of its piece.
pub(super) fn pieces(ink: &[bool], [height, width]: [usize; 2]) -> (Vec<u32>, Vec<Piece>) {
    let mut numbers = vec![u32::MAX; ink.len()];
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open = Vec::new();
    for start in 0..ink.len() {
        if !ink[start] || numbers[start] != u32::MAX {
            continue;
        }
        let (top, left) = (start / width, start % width);
        let mut piece = Piece { pixels: 0, top, bottom: top, left, right: left };
        numbers[start] = pieces.len() as u32;
        open.push(start);
        while let Some(i) = open.pop() {
            let (y, x) = (i / width, i % width);
            piece = piece.and(Piece { pixels: 1, top: y, bottom: y, left: x, right: x });
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = ny * width + nx;
                    if ink[next] && numbers[next] == u32::MAX {
                        numbers[next] = pieces.len() as u32;
                        open.push(next);
                    }
                }
            }
        }
        pieces.push(piece);
    }
    (numbers, pieces)
}

/// Whether a piece goes along all four sides of its box nearly all the way, as frames and sheets do and digits do not.
pub(super) fn is_rectangular(piece: Piece, is_in: impl Fn(usize, usize) -> bool) -> bool {
    let (down, across) = ((piece.height() / 16).max(1), (piece.width() / 16).max(1));
    let (rows, columns) = (piece.top..piece.bottom + 1, piece.left..piece.right + 1);
    let by_rows = |band: std::ops::Range<usize>| {
        let found = rows.clone().filter(|&y| band.clone().any(|x| is_in(y, x))).count();
        10 * found >= 9 * rows.len()
    };
    let by_columns = |band: std::ops::Range<usize>| {
        let found = columns.clone().filter(|&x| band.clone().any(|y| is_in(y, x))).count();
        10 * found >= 9 * columns.len()
    };
    by_rows(piece.left..piece.left + across)
        && by_rows(piece.right + 1 - across..piece.right + 1)
        && by_columns(piece.top..piece.top + down)
        && by_columns(piece.bottom + 1 - down..piece.bottom + 1)
}

/// Whether a piece is wider than high, since much of it is a line at its lower or upper end, as where a digit touches
/// the line that it is written on.
pub(super) fn stands_on_line(piece: Piece, is_in: impl Fn(usize, usize) -> bool) -> bool {
    if 10 * piece.width() < 11 * piece.height() {
        return false;
    }
    let (mut low, mut high) = (0, 0);
    for x in piece.left..=piece.right {
        let rows = || (piece.top..=piece.bottom).filter(|&y| is_in(y, x));
        let (Some(first), Some(last)) = (rows().next(), rows().next_back()) else { continue };
        low += usize::from(6 * (piece.bottom - first) <= piece.height());
        high += usize::from(6 * (last - piece.top) <= piece.height());
    }
    10 * low.max(high) >= 3 * piece.width()
}
