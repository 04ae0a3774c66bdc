//! Stories of processes as chance tells them.

use tests::emulation::thinned;
use tests::laws;
use tracegen::rng::Rng;

/// Stories, of up to some hundred steps each.
const STORIES: u64 = 200;

#[test]
fn each_access_has_its_process_and_thread_in_every_form() {
    for seed in thinned("stories", 0..STORIES, 10) {
        let mut rng = Rng::new(seed);
        let len = usize::try_from(rng.below(1500)).expect("a length");
        let bytes: Vec<u8> = (0..len).map(|_| rng.below(256).to_le_bytes()[0]).collect();
        let told = std::panic::catch_unwind(|| laws::who(&bytes));
        assert!(told.is_ok(), "story {seed}");
    }
}
