//! Asks a daemon at a steady rate, whether it keeps up or not, for the script `compare`:
//! `load ADDRESS RATE SECONDS` prints the questions and how long answers took, in microseconds
//! from when each was due: median, 99 of 100, longest; then the same of batches of 10,000.

use std::error::Error;
use std::time::{Duration, Instant};

use client::{self, Address};
use proto::v1;
use tokio::runtime::Handle;

/// Folios in a batch.
const BATCH: usize = 10_000;
/// Batches.
const BATCHES: usize = 30;

fn line(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = ((times.len() - 1) as f64 * part) as usize;
        times[index].as_micros()
    };
    format!("{} {} {} {}", times.len(), at(0.5), at(0.99), at(1.0))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, rate, seconds] = &arguments[..] else {
        return Err("usage: load ADDRESS RATE SECONDS".into());
    };
    let (rate, seconds): (u32, u32) = (rate.parse()?, seconds.parse()?);
    let address: Address = address.parse()?;
    let channel = loop {
        match client::connect(&address).await {
            Ok(channel) => break channel,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let client = client::heatmap(channel);
    let pfns: Vec<u64> = loop {
        let question =
            v1::ListFoliosRequest { page_size: 1000, ..v1::ListFoliosRequest::default() };
        match client.clone().list_folios(question).await {
            Ok(answer) if !answer.get_ref().folios.is_empty() => {
                let folios = answer.into_inner().folios.into_iter();
                break folios.filter_map(|folio| Some(folio.fraction?.folio_pfn)).collect();
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    // A thread of its own: the runtime's clock goes in steps of a millisecond.
    let (runtime, asking, asked) = (Handle::current(), client.clone(), pfns.clone());
    let asker = std::thread::spawn(move || {
        let start = Instant::now();
        let ask = |number: u32| {
            let due = start + Duration::from_secs(1) * number / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut client = asking.clone();
            let pfn = asked[number as usize % asked.len()];
            runtime.spawn(async move {
                let folio = Some(v1::get_hot_fraction_request::Folio::Pfn(pfn));
                let question =
                    v1::GetHotFractionRequest { folio, ..v1::GetHotFractionRequest::default() };
                let answer = client.get_hot_fraction(question).await;
                // That a folio was forgotten meanwhile is an answer too.
                let answered =
                    answer.map_or_else(|refused| refused.code() == tonic::Code::NotFound, |_| true);
                (answered, due.elapsed())
            })
        };
        (0..rate * seconds).map(ask).collect::<Vec<_>>()
    });
    let answers = tokio::task::spawn_blocking(|| asker.join()).await?;
    let answers = answers.map_err(|_| "the thread that asks is gone")?;
    let mut times = Vec::new();
    let mut failed = 0;
    for answer in answers {
        let (answered, time) = answer.await?;
        times.push(time);
        failed += u32::from(!answered);
    }
    println!("{}", line(times));
    let mut times = Vec::new();
    let asked: Vec<u64> = (0..BATCH).map(|at| pfns[at % pfns.len()] + at as u64 % 512).collect();
    for _ in 0..BATCHES {
        let question = v1::BatchGetHotFractionsRequest {
            pfns: asked.clone(),
            ..v1::BatchGetHotFractionsRequest::default()
        };
        let start = Instant::now();
        let answer = client.clone().batch_get_hot_fractions(question).await;
        times.push(start.elapsed());
        failed += u32::from(answer.is_err());
    }
    println!("{}", line(times));
    if failed > 0 {
        return Err(format!("{failed} questions were not answered").into());
    }
    Ok(())
}
