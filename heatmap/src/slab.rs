//! A list that grows without moving what it holds.

/// Items by number, in pieces of the same size.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    /// All are full but the last, none is empty.
    pieces: Vec<Vec<T>>,
}

impl<T> Slab<T> {
    /// Items of one piece.
    pub(crate) const PIECE: usize = 64;
    /// Most bytes that a piece takes, with its part of the list of pieces, which doubles.
    pub(crate) const PIECE_BYTES: usize = Self::PIECE * size_of::<T>() + 4 * size_of::<Vec<T>>();

    pub(crate) const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Whether one more item takes one more piece.
    pub(crate) fn is_full(&self) -> bool {
        self.pieces.last().is_none_or(|piece| piece.len() == Self::PIECE)
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |piece| (self.pieces.len() - 1) * Self::PIECE + piece.len())
    }

    /// Adds an item at the end.
    pub(crate) fn push(&mut self, item: T) {
        if self.is_full() {
            self.pieces.push(Vec::with_capacity(Self::PIECE));
        }
        self.pieces.last_mut().expect("just made").push(item);
    }

    /// Takes the last item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let piece = self.pieces.last_mut()?;
        let item = piece.pop();
        if piece.is_empty() {
            self.pieces.pop();
        }
        item
    }

    /// The item with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(crate) fn at(&self, number: usize) -> &T {
        &self.pieces[number / Self::PIECE][number % Self::PIECE]
    }

    /// The item with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(crate) fn at_mut(&mut self, number: usize) -> &mut T {
        &mut self.pieces[number / Self::PIECE][number % Self::PIECE]
    }

    /// The items by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
}
