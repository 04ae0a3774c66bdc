//! Prints the packets and records in raw bytes of Arm SPE, as they lie in an AUX buffer:
//! `cargo run --release --example raw_spe -- FILE`.

use decoder::spe::{Decoder, Packets};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a file")?;
    let bytes = std::fs::read(path)?;
    for (number, packet) in Packets::new(&bytes).enumerate().take(20) {
        println!("packet {number}: {packet:x?}");
    }
    let mut decoder = Decoder::default();
    decoder.feed(&bytes, 0, &mut |record, end| {
        println!(
            "record up to byte {end}: data at {:x?}, events {:x?}",
            record.data_pa(),
            record.events()
        );
    });
    decoder.finish();
    println!("{:?}", decoder.bytes());
    Ok(())
}
