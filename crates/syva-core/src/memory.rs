//! How much memory is available. It is checked before memory is used, so that too little memory is an error and does
//! not kill the process.
//!
//! Three limits can be too low. The system itself refuses memory if the address space is limited (`ulimit -v`), or if
//! it does not overcommit. The control groups of containers and batch systems promise any amount, but kill a process
//! that uses more than their limit. A machine whose memory is used up does the same.

#[cfg(feature = "files")]
use std::fs;
#[cfg(feature = "files")]
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Memory that everything else takes in the meantime: stacks of threads, files being written, the terminal.
const HEADROOM: u64 = 16 << 20;

/// For fewer bytes than this, it is not worth a tenth of a millisecond to read the system's files.
#[cfg(feature = "files")]
const SMALL: u64 = 1 << 20;

/// Checks that `bytes` bytes are available, the peak of what `what` needs (as in "60000 samples"). The memory is
/// allocated for a moment and freed again. The error says how much there is, and offers the remedy.
pub fn ask(bytes: u64, what: &str, remedy: &str) -> Result<()> {
    let wanted = bytes.saturating_add(HEADROOM);
    let refuse = |why: &str| {
        let problem = format!("{what} need {}, more than is available{why}", readable(bytes));
        Err(Error::Resource { resource: "memory".into(), problem, remedy: remedy.into() })
    };
    let mut memory = Vec::<u8>::new();
    if !usize::try_from(wanted).is_ok_and(|wanted| memory.try_reserve_exact(wanted).is_ok()) {
        return refuse("");
    }
    #[cfg(feature = "files")]
    if bytes >= SMALL
        && let Some(room) = room(Path::new("/")).filter(|room| room.bytes < wanted)
    {
        return refuse(&format!(" ({} has {} left)", room.whose, readable(room.bytes.saturating_sub(HEADROOM))));
    }
    Ok(())
}

/// Bytes with a unit: `918.5 KiB`.
#[must_use]
pub fn readable(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// The bytes that are still available, and what limits them.
#[cfg(feature = "files")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Room {
    bytes: u64,
    whose: String,
}

/// The files of a version of control groups.
#[cfg(feature = "files")]
struct Version {
    /// The files with limits. If there are several, the lowest limit counts.
    limits: &'static [&'static str],
    usage: &'static str,
    /// The entry of `memory.stat` for memory that the system can reclaim without harm: file contents that were not used
    /// recently.
    reclaimable: &'static str,
}

/// `memory.high` does not kill a process that exceeds it, but slows it to a halt.
#[cfg(feature = "files")]
const VERSION_2: Version =
    Version { limits: &["memory.max", "memory.high"], usage: "memory.current", reclaimable: "inactive_file" };
#[cfg(feature = "files")]
const VERSION_1: Version =
    Version { limits: &["memory.limit_in_bytes"], usage: "memory.usage_in_bytes", reclaimable: "total_inactive_file" };

/// The tightest limit in Linux's files under `root` (`/` except in tests). `None` on other systems. Swap counts as
/// memory: it is slow, but a process is not killed for using it.
#[cfg(feature = "files")]
fn room(root: &Path) -> Option<Room> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let memory = read("proc/meminfo");
    let entry = |name: &str| Some(number(memory.lines().find_map(|line| line.strip_prefix(name))?)? * 1024);
    let swap = entry("SwapFree:").unwrap_or(0);
    let machine = entry("MemAvailable:").map(|bytes| Room { bytes: bytes + swap, whose: "this machine".into() });
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let groups = groups.lines().filter_map(|line| group(line, &mounts)).flat_map(|(version, mount, folder)| {
        let above = |folder: &Path| folder.parent().filter(|above| above.starts_with(&mount)).map(Path::to_path_buf);
        let folders = std::iter::successors(Some(folder), |folder| above(folder));
        folders.filter_map(|folder| room_in(version, root, &folder, swap)).collect::<Vec<_>>()
    });
    groups.chain(machine).min()
}

/// The control group in a line of `/proc/self/cgroup`, if it limits memory: its version, the place where the hierarchy
/// is mounted, and the group's folder there.
#[cfg(feature = "files")]
fn group(line: &str, mounts: &str) -> Option<(&'static Version, PathBuf, PathBuf)> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (version, kind) = match number {
        "0" if controllers.is_empty() => (&VERSION_2, "cgroup2"),
        _ if controllers.split(',').any(|name| name == "memory") => (&VERSION_1, "cgroup"),
        _ => return None,
    };
    // 32 31 0:29 /what-is-mounted /where options… - type source options, among which version 1 has the controllers
    mounts.lines().find_map(|line| {
        let (mount, kind_and_options) = line.split_once(" - ")?;
        let mut words = kind_and_options.split(' ');
        let is_kind = words.next() == Some(kind);
        let controls = words.nth(1).is_some_and(|options| options.split(',').any(|name| name == "memory"));
        let mut words = mount.split(' ').skip(3);
        let (mounted, place) = (words.next()?, Path::new(words.next()?));
        if !is_kind || kind == "cgroup" && !controls {
            return None;
        }
        // A container sees only a part of the hierarchy, and the path may be the one outside the container.
        let inside = Path::new(path).strip_prefix(mounted).unwrap_or(Path::new(""));
        Some((version, place.to_path_buf(), place.join(inside)))
    })
}

/// The memory that is left in a control group, if it has a limit.
#[cfg(feature = "files")]
fn room_in(version: &Version, root: &Path, folder: &Path, swap: u64) -> Option<Room> {
    let read = |name: &str| fs::read_to_string(root.join(folder.strip_prefix("/").ok()?).join(name)).ok();
    let limit = version.limits.iter().filter_map(|name| number(&read(name)?)).min()?;
    let usage = number(&read(version.usage)?)?;
    let reclaimable = read("memory.stat").and_then(|stat| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        number(lines.find(|(name, _)| *name == version.reclaimable)?.1)
    });
    let bytes = limit.saturating_sub(usage.saturating_sub(reclaimable.unwrap_or(0)));
    // Version 2 limits swap per group. Version 1 rarely limits it.
    let allowed = |name: &str| number(&read(name)?);
    let swap = allowed("memory.swap.max")
        .map_or(swap, |most| swap.min(most.saturating_sub(allowed("memory.swap.current").unwrap_or(0))));
    let whose = format!("the limit of {} of the control group {}", readable(limit), folder.display());
    Some(Room { bytes: bytes.saturating_add(swap), whose })
}

/// The number at the beginning of a text. `None` for `max`, which means that there is no limit.
#[cfg(feature = "files")]
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    const PLENTY: (&str, &str) = ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   8388608 kB\nSwapFree:   0 kB\n");
    const MOUNT_2: (&str, &str) =
        ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");

    fn bytes_left(files: &[(&str, &str)]) -> Option<u64> {
        room(machine(files).path()).map(|room| room.bytes)
    }

    #[test]
    fn a_system_that_tells_nothing_bounds_nothing() {
        assert_eq!(bytes_left(&[]), None);
        assert_eq!(bytes_left(&[("proc/meminfo", "MemTotal: lots"), ("proc/self/cgroup", "0:\n:::\n\n")]), None);
    }

    #[test]
    fn a_machine_has_what_is_available_and_swap() {
        let files = [("proc/meminfo", "MemFree:  7 kB\nMemAvailable:   1000 kB\nSwapFree:    24 kB\n")];
        assert_eq!(bytes_left(&files), Some(1024 * 1024));
    }

    #[test]
    fn the_tightest_group_of_version_2_counts() {
        let group = ("proc/self/cgroup", "0::/batch/job\n");
        let job = [PLENTY, MOUNT_2, group];
        let outer =
            [("sys/fs/cgroup/batch/memory.max", "1000000\n"), ("sys/fs/cgroup/batch/memory.current", "300000\n")];
        let inner =
            [("sys/fs/cgroup/batch/job/memory.max", "max\n"), ("sys/fs/cgroup/batch/job/memory.current", "200000\n")];
        assert_eq!(bytes_left(&[&job[..], &outer, &inner].concat()), Some(700_000));
        // File contents can be reclaimed, and `memory.high` is a limit, too.
        let stat = [("sys/fs/cgroup/batch/memory.stat", "anon 250000\ninactive_file 50000\nactive_file 9\n")];
        assert_eq!(bytes_left(&[&job[..], &outer, &inner, &stat].concat()), Some(750_000));
        let high = [("sys/fs/cgroup/batch/job/memory.high", "260000\n")];
        assert_eq!(bytes_left(&[&job[..], &outer, &inner, &stat, &high].concat()), Some(60_000));
        // In a group without a limit, all of the machine's memory is left.
        assert_eq!(bytes_left(&[&job[..], &inner].concat()), Some(8 << 30));
    }

    #[test]
    fn swap_counts_as_far_as_a_group_may_have_it() {
        let files = [
            ("proc/meminfo", "MemAvailable: 8388608 kB\nSwapFree: 1000 kB\n"),
            MOUNT_2,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "1000000"),
            ("sys/fs/cgroup/memory.current", "0"),
        ];
        let swap = |most| bytes_left(&[&files[..], &[("sys/fs/cgroup/memory.swap.max", most)]].concat());
        assert_eq!([swap("max"), swap("0"), swap("5000")], [Some(2_024_000), Some(1_000_000), Some(1_005_000)]);
    }

    /// In a container without its own cgroup namespace, the path is the host's.
    #[test]
    fn groups_of_version_1_are_found_where_they_are_mounted() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 /docker/ab /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let files = |path| {
            [
                PLENTY,
                ("proc/self/mountinfo", mounts),
                ("proc/self/cgroup", path),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5"),
                ("sys/fs/cgroup/memory/step/memory.limit_in_bytes", "314572800"),
                ("sys/fs/cgroup/memory/step/memory.usage_in_bytes", "14572800"),
                ("sys/fs/cgroup/memory/step/memory.stat", "inactive_file 1\ntotal_inactive_file 4572800\n"),
            ]
        };
        assert_eq!(bytes_left(&files("5:cpu:/docker/ab\n4:memory:/docker/ab/step\n0::/\n")), Some(304_572_800));
        // A limit as large as the machine's memory has no effect. A path from outside means the mounted group itself.
        assert_eq!(bytes_left(&files("4:cpuacct,memory:/elsewhere\n0::/\n")), Some(8 << 30));
    }

    #[test]
    fn a_refusal_says_how_much_and_of_what() {
        let error = ask(1 << 60, "7 parameters", "use fewer").unwrap_err().to_string();
        assert_eq!(error, "memory: 7 parameters need 1.0 EiB, more than is available; use fewer");
        ask(1, "a byte", "").unwrap();
    }

    #[test]
    fn bytes_are_readable_at_any_size() {
        let read = [0, 1023, 940_584, 55_000_000, 1 << 40].map(readable);
        assert_eq!(read, ["0 B", "1023 B", "918.5 KiB", "52.5 MiB", "1.0 TiB"]);
    }
}
