//! This file tells of orders that a node gives again because it has not heard that they were carried out.

use super::stories::Story;
use crate::raft::{Ask, Role};

/// A member gives an order, and hears nothing from a moment on, early or late.
fn order_and_hear_nothing(seed: u64, ask: Ask) -> (Story, String) {
    let mut story = Story::found(seed, 4, |_| {});
    story.serve();
    let asker = story.followers().remove(0);
    story.cluster.ask(&asker, ask, 10_000);
    story.ticks(3 + seed % 8);
    pause(&mut story, &asker, true);
    (story, asker)
}

fn pause(story: &mut Story, name: &str, is_paused: bool) {
    story.cluster.replicas.get_mut(name).expect("it runs").is_paused = is_paused;
}

/// The leader of a cluster of so many voters.
fn size(story: &Story) -> Option<usize> {
    story
        .cluster
        .statuses()
        .values()
        .find(|status| status.role == Role::Leader)
        .map(|status| status.cluster_size)
}

/// Who was removed, and joins again before the other hears of either, stays.
pub(super) fn a_removal_is_not_repeated(seed: u64) {
    let removed = "n3";
    let mut story = Story::found(seed, 4, |_| {});
    story.serve();
    if story.followers().remove(0) == removed || story.leader().as_deref() == Some(removed) {
        return;
    }
    let (mut story, asker) = order_and_hear_nothing(seed, Ask::Remove { id: removed.into() });
    let former = story.cluster.replicas[removed].incarnation;
    let is_back = |story: &Story| {
        let statuses = story.cluster.statuses();
        let leads = statuses.values().find(|status| status.role == Role::Leader);
        leads.is_some_and(|status| {
            let named: Vec<_> = status.members.iter().filter(|member| &*member.id == removed).collect();
            named.len() == 1 && Some(named[0].incarnation) != former
        })
    };
    for _ in 0..2_000 {
        if !is_back(&story) {
            story.ticks(1);
        }
    }
    let has_joined_again = is_back(&story);
    let now = story.cluster.replicas[removed].incarnation;
    pause(&mut story, &asker, false);
    story.until("the order is carried out", |story| {
        !story.cluster.replicas[&asker].application.answered.is_empty()
    });
    story.ticks(500);
    if has_joined_again {
        assert_eq!(story.cluster.replicas[removed].incarnation, now, "it was removed twice");
    }
    story.serve();
}

/// Another size that was ordered since stays.
pub(super) fn a_resize_is_not_repeated(seed: u64) {
    let (mut story, asker) = order_and_hear_nothing(seed, Ask::Resize { cluster_size: 5 });
    for _ in 0..200 {
        if size(&story) != Some(5) {
            story.ticks(1);
        }
    }
    let was_resized = size(&story) == Some(5);
    if was_resized {
        let other = story.cluster.replicas.keys().find(|name| **name != asker).cloned().expect("four run");
        story.cluster.ask(&other, Ask::Resize { cluster_size: 3 }, 10_000);
        story.until("it is resized again", |story| size(story) == Some(3));
    }
    pause(&mut story, &asker, false);
    story.until("the order is carried out", |story| {
        !story.cluster.replicas[&asker].application.answered.is_empty()
    });
    story.ticks(500);
    assert_eq!(size(&story), Some(if was_resized { 3 } else { 5 }), "it was resized twice");
}

#[test]
fn an_order_that_is_given_again_is_not_carried_out_twice() {
    for seed in 0..60 {
        a_removal_is_not_repeated(seed);
        a_resize_is_not_repeated(seed);
    }
}
