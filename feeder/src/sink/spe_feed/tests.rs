//! Sequences, against a kernel whose rules were written a second time.

use std::cell::RefCell;
use std::rc::Rc;

use heatmap::{ChunkOrder, HotThreshold, Verdict};
use spefeed::Kernel;

use super::*;
use crate::decision::Standing;
use crate::plan::Aim;

const SECOND: Duration = Duration::from_secs(1);

/// A kernel, what it does with writes, and the time.
#[derive(Debug, Default)]
struct World {
    kernel: Kernel,
    now: Duration,
    swallows: bool,
}

#[derive(Clone, Debug, Default)]
struct Shared(Rc<RefCell<World>>);

impl Device for Shared {
    fn write(&mut self, pfn: u64) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        if !world.swallows {
            world.kernel.write(format!("{pfn:#x}\n").as_bytes(), now);
        }
        Ok(())
    }

    fn stats(&mut self) -> io::Result<String> {
        Ok(self.0.borrow().kernel.stats())
    }
}

/// A feeding and its world.
struct Scene {
    feeding: Feeding<Shared>,
    world: Shared,
    order: u8,
}

fn terms(order: u8, aim: Aim) -> Terms {
    let order = ChunkOrder::try_new(order).expect("0 to 9");
    Terms { order, threshold: HotThreshold::default(), aim }
}

fn decision(number: u64, verdict: Verdict, hot_chunks: &[usize]) -> Decision {
    Decision {
        standing: Standing::AsTold,
        folio_pfn: number << 9,
        verdict,
        accesses: 10_000 - number,
        hot_chunks: hot_chunks.to_vec(),
        pid: None,
        vaddr: None,
    }
}

impl Scene {
    fn new(world: Shared, order: u8, aim: Aim, manner: Manner) -> Self {
        let now = world.0.borrow().now;
        let feeding = Feeding::begin(world.clone(), terms(order, aim), manner, now).unwrap();
        Self { feeding, world, order }
    }

    fn fresh(aim: Aim) -> Self {
        Self::new(Shared::default(), 2, aim, Manner::default())
    }

    /// Lets time pass, and the feeding do what is due meanwhile. Where a scheme runs, the kernel
    /// prunes all the time.
    fn pass(&mut self, time: Duration, scheme: bool) {
        let end = self.world.0.borrow().now + time;
        for _ in 0..1_000_000 {
            let now = self.world.0.borrow().now;
            if scheme {
                self.world.0.borrow_mut().kernel.prune(now);
            }
            let next = self.feeding.tend(now).unwrap();
            if scheme {
                self.world.0.borrow_mut().kernel.prune(now);
            }
            match next {
                Some(next) if next < end => self.world.0.borrow_mut().now = next.max(now),
                _ => {
                    self.world.0.borrow_mut().now = end;
                    return;
                }
            }
        }
        panic!("it never rests");
    }

    fn bitmap(&self, number: u64) -> Vec<usize> {
        let bitmap = self.world.0.borrow().kernel.bitmap(number << 9, self.order);
        let hot = bitmap.unwrap_or_default().into_iter().enumerate();
        hot.filter(|(_, hot)| *hot).map(|(chunk, _)| chunk).collect()
    }

    /// Everything that is believed is so.
    fn agrees(&self) {
        let world = self.world.0.borrow();
        for folio in self.feeding.held().model().folios() {
            let believed = self.feeding.held().model().entry(folio).map(|entry| *entry.counts());
            assert_eq!(world.kernel.counts(folio), believed, "{folio:#x}");
        }
        let (entries, accesses) = world.kernel.totals();
        let (ours, counted) = self.feeding.held().model().totals();
        assert_eq!((entries, accesses), (ours, counted));
    }
}

#[test]
fn heat_moves_and_the_kernel_follows() {
    for scheme in [false, true] {
        let mut scene = Scene::fresh(Aim::Faithful);
        scene.feeding.propose(vec![decision(1, Verdict::Hot, &[0, 5, 9])]);
        scene.pass(2 * SECOND, scheme);
        assert_eq!(scene.bitmap(1), [0, 5, 9]);
        assert_eq!(scene.world.0.borrow().kernel.totals(), (1, 3));
        // Leases live on for as long as nothing else is said.
        scene.pass(600 * SECOND, scheme);
        assert_eq!(scene.bitmap(1), [0, 5, 9]);
        scene
            .feeding
            .propose(vec![decision(1, Verdict::Hot, &[5, 9, 20]), decision(2, Verdict::Hot, &[7])]);
        scene.pass(10 * SECOND, scheme);
        assert_eq!((scene.bitmap(1), scene.bitmap(2)), (vec![5, 9, 20], vec![7]));
        // A folio that cooled is not renewed: where a scheme prunes, it goes.
        scene.feeding.propose(vec![decision(2, Verdict::Hot, &[7])]);
        scene.pass(60 * SECOND, scheme);
        assert_eq!(scene.bitmap(1).is_empty(), scheme);
        assert_eq!(scene.bitmap(2), [7]);
        scene.agrees();
        // One that is hot again after that reads as it should, be its entry fresh or old.
        scene
            .feeding
            .propose(vec![decision(1, Verdict::Hot, &[3]), decision(2, Verdict::Hot, &[7])]);
        scene.pass(10 * SECOND, scheme);
        assert_eq!(scene.bitmap(1), [3]);
        scene.agrees();
        let figures = scene.feeding.figures();
        assert_eq!((figures.lost, figures.unconfirmed, figures.mismatches), (0, 0, 0));
        assert_eq!(figures.lapses, 0);
    }
}

#[test]
fn leases_that_the_feeder_was_too_late_for_are_seen_and_mended() {
    for scheme in [false, true] {
        let mut scene = Scene::fresh(Aim::Protect);
        let decisions: Vec<_> =
            (1..=50).map(|number| decision(number, Verdict::Hot, &[1, 2, 3])).collect();
        scene.feeding.propose(decisions);
        scene.pass(6 * SECOND, scheme);
        let before: Vec<_> = (1..=50).map(|number| scene.bitmap(number)).collect();
        // The feeder sleeps for a minute, as a machine does that is suspended.
        scene.world.0.borrow_mut().now += 60 * SECOND;
        scene.pass(6 * SECOND, scheme);
        let after: Vec<_> = (1..=50).map(|number| scene.bitmap(number)).collect();
        assert_eq!(before, after);
        scene.agrees();
        assert_eq!(scene.feeding.figures().lapses, if scheme { 50 } else { 0 });
        assert_eq!(scene.feeding.figures().mismatches, 0);
    }
}

#[test]
fn ten_thousand_renewals_change_nothing() {
    let mut scene = Scene::fresh(Aim::Faithful);
    scene.feeding.propose(vec![
        decision(1, Verdict::Hot, &[0]),
        decision(2, Verdict::Hot, &[0, 1, 64, 127]),
    ]);
    while scene.feeding.figures().renewals < 10_000 {
        scene.pass(100 * SECOND, true);
        assert_eq!((scene.bitmap(1), scene.bitmap(2)), (vec![0], vec![0, 1, 64, 127]));
    }
    scene.agrees();
    assert_eq!(scene.feeding.figures().lapses, 0);
}

#[test]
fn writes_that_do_not_count_are_told_of_and_made_again() {
    let mut scene = Scene::fresh(Aim::Faithful);
    scene.world.0.borrow_mut().swallows = true;
    scene.feeding.propose(vec![decision(1, Verdict::Hot, &[4, 8])]);
    scene.pass(60 * SECOND, false);
    assert!(scene.feeding.figures().failing, "nothing more is proposed");
    assert_eq!(scene.feeding.figures().proven, 0);
    assert!(scene.feeding.figures().lost >= 6);
    assert!(scene.feeding.events().iter().any(|event| event.contains("do not count")));
    scene.world.0.borrow_mut().swallows = false;
    scene.pass(60 * SECOND, false);
    assert!(!scene.feeding.figures().failing);
    assert_eq!(scene.bitmap(1), [4, 8]);
    scene.agrees();
}

#[test]
fn another_writer_is_noticed_and_the_pattern_written_once_more() {
    let mut scene = Scene::fresh(Aim::Faithful);
    scene.feeding.propose(vec![decision(1, Verdict::Hot, &[4, 8])]);
    scene.pass(6 * SECOND, true);
    let now = scene.world.0.borrow().now;
    scene.world.0.borrow_mut().kernel.write(b"0x900000\n", now);
    scene.pass(20 * SECOND, true);
    assert_eq!(scene.bitmap(1), [4, 8]);
    let figures = scene.feeding.figures();
    assert_eq!((figures.mismatches, figures.strangers), (1, 1));
    assert!(scene.feeding.events().iter().any(|event| event.contains("somebody else writes")));
    // Its entry lapses, and all is known again.
    scene.pass(60 * SECOND, true);
    assert_eq!(scene.feeding.figures().strangers, 0);
    assert_eq!(scene.feeding.figures().mismatches, 1);
    scene.agrees();
}

#[test]
fn entries_that_were_there_are_left_alone_until_they_lapse() {
    // Ten are named, of the others only their number is known.
    for many in [3, 30] {
        let world = Shared::default();
        for number in 1..=many {
            let pfn = format!("{:#x}\n", number << 9 | 7);
            world.0.borrow_mut().kernel.write(pfn.as_bytes(), Duration::ZERO);
        }
        let mut scene = Scene::new(world, 2, Aim::Faithful, Manner::default());
        let decisions: Vec<_> =
            (1..=many + 5).map(|number| decision(number, Verdict::Hot, &[30])).collect();
        scene.feeding.propose(decisions);
        scene.pass(10 * SECOND, true);
        assert_eq!(scene.feeding.figures().strangers, many);
        (1..=5).for_each(|number| assert_eq!(scene.bitmap(many + number), [30]));
        assert!(scene.bitmap(1).contains(&1), "what it was");
        assert_eq!(scene.feeding.figures().unplaced, many);
        // Those that were written to before they were known live 30 s longer.
        scene.pass(90 * SECOND, true);
        (1..=many + 5).for_each(|number| assert_eq!(scene.bitmap(number), [30], "{number}"));
        assert_eq!(scene.feeding.figures().strangers, 0);
        scene.agrees();
    }
}

#[test]
fn what_cannot_be_renewed_in_time_is_not_fed() {
    let manner = Manner { writes_per_second: 10, ..Manner::default() };
    let mut scene = Scene::new(Shared::default(), 2, Aim::Faithful, manner);
    let decisions: Vec<_> = (1..=500).map(|number| decision(number, Verdict::Hot, &[1])).collect();
    scene.feeding.propose(decisions);
    scene.pass(300 * SECOND, true);
    let writes = scene.world.0.borrow().kernel.writes;
    assert!((2700..=3001).contains(&writes), "{writes} in 300 s");
    assert_eq!(scene.feeding.figures().leases, 180);
    assert_eq!((scene.feeding.figures().lapses, scene.feeding.figures().unplaced), (0, 320));
    scene.agrees();
}

#[test]
fn one_pass_writes_the_plan_and_nothing_else() {
    let manner = Manner { once: true, ..Manner::default() };
    let mut scene = Scene::new(Shared::default(), 2, Aim::Faithful, manner);
    scene
        .feeding
        .propose(vec![decision(1, Verdict::Hot, &[1, 2]), decision(2, Verdict::Hot, &[9])]);
    scene.pass(100 * SECOND, false);
    assert_eq!(scene.world.0.borrow().kernel.log, [0x205, 0x209, 0x425]);
    assert_eq!(scene.feeding.figures().proven, 3);
    assert_eq!(scene.feeding.tend(200 * SECOND).unwrap(), None);
    // Also where nothing arrives.
    let mut scene = Scene::new(Shared::default(), 2, Aim::Faithful, manner);
    scene.world.0.borrow_mut().swallows = true;
    scene.feeding.propose(vec![decision(1, Verdict::Hot, &[1, 2])]);
    scene.pass(100 * SECOND, false);
    assert_eq!(scene.feeding.figures().lost, 2);
    assert_eq!(scene.feeding.tend(200 * SECOND).unwrap(), None);
}
