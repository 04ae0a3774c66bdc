//! The words that reports, decisions and metrics have for values of the interface.
//!
//! These tables are the only place where a value and a word meet: who judges knows the words, who speaks the interface
//! the values.

use crate::v1::{Backing, Verdict};

/// Every verdict and its word.
const VERDICTS: [(Verdict, &str); 5] = [
    (Verdict::Filtered, "filtered"),
    (Verdict::Unsplittable, "unsplittable"),
    (Verdict::Hot, "hot"),
    (Verdict::Sparse, "sparse"),
    (Verdict::Undersampled, "undersampled"),
];

/// Every backing and its word.
const BACKINGS: [(Backing, &str); 4] = [
    (Backing::Thp, "thp"),
    (Backing::Hugetlb, "hugetlb"),
    (Backing::Smaller, "smaller"),
    (Backing::Unknown, "unknown"),
];

impl Verdict {
    /// The word for this verdict, such as `sparse`; none for [`Verdict::Unspecified`].
    pub fn word(self) -> Option<&'static str> {
        VERDICTS.iter().find(|(verdict, _)| *verdict == self).map(|(_, word)| *word)
    }

    /// The verdict with this word; none if no verdict has it.
    pub fn from_word(word: &str) -> Option<Self> {
        VERDICTS.iter().find(|(_, its)| *its == word).map(|(verdict, _)| *verdict)
    }
}

impl Backing {
    /// The word for this backing, such as `thp`; none for [`Backing::Unspecified`].
    pub fn word(self) -> Option<&'static str> {
        BACKINGS.iter().find(|(backing, _)| *backing == self).map(|(_, word)| *word)
    }

    /// The backing with this word; none if no backing has it.
    pub fn from_word(word: &str) -> Option<Self> {
        BACKINGS.iter().find(|(_, its)| *its == word).map(|(backing, _)| *backing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_values_names_in_the_proto_file() {
        // The numbers of the proto file are dense, so the first that is no value ends the walk.
        let verdicts = (0..).map_while(|number| Verdict::try_from(number).ok());
        let backings = (0..).map_while(|number| Backing::try_from(number).ok());
        let mut values = 0;
        for (name, word, back) in verdicts
            .map(|verdict| {
                let word = verdict.word();
                (verdict.as_str_name(), word, word.and_then(Verdict::from_word) == Some(verdict))
            })
            .chain(backings.map(|backing| {
                let word = backing.word();
                (backing.as_str_name(), word, word.and_then(Backing::from_word) == Some(backing))
            }))
        {
            let (_, expected) = name.split_once('_').expect("a name with its enum's in front");
            match word {
                None => assert_eq!(expected, "UNSPECIFIED"),
                Some(word) => assert_eq!((word, back), (expected.to_lowercase().as_str(), true)),
            }
            values += 1;
        }
        assert_eq!(values, VERDICTS.len() + BACKINGS.len() + 2);
    }
}
