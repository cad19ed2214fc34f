//! A directory in memory as a call uses it.

use super::{Content, NODE_BYTES, NODES_MAX, Opening, Scratch};
use crate::policy::files::errno;

const CREATE: Opening = Opening {
    directory: false,
    create: true,
    exclusive: false,
    truncate: false,
    write: true,
    append: false,
};

fn create(scratch: &mut Scratch, path: &str, content: &[u8]) -> Result<(), i32> {
    let node = scratch.open(Scratch::ROOT, path.as_bytes(), CREATE)?;
    let written = scratch.write(node, content, 0);
    scratch.close(node);
    written
}

#[test]
fn what_is_removed_gives_its_room_back() {
    let mut scratch = Scratch::new(4 * NODE_BYTES);
    for _ in 0..100 {
        create(&mut scratch, "f", &[1; 500]).expect("there is room");
        assert_eq!(create(&mut scratch, "f", &[1; 800]), Err(errno::NOSPC));
        scratch
            .remove(Scratch::ROOT, b"f", false)
            .expect("it is there");
        scratch
            .create_directory(Scratch::ROOT, b"d")
            .expect("there is room");
        scratch
            .remove(Scratch::ROOT, b"d", true)
            .expect("it is empty");
    }
    assert_eq!((scratch.bytes, scratch.nodes.len()), (0, 2));
    // While it is open, it stays without a name.
    let node = scratch.open(Scratch::ROOT, b"f", CREATE).expect("room");
    scratch.write(node, b"abc", 2).expect("room");
    scratch
        .remove(Scratch::ROOT, b"f", false)
        .expect("it is there");
    let mut read = [9; 8];
    assert_eq!(scratch.read(node, &mut read, 1), Ok(4));
    assert_eq!(&read[..4], b"\0abc");
    scratch.close(node);
    assert_eq!(scratch.bytes, 0);
}

#[test]
fn a_directory_does_not_move_into_itself() {
    let mut scratch = Scratch::new(1 << 20);
    let root = Scratch::ROOT;
    for path in [&b"a"[..], b"a/b", b"a/b/c", b"z"] {
        scratch.create_directory(root, path).expect("room");
    }
    create(&mut scratch, "a/b/f", b"x").expect("room");
    for to in [&b"a/b/c/a"[..], b"a/x"] {
        assert_eq!(scratch.rename((root, b"a"), (root, to)), Err(errno::INVAL));
    }
    scratch
        .rename((root, b"a/b"), (root, b"z"))
        .expect("z is empty");
    assert_eq!(scratch.stat_beneath(root, b"z/f").map(|it| it.len), Ok(1));
    assert_eq!(
        scratch.rename((root, b"a"), (root, b"z")),
        Err(errno::NOTEMPTY)
    );
    assert_eq!(
        scratch.rename((root, b"a"), (root, b"z/f")),
        Err(errno::NOTDIR)
    );
    assert_eq!(
        scratch.rename((root, b"z/f"), (root, b"a")),
        Err(errno::ISDIR)
    );
    scratch
        .rename((root, b"z/f"), (root, b"z/g"))
        .expect("free");
    assert_eq!(scratch.stat_beneath(root, b"z/f"), Err(errno::NOENT));
}

#[test]
fn nothing_moves_into_a_directory_that_was_removed() {
    let mut scratch = Scratch::new(1 << 20);
    let root = Scratch::ROOT;
    for path in [&b"x"[..], b"x/d", b"w", b"q"] {
        scratch.create_directory(root, path).expect("room");
    }
    let opening = Opening::default();
    let d = scratch.open(root, b"x/d", opening).expect("it is there");
    let w = scratch.open(root, b"w", opening).expect("it is there");
    for path in [&b"x/d"[..], b"x"] {
        scratch.remove(root, path, true).expect("it is empty");
    }
    let moved = scratch.rename((root, b"w"), (d, b"w"));
    assert_eq!(moved, Err(errno::NOENT));
    // Whoever accepted that would go in a circle here.
    scratch.create_directory(w, b"z").expect("room");
    assert_eq!(scratch.rename((root, b"q"), (w, b"q")), Ok(()));
    assert!(scratch.stat_beneath(root, b"w/q").is_ok());
}

#[test]
fn a_file_that_is_shortened_gives_its_memory_back() {
    let mut scratch = Scratch::new(1 << 20);
    let node = scratch.open(Scratch::ROOT, b"f", CREATE).expect("room");
    scratch.set_len(node, 500_000).expect("room");
    scratch.set_len(node, 1).expect("it is longer");
    let Content::File(content) = &scratch.nodes[node].content else {
        panic!("it is a file");
    };
    assert!(content.capacity() < 1000, "{}", content.capacity());
}

#[test]
fn paths_end_at_the_directory() {
    let mut scratch = Scratch::new(1 << 20);
    let root = Scratch::ROOT;
    scratch.create_directory(root, b"a").expect("room");
    create(&mut scratch, "f", b"x").expect("room");
    let a = scratch
        .open(root, b"a", Opening::default())
        .expect("it is there");
    for (base, path, expected) in [
        (root, &b".."[..], errno::NOTCAPABLE),
        (root, b"/f", errno::NOTCAPABLE),
        (root, b"a/../../f", errno::NOTCAPABLE),
        (a, b"../f", errno::NOTCAPABLE),
        (root, b"", errno::NOENT),
        (root, b"f\0", errno::INVAL),
        (root, b"f/x", errno::NOTDIR),
        (root, b"none/x", errno::NOENT),
        (root, &[b'x'; 256], errno::NAMETOOLONG),
    ] {
        assert_eq!(scratch.open(base, path, CREATE), Err(expected), "{path:?}");
    }
    assert_eq!(
        scratch.stat_beneath(root, b"./a//../f").map(|it| it.len),
        Ok(1)
    );
    assert_eq!(scratch.remove(a, b".", true), Err(errno::INVAL));
    scratch.remove(root, b"a", true).expect("it is empty");
    assert_eq!(
        scratch.open(a, b"f", CREATE),
        Err(errno::NOENT),
        "it is gone"
    );
}

#[test]
fn names_are_bounded() {
    let mut scratch = Scratch::new(1 << 40);
    let made = (0..).map_while(|number: u32| create(&mut scratch, &number.to_string(), b"").ok());
    assert_eq!(made.count(), NODES_MAX - 1);
    let node = scratch
        .open(Scratch::ROOT, b"1", CREATE)
        .expect("it is there");
    assert_eq!(scratch.write(node, b"x", u64::MAX), Err(errno::NOSPC));
    assert_eq!(scratch.set_len(node, u64::MAX), Err(errno::NOSPC));
}
