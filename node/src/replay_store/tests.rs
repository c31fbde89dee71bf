//! Journals that end anywhere, that are damaged anywhere, and disks that are full.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Mutex;

use phix_engine::replay::Verdict;
use tempfile::TempDir;

use super::format::BLOCK_HEAD;
use super::load::Loaded;
use super::*;

const NUMBER: u32 = 20_779;

fn secret(byte: u8) -> NodeSecret {
    NodeSecret::from_bytes([byte; 32])
}

fn mark(number: u64) -> Mark {
    let hash = blake3::hash(&number.to_le_bytes());
    Mark::from_bits(u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap()) | 1).unwrap()
}

fn filter() -> ReplayFilter {
    ReplayFilter::over(Box::new(Memory::private(1).unwrap()), [1; 32], NUMBER)
}

fn load(path: &Path) -> Result<Loaded, LoadFault> {
    load::find(path, NUMBER, JournalKeys::of(&secret(1)))?.load(&filter(), &mut |_| {})
}

/// A journal of blocks with so many marks each, and its bytes.
fn journal(blocks: &[usize]) -> (TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_path(dir.path(), NUMBER);
    let mut journal = Journal::create(&path, NUMBER, JournalKeys::of(&secret(1))).unwrap();
    let mut marks = (0..).map(mark);
    for &count in blocks {
        journal.append(&marks.by_ref().take(count).collect::<Vec<_>>()).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    (dir, path, bytes)
}

#[test]
fn a_torn_end_is_cut_at_every_length_and_written_over() {
    let blocks = [12, 6, 20, 12];
    let (_dir, path, bytes) = journal(&blocks);
    let mut ends = vec![HEAD];
    for count in blocks {
        ends.push(ends.last().unwrap() + BLOCK_HEAD + count * MARK);
    }
    assert_eq!(*ends.last().unwrap(), bytes.len());
    for len in HEAD..=bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let whole = ends.iter().filter(|&&end| end <= len).count() - 1;
        let mut loaded = load(&path).unwrap();
        let marks: usize = blocks[..whole].iter().sum();
        assert_eq!(loaded.marks, marks as u64, "{len}");
        assert_eq!(loaded.cut, (len - ends[whole]) as u64, "{len}");
        assert_eq!(fs::metadata(&path).unwrap().len(), ends[whole] as u64);
        loaded.journal.append(&[mark(99), mark(98)]).unwrap();
        assert_eq!(load(&path).unwrap().marks, marks as u64 + 2, "{len}: it goes on");
    }
    for len in 0..HEAD {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(matches!(load(&path), Err(LoadFault::Head(HeadFault::Damaged))), "{len}");
    }
}

#[test]
fn an_end_that_was_never_filled_in_is_cut() {
    let (_dir, path, mut bytes) = journal(&[3, 4]);
    let whole = bytes.len();
    bytes.resize(whole + 5000, 0);
    fs::write(&path, &bytes).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!((loaded.marks, loaded.cut), (7, 5000));
}

#[test]
fn a_flipped_bit_is_refused_or_cuts_the_last_block() {
    let (_dir, path, bytes) = journal(&[3, 1, 2]);
    let last = bytes.len() - BLOCK_HEAD - 2 * MARK;
    for bit in 0..bytes.len() * 8 {
        let (byte, mut changed) = (bit / 8, bytes.clone());
        changed[byte] ^= 1 << (bit % 8);
        fs::write(&path, &changed).unwrap();
        match load(&path) {
            Err(LoadFault::Head(fault)) if byte < HEAD => {
                let expected = match byte {
                    0..8 => HeadFault::NoJournal,
                    8..12 => HeadFault::Version,
                    16..32 => HeadFault::OtherKey,
                    _ => HeadFault::Damaged,
                };
                assert_eq!(fault, expected, "bit {bit}");
            }
            Err(LoadFault::Block(at)) if (HEAD..last).contains(&byte) => {
                assert!(at <= byte as u64, "bit {bit}");
                assert_eq!(fs::read(&path).unwrap(), changed, "nothing is changed");
            }
            Ok(Loaded { marks: 4, .. }) if byte >= last => {}
            other => panic!("bit {bit}: {:?}", other.map(|loaded| loaded.marks)),
        }
    }
}

#[test]
fn a_journal_serves_its_own_key_only() {
    let (_dir, path, _) = journal(&[1]);
    let fault = load::find(&path, NUMBER, JournalKeys::of(&secret(2))).err();
    assert!(matches!(fault, Some(LoadFault::Head(HeadFault::OtherKey))), "{fault:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&path).unwrap();
    for secret in [secret(1).as_bytes(), &*JournalKeys::of(&secret(1)).filter] {
        assert!(!bytes.windows(8).any(|window| secret.starts_with(window)), "no secret inside");
    }
}

#[test]
fn many_blocks_come_back_on_all_cores() {
    let (_dir, path, _) = journal(&[700; 20]);
    let filter = ReplayFilter::new(20_000, [1; 32]);
    let mut told = 0;
    let found = load::find(&path, NUMBER, JournalKeys::of(&secret(1))).unwrap();
    assert_eq!(found.marks, 14_000);
    assert_eq!(found.load(&filter, &mut |done| told = done).unwrap().marks, 14_000);
    assert!(told <= 14_000);
    let before = filter.len();
    assert!(before > 13_900, "hardly any two marks share a place: {before}");
    filter.restore(&(0..14_000).map(mark).collect::<Vec<_>>());
    assert_eq!(filter.len(), before, "all of them are there");
}

#[test]
fn a_store_remembers_in_a_larger_filter_and_for_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let tags = (0..100_000_u32).map(|n| blake3::hash(&n.to_le_bytes()).into());
    let tags: Vec<[u8; 32]> = tags.collect();
    let open = || Store::open(Some(dir.path()), |_| {}).unwrap();
    let store = open();
    let (filter, mut sink) = (store.filter(NUMBER, &secret(1), 100_000).unwrap(), store.sink());
    let mut verdicts = [Verdict::Full; 64];
    for tags in tags.chunks(64) {
        let (mut marks, verdicts) = (Vec::new(), &mut verdicts[..tags.len()]);
        filter.check_and_mark_all(tags, verdicts, |mark| marks.push(mark));
        assert!(sink.remember(&filter, &marks));
    }
    assert_eq!(store.close(), 0, "all is saved");
    drop(store);
    let store = open();
    let filter = store.filter(NUMBER, &secret(1), 1_000_000).unwrap();
    for tag in &tags {
        assert_eq!(filter.check_and_set(tag), Verdict::Seen);
    }
    drop(store);
    let other = open().filter(NUMBER, &secret(2), 1_000_000).err().map(|fault| fault.to_string());
    assert!(other.is_some_and(|text| text.contains("belongs to another Sphinx key")));
    let store = open();
    store.forget(NUMBER).unwrap();
    store.forget(NUMBER).unwrap();
    assert!(store.filter(NUMBER, &secret(2), 1_000_000).unwrap().is_empty());
}

#[test]
fn a_filter_that_is_too_small_for_its_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = journal_path(dir.path(), NUMBER);
    let mut journal = Journal::create(&path, NUMBER, JournalKeys::of(&secret(1))).unwrap();
    // All with one home, in whose reach there are 384 places.
    let crowd: Vec<Mark> = (1..400).filter_map(Mark::from_bits).collect();
    journal.append(&crowd).unwrap();
    let store = Store::open(Some(dir.path()), |_| {}).unwrap();
    let fault = store.filter(NUMBER, &secret(1), 1_000).err().map(|fault| fault.to_string());
    assert!(fault.as_ref().is_some_and(|text| text.contains("raise it")), "{fault:?}");
}

#[test]
fn two_stores_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(Some(dir.path()), |_| {}).unwrap();
    let second = Store::open(Some(dir.path()), |_| {}).err().unwrap().to_string();
    assert!(second.starts_with("another node uses the directory"), "{second}");
    drop(first);
    Store::open(Some(dir.path()), |_| {}).unwrap();
}

#[test]
fn a_disk_that_is_too_small_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let text = disk(&dir.path().join("not/yet"), 1 << 50).unwrap_err().to_string();
    assert!(text.contains("lower replay-capacity"), "{text}");
    assert!(disk(dir.path(), 1000).is_ok());
}

/// What the saver of the next test said.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_full_disk_is_told_once_and_costs_marks_only_when_the_ring_is_full() {
    let (_dir, path, bytes) = journal(&[1]);
    let mut loaded = load(&path).unwrap();
    // A device that takes nothing, as a full disk does.
    let file = std::mem::replace(
        &mut loaded.journal.file,
        OpenOptions::new().write(true).open("/dev/full").unwrap(),
    );
    let saver = Saver::start(|line| SAID.lock().unwrap().push(line)).unwrap();
    let (mut writer, reader) = ring::ring(100);
    saver.watch(reader);
    saver.add(NUMBER, loaded.journal);
    let taken = (0..).take_while(|&number| {
        let room = writer.put(NUMBER, &[mark(number)]);
        std::thread::sleep(Duration::from_millis(u64::from(number < 20) * 20));
        room
    });
    let taken = taken.count();
    assert!((100..250).contains(&taken), "what waits has a bound: {taken}");
    let said = SAID.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("No space left on device") && said[0].contains("make room"));
    // The disk has room again: nothing that was taken is lost.
    let mut journal = saver.remove(NUMBER).unwrap();
    assert_eq!(journal.len, bytes.len() as u64, "what failed does not count");
    journal.file = file;
    journal.append(&[mark(500)]).unwrap();
    assert_eq!(load(&path).unwrap().marks, 2);
    let mut exact = [0; 8];
    OpenOptions::new().read(true).open(&path).unwrap().read_exact_at(&mut exact, 0).unwrap();
    assert_eq!(&exact, b"PHIXMARK");
}

#[test]
fn small_blocks_become_large_ones_and_nothing_is_forgotten() {
    let blocks = [1; 300];
    let (dir, path, bytes) = journal(&blocks);
    assert_eq!(bytes.len(), HEAD + 300 * (BLOCK_HEAD + MARK));
    let mut loaded = load(&path).unwrap();
    assert_eq!((loaded.marks, loaded.unmerged.is_none()), (300, true));
    assert_eq!(fs::metadata(&path).unwrap().len() as usize, HEAD + BLOCK_HEAD + 300 * MARK);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // It goes on, and is the same journal to whoever reads it next.
    loaded.journal.append(&[mark(1000)]).unwrap();
    let memory = filter();
    let found = load::find(&path, NUMBER, JournalKeys::of(&secret(1))).unwrap();
    assert_eq!(found.load(&memory, &mut |_| {}).unwrap().marks, 301);
    let twice: Vec<Mark> = (0..300).map(mark).chain([mark(1000)]).collect();
    let before = memory.len();
    assert_eq!((memory.restore(&twice), memory.len()), (0, before), "all of them were there");
    // What a stop in the middle of it leaves is written over.
    fs::write(&path, &bytes).unwrap();
    fs::write(path.with_extension("new"), b"half").unwrap();
    assert_eq!(load(&path).unwrap().marks, 300);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_journal_that_cannot_be_merged_stays_as_it_is() {
    let (_dir, path, bytes) = journal(&[1; 50]);
    fs::create_dir(path.with_extension("new")).unwrap();
    let mut loaded = load(&path).unwrap();
    assert!(loaded.unmerged.is_some() && loaded.marks == 50);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    loaded.journal.append(&[mark(99)]).unwrap();
    assert_eq!(load(&path).unwrap().marks, 51);
}
