//! Event files on disk after a kill, after damage, and on a full disk.

use std::fs;
use std::path::{Path, PathBuf};

use syva_tensorboard::proto::Event;
use syva_tensorboard::proto::event::What;
use syva_tensorboard::{Error, EventReader, Log, Writer};

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| syva_tensorboard::is_event_file(path));
    files.sort();
    files
}

fn events(path: &Path) -> (Vec<Event>, Option<Error>) {
    let (mut reader, mut events) = (EventReader::new(path), Vec::new());
    loop {
        match reader.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

/// A file with some scalars, and its bytes.
fn sample(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut writer = Writer::create(folder).unwrap();
    for step in 0..5 {
        writer.scalar("loss", step, 1.0 / (step + 1) as f64).unwrap();
    }
    writer.flush().unwrap();
    (writer.path().to_path_buf(), fs::read(writer.path()).unwrap())
}

/// The bytes that TensorBoard 2.21's own `RecordWriter` writes for `Event(wall_time=0, file_version="brain.Event:2")`.
#[test]
fn the_first_record_is_tensorboards_byte_for_byte() {
    let mut bytes = Vec::new();
    let event = Event { wall_time: 0.0, step: 0, what: Some(What::FileVersion("brain.Event:2".into())) };
    syva_tensorboard::record::append(&event, &mut bytes);
    let wanted = b"\x0f\0\0\0\0\0\0\0\x6d\x53\x2b\x09\x1a\x0dbrain.Event:2\xfc\x98\x51\x29";
    assert_eq!(bytes, wanted);
}

#[test]
fn every_cut_leaves_whole_events_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = sample(folder.path());
    let (all, error) = events(&path);
    assert!(error.is_none() && all.len() == 6);
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let (some, error) = events(&path);
        assert!(error.is_none(), "cut at {length}: {error:?}");
        assert_eq!(some[..], all[..some.len()], "cut at {length}");
        assert!(some.len() < all.len());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = sample(folder.path());
    let (all, _) = events(&path);
    for i in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[i] ^= 0x20;
        fs::write(&path, &damaged).unwrap();
        let (some, error) = events(&path);
        assert!(matches!(error, Some(Error::Corrupt { .. })), "byte {i}: {error:?}");
        assert_eq!(some[..], all[..some.len()], "byte {i}");
    }
}

#[test]
fn a_reader_follows_a_file_that_grows_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = sample(folder.path());
    let (all, _) = events(&path);
    let growing = folder.path().join("growing.tfevents");
    fs::write(&growing, "").unwrap();
    let (mut reader, mut seen) = (EventReader::new(&growing), Vec::new());
    for length in 1..=bytes.len() {
        fs::write(&growing, &bytes[..length]).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            seen.push(event);
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn zeros_after_a_power_cut_are_damage_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut bytes) = sample(folder.path());
    bytes.extend([0; 4096]);
    fs::write(&path, &bytes).unwrap();
    let mut log = Log::new(folder.path());
    let problems = log.refresh().unwrap();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("checksum of a record's length"), "{}", problems[0]);
    assert_eq!(log.runs()[""].scalars["loss"].len(), 5);
    // The damage is reported only once.
    assert!(log.refresh().unwrap().is_empty());
}

#[test]
fn a_resumed_run_replaces_what_it_does_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path()).unwrap();
    for step in 0..10 {
        writer.scalar("loss", step, 1.0).unwrap();
        writer.scalars("acc", step, &[("val", 1.0)]).unwrap();
    }
    drop(writer);
    let mut writer = Writer::resume(folder.path(), 6, 6).unwrap();
    writer.scalar("loss", 7, 2.0).unwrap();
    writer.scalars("acc", 7, &[("val", 2.0)]).unwrap();
    drop(writer);
    assert_eq!(event_files(folder.path()).len(), 2);
    let mut log = Log::new(folder.path());
    assert!(log.refresh().unwrap().is_empty());
    for (run, tag) in [("", "loss"), ("acc_val", "acc")] {
        let points: Vec<_> = log.runs()[run].scalars[tag].iter().map(|point| (point.step, point.value)).collect();
        assert_eq!(points, [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 1.0), (7, 2.0)]);
    }
}

#[test]
fn what_is_no_event_file_is_no_event_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "tfevents").unwrap();
    fs::write(folder.path().join("a.tfevents"), "this is a text and no event file at all").unwrap();
    fs::write(folder.path().join("empty.tfevents"), "").unwrap();
    let mut log = Log::new(folder.path());
    let problems = log.refresh().unwrap();
    assert_eq!((log.files(), problems.len()), (2, 1));
    assert!(Log::new(folder.path().join("missing")).refresh().is_err());
}

/// Fills a disk: a file system of 64 KiB, which only root can mount.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root, to mount a small file system; cargo test -p syva-tensorboard -- --ignored"]
fn a_full_disk_tears_no_record_and_logging_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success();
    let place = folder.path().to_str().unwrap();
    assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]));
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![1; 40 << 10]).unwrap();
    let mut writer = Writer::create(folder.path()).unwrap();
    let mut refused = 0;
    for step in 0..1000 {
        writer.scalar("loss", step, step as f64).unwrap();
        refused += u32::from(writer.flush().is_err());
        if step == 800 {
            fs::remove_file(&ballast).unwrap();
        }
    }
    let (events, error) = events(writer.path());
    drop(writer);
    assert!(mount(&["umount", place]));
    assert!(refused > 10 && error.is_none(), "{refused} {error:?}");
    assert_eq!(events.len(), 1001);
}

/// TensorBoard keeps the first session start of a folder, so that of a resumed run replaces the one from before.
#[test]
fn a_session_that_goes_on_has_its_new_hyperparameters_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (device, step) in [("cpu", None), ("gpu", Some(10))] {
        let writer = step.map_or_else(|| Writer::create(folder.path()), |step| Writer::resume(folder.path(), step, 1));
        let hparams = [("device", device.into()), ("keep", "best".into())];
        writer.unwrap().session(&syva_tensorboard::Experiment::default(), &hparams, "").unwrap();
    }
    let files = event_files(folder.path());
    assert_eq!(files.len(), 3, "two writers and one session: {files:?}");
    let said: Vec<String> = files.iter().map(|path| format!("{:?}", events(path).0)).collect();
    let holds = |text: &str, value: &str| {
        text.contains("session_start_info")
            && text.contains(&format!("{:?}", value.as_bytes()).trim_matches(['[', ']']).to_string())
    };
    assert!(holds(&said[0], "gpu") && !holds(&said[0], "cpu"), "the first by its name: {}", said[0]);
    assert!(!said[1..].iter().any(|text| text.contains("session_start_info")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no scratch is left");
}
