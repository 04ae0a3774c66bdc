//! Prints the ten pages of 4 KiB that were accessed most: `cargo run --release --example hottest -- perf.data`.

use std::collections::HashMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a recording")?;
    let mut counts: HashMap<_, u64> = HashMap::new();
    let recording = decoder::for_each_access(path, |access| {
        if let Some(address) = access.paddr {
            *counts.entry(address.pfn()).or_default() += 1;
        }
    })?;
    let mut pages: Vec<_> = counts.into_iter().collect();
    pages.sort_by_key(|(pfn, count)| (std::cmp::Reverse(*count), *pfn));
    for (pfn, count) in pages.iter().take(10) {
        println!("{:#x} {count}", pfn.get());
    }
    let lost: Vec<_> = recording.ledger.losses().collect();
    eprintln!("lost: {lost:?}");
    Ok(())
}
