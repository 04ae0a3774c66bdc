//! x
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let f = std::io::BufReader::new(std::fs::File::open(&a[2]).unwrap());
    let d = feeder::decisions::read(f, a[6].parse().unwrap()).unwrap();
    println!("{}", feeder::sink::damo::json(&d, &Default::default()).unwrap());
}
