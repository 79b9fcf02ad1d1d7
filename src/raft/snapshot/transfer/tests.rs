//! Tests that an image arrives, whatever happens to its chunks.

use super::*;
use crate::raft::wire::message::Roster;

fn image(bytes: usize) -> Bytes {
    let mut snapshot = Snapshot::found(&Roster(vec![(Incarnation::from_u128(1), "a".into())]));
    snapshot.state = Some(vec![b'7'; bytes].into());
    snapshot.encode().image
}

fn transfer(bytes: usize) -> Transfer {
    of_image(image(bytes))
}

fn of_image(image: Bytes) -> Transfer {
    let options = Options::new("any", 3, [0; 32]);
    Transfer::new(1, 2, Incarnation::from_u128(3), (7, image), &options, false)
}

/// What the receiver says of what it has: true if that is all.
fn acknowledge(transfer: &mut Transfer, reception: &Reception) -> bool {
    let (bytes, held) = reception.parts();
    transfer.acknowledge(bytes, &held)
}

fn ticks(transfer: &mut Transfer, count: u64) {
    for _ in 0..count {
        assert_eq!(transfer.tick(1_000), Patience::Waits);
    }
}

#[test]
fn an_image_arrives_whole_whatever_is_lost_or_repeated() {
    let mut transfer = transfer(3 << 20);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 3_000, "it makes no progress");
        let mut chunks = Vec::new();
        while chunks.is_empty() {
            ticks(&mut transfer, 1);
            chunks = transfer.chunks();
        }
        assert!(chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>() <= WINDOW_CHUNKS * CHUNK_BYTES);
        // Every third is lost, every other comes twice.
        let arriving = chunks.iter().enumerate().filter(|(i, _)| (i + rounds) % 3 != 0);
        for chunk in arriving.flat_map(|(i, chunk)| std::iter::repeat_n(chunk, 1 + i % 2)) {
            match reception.take(chunk) {
                Received::Part => assert!(!acknowledge(&mut transfer, &reception)),
                Received::Whole { image, .. } => {
                    assert!(transfer.acknowledge(image.len() as u64, &[]));
                    assert_eq!(image, self::image(3 << 20));
                    return;
                }
                Received::Broken => panic!("nothing was damaged"),
            }
        }
    }
}

/// Killed while it installs, it comes back from its disk as the same member, and has no chunk.
#[test]
fn a_receiver_that_has_lost_its_first_chunks_gets_them_again() {
    let mut transfer = transfer(3 << 20);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    for round in 0..1_000 {
        // The second time it has lost what it had behind a gap, and nothing else.
        if round == 2 || round == 40 {
            reception = Reception::new(Incarnation::from_u128(1), 1, 2);
        }
        ticks(&mut transfer, 1);
        for chunk in transfer.chunks().iter().skip(usize::from((3..40).contains(&round))) {
            match reception.take(chunk) {
                Received::Part => assert!(!acknowledge(&mut transfer, &reception)),
                Received::Whole { image, .. } => return assert_eq!(image, self::image(3 << 20)),
                Received::Broken => panic!("nothing was damaged"),
            }
        }
    }
    panic!("it makes no progress");
}

/// It has lost a chunk that it held behind a gap, and says again and again that it has nothing.
#[test]
fn answers_without_progress_do_not_delay_what_the_receiver_has_lost() {
    let mut transfer = transfer(1 << 20);
    let held = transfer.chunks().swap_remove(1);
    let end = held.offset + held.bytes.len() as u64;
    assert!(!transfer.acknowledge(0, &[(held.offset, end)]));
    let is_sent_again = (0..1_000).any(|_| {
        ticks(&mut transfer, 1);
        assert!(!transfer.acknowledge(0, &[]));
        transfer.chunks().iter().any(|chunk| chunk.offset == held.offset)
    });
    assert!(is_sent_again, "the receiver waits for a chunk that it is believed to hold");
}

#[test]
fn a_receiver_that_is_silent_for_too_long_is_given_up() {
    let mut transfer = transfer(10);
    let ticks = (1..).take_while(|_| transfer.tick(50) == Patience::Waits).count();
    assert_eq!(ticks, 49);
}

/// A large state over a slow line takes longer than the patience that its sender has with silence.
#[test]
fn a_receiver_that_is_heard_is_never_given_up() {
    let mut transfer = transfer(3 << 20);
    for number in 1..=12 {
        for _ in 0..49 {
            assert_eq!(transfer.tick(50), Patience::Waits);
        }
        assert!(!transfer.acknowledge(number * 4096, &[]));
    }
}

#[test]
fn what_arrives_gives_way_to_what_is_newer_and_to_nothing_else() {
    let [sender, other] = [1, 2].map(Incarnation::from_u128);
    let chunk = |transfer, term| Chunk { transfer, term, ..self::transfer(10).chunks().remove(0) };
    let mut reception = Reception::new(sender, 7, 3);
    assert!(reception.gives_way_to(sender, &chunk(7, 3)), "it is a part of it");
    assert!(reception.gives_way_to(sender, &chunk(8, 3)), "the sender began again");
    assert!(!reception.gives_way_to(sender, &chunk(6, 3)), "what the sender began before is late");
    assert!(reception.gives_way_to(other, &chunk(1, 4)), "a later leader's");
    for (transfer, term) in [(9, 3), (9, 2)] {
        assert!(!reception.gives_way_to(other, &chunk(transfer, term)), "no later leader's");
    }
    for _ in 1..50 {
        assert_eq!(reception.tick(50), Patience::Waits);
    }
    assert!(matches!(reception.take(&Chunk { offset: 5, ..chunk(7, 3) }), Received::Part));
    assert_eq!(reception.progress(), (7, 0));
    assert_eq!((1..).take_while(|_| reception.tick(50) == Patience::Waits).count(), 49);
}

#[test]
fn what_is_damaged_or_no_snapshot_is_noticed() {
    let mut chunk = transfer(10).chunks().remove(0);
    chunk.checksum ^= 1;
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    assert!(matches!(reception.take(&chunk), Received::Broken));
    let image = Bytes::from_static(b"no image");
    let mut transfer = of_image(image);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    assert!(matches!(reception.take(&transfer.chunks()[0]), Received::Broken));
}

/// Where the network changes the order, nothing waits until it is sent again.
#[test]
fn what_arrives_out_of_order_is_kept_and_only_what_is_missing_is_sent_again() {
    let mut transfer = transfer(1 << 20);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    let first = transfer.chunks();
    assert!(first.len() > 2);
    for chunk in first.iter().skip(1).rev() {
        assert!(matches!(reception.take(chunk), Received::Part));
        assert!(!acknowledge(&mut transfer, &reception));
    }
    assert_eq!(reception.progress().1, 0);
    // What is behind the gap makes room for more.
    let second = transfer.chunks();
    assert!(second.iter().all(|chunk| chunk.offset > first.last().expect("it has several").offset));
    ticks(&mut transfer, 25);
    let again = transfer.chunks();
    assert_eq!(again.first().map(|chunk| chunk.offset), Some(0), "the missing one comes first");
    let repeated = again.iter().filter(|chunk| first[1..].iter().any(|one| one.offset == chunk.offset));
    assert_eq!(repeated.count(), 0, "what is held is not sent again");
    assert!(matches!(reception.take(&first[0]), Received::Part));
    let end: u64 = first.iter().map(|chunk| chunk.bytes.len() as u64).sum();
    assert_eq!(reception.progress().1, end, "it was kept");
}

/// However long the wait has become before something silent is sent again.
#[test]
fn a_chunk_that_later_ones_have_overtaken_is_sent_again_at_once() {
    let mut transfer = transfer(1 << 20);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    // Nothing arrives for long.
    transfer.chunks();
    ticks(&mut transfer, 400);
    let mut arriving = transfer.chunks();
    let lost = arriving.remove(0).offset;
    for waited in 0.. {
        assert!(waited < 30, "it waits as long as for something of which nothing is heard");
        for chunk in &arriving {
            reception.take(chunk);
        }
        if reception.progress().1 > lost {
            return;
        }
        acknowledge(&mut transfer, &reception);
        ticks(&mut transfer, 1);
        arriving = transfer.chunks();
    }
}

/// Over a line where a chunk takes long, an acknowledgement is late and not lost.
#[test]
fn a_slow_line_is_not_given_everything_twice() {
    let mut transfer = transfer(1 << 20);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    // 1 Mbit/s, at 10 ms a tick.
    let (mut line, mut budget, mut bytes) = (std::collections::VecDeque::<Chunk>::new(), 0, 0);
    for now in 0.. {
        assert!(now < 1_050, "1 MiB takes 839 ticks");
        ticks(&mut transfer, 1);
        let chunks = transfer.chunks();
        bytes += chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        line.extend(chunks);
        budget = if line.is_empty() { 0 } else { budget + 1_250 };
        while let Some(chunk) = line.front().filter(|chunk| chunk.bytes.len() <= budget).cloned() {
            line.pop_front();
            budget -= chunk.bytes.len();
            match reception.take(&chunk) {
                Received::Part => assert!(!acknowledge(&mut transfer, &reception)),
                Received::Whole { .. } => {
                    return assert!(bytes < (1 << 20) + (64 << 10), "{bytes} bytes were sent");
                }
                Received::Broken => panic!("nothing was damaged"),
            }
        }
        let waiting: usize = line.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(waiting <= 40 << 10, "{waiting} bytes wait in the line at {now}");
    }
}

#[test]
fn an_image_that_takes_the_place_of_another_knows_the_line() {
    let mut former = transfer(1 << 20);
    former.chunks();
    let next = transfer(1 << 20).overtakes(&former);
    assert_eq!(next.overtaken, 1);
    let mut reception = Reception::new(Incarnation::from_u128(1), 1, 2);
    let mut next = next;
    reception.take(&next.chunks()[0]);
    assert!(reception.describe().starts_with("receiving the state: 0.0 of 1.0 MB, anew (1 before)"));
}
