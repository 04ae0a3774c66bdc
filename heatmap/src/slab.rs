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

    /// Takes an item. The last one gets its number.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn swap_remove(&mut self, number: usize) -> T {
        let last = self.pop().expect("there is one with this number");
        if number == self.len() { last } else { core::mem::replace(self.at_mut(number), last) }
    }

    /// Takes a whole piece: a full one, as long as there is one. Other items change their numbers.
    pub(crate) fn take_piece(&mut self) -> Option<Vec<T>> {
        let last = self.pieces.len().checked_sub(1)?;
        Some(self.pieces.swap_remove(last.saturating_sub(1)))
    }

    /// Adds another list's piece at the end. All pieces must be full.
    pub(crate) fn push_piece(&mut self, piece: Vec<T>) {
        debug_assert!(self.is_full() && !piece.is_empty() && piece.len() <= Self::PIECE);
        self.pieces.push(piece);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_move_from_list_to_list() {
        const PIECE: usize = Slab::<usize>::PIECE;
        for len in [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE - 7] {
            let (mut from, mut to) = (Slab::new(), Slab::new());
            (0..len).for_each(|item| from.push(item));
            assert_eq!(from.swap_remove(len / 2), len / 2);
            assert_eq!(from.len(), len - 1);
            while let Some(piece) = from.take_piece() {
                to.push_piece(piece);
            }
            to.push(len / 2);
            assert_eq!((from.len(), to.len(), to.pieces()), (0, len, len.div_ceil(PIECE)));
            let mut items: Vec<_> = (0..len).map(|number| *to.at(number)).collect();
            items.sort_unstable();
            assert!(items.into_iter().eq(0..len));
        }
    }
}
