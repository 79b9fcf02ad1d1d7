//! Tests of what only this channel has: entries in a directory.

use std::fs;

use bytes::Bytes;

use super::testing::Folder;
use crate::{
    channel::{
        Channel, Health,
        contract::{broken, healthy, heard, incarnation, until},
    },
    raft::Target,
};

fn entries(folder: &Folder) -> usize {
    fs::read_dir(folder.path()).expect("the folder is there").count()
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_killed_process_left_behind_is_removed() {
    let folder = Folder::of_unix_sockets();
    let mut one = folder.named("channel", "name").join(incarnation(1));
    healthy(&mut one).await;
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("left.sock")).expect("it is bound"));
    fs::write(folder.path().join("note.txt"), "no entry").expect("it is written");
    let mut two = folder.named("channel", "name").join(incarnation(2));
    healthy(&mut two).await;
    until(|| entries(&folder) == 3).await;
    one.close().await;
    two.close().await;
    until(|| entries(&folder) == 1).await;
}

#[tokio::test]
async fn a_port_file_that_leads_to_no_node_is_harmless() {
    let folder = Folder::of_port_files();
    let mut one = folder.named("channel", "name").join(incarnation(1));
    healthy(&mut one).await;
    fs::write(folder.path().join("bad.port"), "no port").expect("it is written");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    fs::write(folder.path().join("left.port"), format!("{port} {}", uuid::Uuid::nil()))
        .expect("it is written");
    let mut two = folder.named("channel", "name").join(incarnation(2));
    healthy(&mut two).await;
    two.outbound.say(Target::All, Bytes::from("hello"));
    assert_eq!(heard(&mut one, 1).await, ["hello"]);
    until(|| !folder.path().join("left.port").exists()).await;
}

#[tokio::test]
async fn a_process_that_could_not_read_the_port_file_is_not_let_in() {
    let folder = Folder::of_port_files();
    let mut one = folder.named("channel", "name").join(incarnation(1));
    healthy(&mut one).await;
    let entry =
        fs::read_dir(folder.path()).expect("the folder is there").next().expect("one").expect("entry");
    let text = fs::read_to_string(entry.path()).expect("it is read");
    let (port, _) = text.split_once(' ').expect("a port and a token");
    let guessed = Folder::of_port_files();
    drop(guessed.named("channel", "name").join(incarnation(9)));
    fs::write(guessed.path().join("copy.port"), format!("{port} {}", uuid::Uuid::nil()))
        .expect("it is written");
    let mut two = guessed.named("channel", "name").join(incarnation(2));
    healthy(&mut two).await;
    two.outbound.say(Target::All, Bytes::from("forged"));
    let mut three = folder.named("channel", "name").join(incarnation(3));
    healthy(&mut three).await;
    three.outbound.say(Target::All, Bytes::from("fence"));
    assert_eq!(heard(&mut one, 1).await, ["fence"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::of_unix_sockets();
    fs::create_dir(folder.path()).expect("it is created");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut link = folder.named("channel", "name").join(incarnation(1));
    let cause = broken(&mut link).await;
    let reason = "other users may access it; its mode must be 0700";
    assert_eq!(cause, format!("the directory {}: {reason}", folder.path().display()));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    healthy(&mut link).await;
    assert_eq!(*link.health.borrow(), Health::Healthy);
}
