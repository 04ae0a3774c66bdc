//! What the daemon proposes over two minutes, of memory whose truth is known: the short form of the program
//! `verdict-over-time`, which measures all cells.

use crate::program::command_words;

#[test]
fn evenly_hot_blocks_are_not_proposed_however_often_they_are_looked_at() {
    let table = verdict_over_time::measure_short(&command_words()).expect("it can be measured");
    // Three numbers of hot chunks by three kinds of visits, and a cell that is to be proposed: without it a daemon that
    // proposes nothing would pass.
    assert_eq!(table.rows.len(), 10, "{table}");
    assert_eq!(table.missed().count(), 0, "{table}");
    for row in &table.rows {
        assert_eq!(row.blocks, 60, "{row}");
        assert!(row.one_look >= row.proposed, "{row}");
    }
}
