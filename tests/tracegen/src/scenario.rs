//! What accesses happen: which 2 MiB blocks are touched, how often, on which of their 512 pages.

use crate::rng::Rng;

/// Base pages of a folio.
pub const PAGES: u16 = 512;
/// Bytes of a base page.
const PAGE: u64 = 4096;
/// Where the user's addresses of the first folio start.
const USER: u64 = 0x7f00_0000_0000;
/// The folio of the RFC's table ("mm/damon: Add mTHP-aware collapse/split with ARM SPE feedback"): three hot pages.
pub const T5_FOLIO: u64 = 0x820d_b800;
/// Its accesses.
pub const T5_ACCESSES: u64 = 39_794;
/// Folios sampled in the RFC's table.
pub const T5_FOLIOS: usize = 2005;
/// How many of them have under 10 % of their pages touched: 97 %.
pub const T5_SPARSE: usize = 1945;
/// Most touched pages of a folio that count as under 10 % of 512.
pub const SPARSE_PAGES: u16 = 51;

/// How heat lies on the folios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// All pages of all folios alike.
    Uniform,
    /// The RFC's table: 2005 folios, 1945 of them sparse, one with 39,794 accesses on three pages.
    #[default]
    T5,
    /// One to eight hot pages a folio, 2 % of its accesses anywhere.
    Sparse,
    /// Between half and all pages of a folio, unevenly.
    Dense,
    /// All pages of all folios in turn, each far from the one before it. Takes no memory, however many there are.
    EveryPage,
}

impl Kind {
    /// All kinds with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("uniform", Self::Uniform),
        ("t5", Self::T5),
        ("sparse", Self::Sparse),
        ("dense", Self::Dense),
        ("every-page", Self::EveryPage),
    ];
}

/// One folio of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Frame number of its first page.
    pub pfn: u64,
    /// Virtual address of its first byte, 2 MiB aligned.
    pub base: u64,
    /// Mapped as one huge page: virtual and physical address agree in their low 21 bits. Else as base pages, and no
    /// page agrees in bit 12.
    pub huge: bool,
    /// How many accesses it gets.
    pub accesses: u64,
    /// The pages that are touched; each gets at least one access where `cover` is set and there are enough.
    pages: Vec<u16>,
    /// Accesses so far.
    done: u64,
    /// First touch every page once.
    cover: bool,
    /// Percentage of accesses that fall on any page.
    noise: u64,
    /// Later pages of the list are rarer.
    skewed: bool,
}

impl Folio {
    fn new(pfn: u64, number: u64, huge: bool, pages: Vec<u16>) -> Self {
        let base = USER + (number << 21);
        Self { pfn, base, huge, accesses: 0, pages, done: 0, cover: false, noise: 0, skewed: false }
    }

    fn page(&mut self, rng: &mut Rng) -> u16 {
        let turn = self.done;
        self.done += 1;
        if self.cover && turn < self.pages.len() as u64 {
            return self.pages[crate::bytes::index(turn)];
        }
        if self.noise > 0 && rng.percent(self.noise) {
            return crate::bytes::low16(rng.below(u64::from(PAGES)));
        }
        let mut at = rng.index(self.pages.len());
        if self.skewed {
            at = at.min(rng.index(self.pages.len()));
        }
        self.pages[at]
    }

    /// The virtual page of a page, counted from `base`.
    pub fn virtual_page(&self, page: u16) -> u16 {
        // An odd shift: bit 0 always differs, so this can never look like a huge mapping.
        if self.huge { page } else { (page + 37) % PAGES }
    }
}

/// An access that the plan chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Physical address.
    pub physical: u64,
    /// User virtual address.
    pub user: u64,
}

/// Which accesses are left.
#[derive(Clone, Debug)]
pub enum Plan {
    /// At random, as many as each folio should get.
    Drawn(Drawn),
    /// Every page in turn.
    Turns(Turns),
}

impl Plan {
    /// A plan for exactly `accesses` accesses on at most `folios` folios.
    pub fn new(kind: Kind, folios: usize, accesses: u64, rng: &mut Rng) -> Self {
        let folios = folios.min(crate::bytes::index(accesses)).max(1);
        let mut folios = match kind {
            Kind::EveryPage => return Self::Turns(Turns::new(folios, accesses)),
            Kind::T5 => t5(folios, accesses, rng),
            _ => even(kind, folios, accesses, rng),
        };
        folios.sort_by_key(|folio| folio.pfn);
        Self::Drawn(Drawn::new(folios))
    }

    /// How many accesses are left.
    pub const fn left(&self) -> u64 {
        match self {
            Self::Drawn(drawn) => drawn.total,
            Self::Turns(turns) => turns.left,
        }
    }

    /// The next access; none when all are done.
    pub fn next(&mut self, rng: &mut Rng) -> Option<Touch> {
        match self {
            Self::Drawn(drawn) => drawn.next(rng),
            Self::Turns(turns) => turns.next(rng),
        }
    }

    /// A user address of the plan's folios, without an access.
    pub fn some_user_address(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Drawn(drawn) => drawn.some_user_address(rng),
            Self::Turns(turns) => USER + rng.below(turns.pages * PAGE),
        }
    }
}

/// All pages of folios that lie side by side, mapped as huge pages, one after the other in an order that jumps.
#[derive(Clone, Debug)]
pub struct Turns {
    pages: u64,
    step: u64,
    at: u64,
    left: u64,
}

impl Turns {
    fn new(folios: usize, accesses: u64) -> Self {
        let pages = folios as u64 * u64::from(PAGES);
        // Steps of about the golden section of the whole; coprime with it, so that they reach every page.
        let common = |mut a: u64, mut b: u64| {
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        let mut step = pages / 1000 * 618 + 1;
        while common(step, pages) > 1 {
            step += 1;
        }
        Self { pages, step, at: 0, left: accesses }
    }

    fn next(&mut self, rng: &mut Rng) -> Option<Touch> {
        self.left = self.left.checked_sub(1)?;
        let place = self.at * PAGE + rng.below(512) * 8;
        self.at += self.step;
        if self.at >= self.pages {
            self.at -= self.pages;
        }
        Some(Touch { physical: T5_FOLIO * PAGE + place, user: USER + place })
    }
}

/// Folios and how many accesses they still get. Draws without replacement, so counts are exact and memory does not
/// grow with the number of accesses.
#[derive(Clone, Debug)]
pub struct Drawn {
    folios: Vec<Folio>,
    // A Fenwick tree over what each folio still gets; tree[0] is not used.
    tree: Vec<u64>,
    total: u64,
}

impl Drawn {
    fn new(folios: Vec<Folio>) -> Self {
        let mut tree = vec![0; folios.len() + 1];
        for (i, folio) in folios.iter().enumerate() {
            let mut at = i + 1;
            tree[at] += folio.accesses;
            let sum = tree[at];
            at += at & at.wrapping_neg();
            if at < tree.len() {
                tree[at] += sum;
            }
        }
        let total = folios.iter().map(|folio| folio.accesses).sum();
        Self { folios, tree, total }
    }

    /// The folio that holds the `rank`-th of the accesses left, which is then taken.
    fn take(&mut self, mut rank: u64) -> usize {
        let mut at = 0;
        let mut step = self.folios.len().next_power_of_two();
        while step > 0 {
            if at + step < self.tree.len() && self.tree[at + step] <= rank {
                at += step;
                rank -= self.tree[at];
            }
            step /= 2;
        }
        let folio = at;
        let mut up = at + 1;
        while up < self.tree.len() {
            self.tree[up] -= 1;
            up += up & up.wrapping_neg();
        }
        self.total -= 1;
        folio
    }

    fn next(&mut self, rng: &mut Rng) -> Option<Touch> {
        if self.total == 0 {
            return None;
        }
        let rank = rng.below(self.total);
        let at = self.take(rank);
        let folio = &mut self.folios[at];
        let page = folio.page(rng);
        let offset = rng.below(512) * 8;
        let user = folio.base + u64::from(folio.virtual_page(page)) * PAGE + offset;
        Some(Touch { physical: (folio.pfn + u64::from(page)) * PAGE + offset, user })
    }

    fn some_user_address(&self, rng: &mut Rng) -> u64 {
        let folio = &self.folios[rng.index(self.folios.len())];
        folio.base + rng.below(1 << 18) * 8
    }
}

/// `count` different folio frame numbers around that of the RFC's folio, which is the first.
fn frames(count: usize, rng: &mut Rng) -> Vec<u64> {
    let below = (count as u64).min(4096);
    let mut blocks: Vec<u64> = (1..count as u64 * 4).collect();
    rng.shuffle(&mut blocks);
    let first = (T5_FOLIO >> 9) - below;
    let mut frames = vec![T5_FOLIO];
    frames.extend(
        blocks
            .into_iter()
            .filter(|block| *block != below)
            .take(count - 1)
            .map(|b| (first + b) << 9),
    );
    frames
}

/// `count` different pages, at random.
fn some_pages(count: u16, rng: &mut Rng) -> Vec<u16> {
    let mut pages: Vec<u16> = (0..PAGES).collect();
    rng.shuffle(&mut pages);
    pages.truncate(usize::from(count));
    pages
}

fn pages_between(low: u16, high: u16, rng: &mut Rng) -> u16 {
    crate::bytes::low16(rng.between(u64::from(low), u64::from(high)))
}

fn even(kind: Kind, count: usize, accesses: u64, rng: &mut Rng) -> Vec<Folio> {
    let mut folios = Vec::with_capacity(count);
    for (number, pfn) in frames(count, rng).into_iter().enumerate() {
        let pages = match kind {
            Kind::Sparse => {
                let pages = pages_between(1, 8, rng);
                some_pages(pages, rng)
            }
            Kind::Dense => {
                let pages = pages_between(PAGES / 2, PAGES, rng);
                some_pages(pages, rng)
            }
            _ => (0..PAGES).collect(),
        };
        let mut folio = Folio::new(pfn, number as u64, number % 4 != 3, pages);
        folio.noise = if kind == Kind::Sparse { 2 } else { 0 };
        folio.skewed = kind == Kind::Dense;
        let (share, rest) = (accesses / count as u64, accesses % count as u64);
        folio.accesses = share + u64::from((number as u64) < rest);
        folios.push(folio);
    }
    folios
}

/// The RFC's table. With fewer accesses than it needs the folio of 39,794 gets a quarter of them, then the dense
/// folios go.
fn t5(count: usize, accesses: u64, rng: &mut Rng) -> Vec<Folio> {
    let least_dense = u64::from(SPARSE_PAGES) + 1;
    let dense_of =
        |count: usize| (count as u64 * (T5_FOLIOS - T5_SPARSE) as u64).div_ceil(T5_FOLIOS as u64);
    let needed = T5_ACCESSES + count as u64 - 1 + dense_of(count) * (least_dense - 1);
    let hot = match count {
        1 => accesses,
        _ if accesses >= needed.max(2 * T5_ACCESSES) => T5_ACCESSES,
        _ => (accesses / 4).clamp(1, T5_ACCESSES),
    };
    let left = accesses - hot;
    let count = count.min(crate::bytes::index(left) + 1);
    let others = (count - 1) as u64;
    let dense = dense_of(count).min(left.saturating_sub(others) / (least_dense - 1)).min(others);
    let frames = frames(count, rng);

    // How many pages each of the others has touched: at least one access each, so never more than there are accesses.
    let mut wanted: Vec<u64> = (0..others)
        .map(|i| {
            if i < dense {
                rng.between(64, 512)
            } else {
                // Small numbers are more frequent.
                let most = 1 + rng.below(u64::from(SPARSE_PAGES));
                rng.between(1, most)
            }
        })
        .collect();
    let floor = |i: usize| if (i as u64) < dense { least_dense } else { 1 };
    while wanted.iter().sum::<u64>() > left {
        let before: u64 = wanted.iter().sum();
        for (i, pages) in wanted.iter_mut().enumerate() {
            *pages = (*pages * 3 / 4).max(floor(i));
        }
        if wanted.iter().sum::<u64>() == before {
            break;
        }
    }
    let mut spare = left.saturating_sub(wanted.iter().sum());
    // A heavy tail: a few dozens to thousands of accesses, up to 4 M records in all.
    let weights: Vec<u64> = wanted
        .iter()
        .map(|pages| (1 << rng.below(7)) * rng.between(64, 127) * (pages + 8))
        .collect();
    let all: u64 = weights.iter().sum();
    let part = spare;
    let mut folios = Vec::with_capacity(count);
    for (number, pfn) in frames.into_iter().enumerate() {
        if number == 0 {
            let mut folio = Folio::new(pfn, 0, true, some_pages(3, rng));
            folio.accesses = hot;
            folio.cover = true;
            folio.skewed = true;
            folios.push(folio);
            continue;
        }
        let i = number - 1;
        let pages = u16::try_from(wanted[i]).expect("at most 512 pages");
        let mut folio = Folio::new(pfn, number as u64, number % 4 != 3, some_pages(pages, rng));
        let wide = u128::from(part) * u128::from(weights[i]) / u128::from(all);
        let extra = u64::try_from(wide).expect("a part of a u64");
        folio.accesses = wanted[i] + extra;
        spare -= extra;
        folio.cover = true;
        folio.skewed = true;
        folios.push(folio);
    }
    // What rounding left.
    let mut at = 0;
    while spare > 0 && others > 0 {
        folios[1 + at % (count - 1)].accesses += 1;
        spare -= 1;
        at += 1;
    }
    folios
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn draw(kind: Kind, folios: usize, accesses: u64) -> BTreeMap<u64, u64> {
        let mut rng = Rng::new(5);
        let mut plan = Plan::new(kind, folios, accesses, &mut rng);
        assert_eq!(plan.left(), accesses, "{kind:?}");
        let mut counts = BTreeMap::new();
        while let Some(touch) = plan.next(&mut rng) {
            *counts.entry(touch.physical >> 12).or_default() += 1;
        }
        assert_eq!(counts.values().sum::<u64>(), accesses);
        counts
    }

    fn by_folio(counts: &BTreeMap<u64, u64>) -> BTreeMap<u64, (usize, u64)> {
        let mut folios = BTreeMap::new();
        for (pfn, count) in counts {
            let folio: &mut (usize, u64) = folios.entry(pfn & !511).or_default();
            folio.0 += 1;
            folio.1 += count;
        }
        folios
    }

    #[test]
    fn t5_keeps_its_promises() {
        for accesses in [130_000, 160_000, 400_000] {
            let folios = by_folio(&draw(Kind::T5, T5_FOLIOS, accesses));
            assert_eq!(folios.len(), T5_FOLIOS, "{accesses}");
            assert_eq!(folios[&T5_FOLIO], (3, T5_ACCESSES), "{accesses}");
            let sparse =
                folios.values().filter(|(pages, _)| *pages <= usize::from(SPARSE_PAGES)).count();
            assert_eq!(sparse, T5_SPARSE, "{accesses}");
        }
    }

    #[test]
    fn t5_scales_down() {
        for accesses in [1, 2, 10, 1000, 3000, 10_000, 50_000] {
            let folios = by_folio(&draw(Kind::T5, T5_FOLIOS, accesses));
            assert!(folios.contains_key(&T5_FOLIO));
            assert!(folios.len() as u64 <= accesses);
        }
        assert_eq!(draw(Kind::T5, 1, 100).keys().filter(|pfn| **pfn & !511 != T5_FOLIO).count(), 0);
    }

    #[test]
    fn the_other_kinds() {
        for (kind, pages) in
            [(Kind::Uniform, 512..=512), (Kind::Dense, 200..=512), (Kind::Sparse, 1..=260)]
        {
            let folios = by_folio(&draw(kind, 10, 100_000));
            assert_eq!(folios.len(), 10);
            for (touched, count) in folios.values() {
                assert!(pages.contains(touched), "{kind:?} {touched}");
                assert_eq!(*count, 10_000);
            }
        }
    }

    #[test]
    fn every_page_comes_in_turn() {
        for folios in [1, 2, 7, 1000] {
            let pages = folios as u64 * u64::from(PAGES);
            let counts = draw(Kind::EveryPage, folios, 2 * pages + 1);
            assert_eq!(counts.len() as u64, pages);
            assert_eq!(counts.values().filter(|count| **count == 2).count() as u64, pages - 1);
        }
    }

    #[test]
    fn base_pages_never_look_huge() {
        let mut rng = Rng::new(1);
        let mut plan = Plan::new(Kind::Uniform, 8, 20_000, &mut rng);
        let Plan::Drawn(drawn) = &plan else { panic!("folios are drawn") };
        let huge: BTreeMap<u64, bool> =
            drawn.folios.iter().map(|folio| (folio.pfn, folio.huge)).collect();
        assert!(huge.values().any(|huge| *huge) && huge.values().any(|huge| !*huge));
        while let Some(touch) = plan.next(&mut rng) {
            let differ = (touch.physical ^ touch.user) & ((1 << 21) - 1);
            assert_eq!(differ == 0, huge[&(touch.physical >> 12 & !511)]);
            assert_eq!(differ & 0xfff, 0);
            assert!(differ == 0 || differ & 0x1000 != 0);
        }
    }
}
