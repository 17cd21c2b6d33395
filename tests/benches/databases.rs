//! Large databases against a real etcd's: how long a start, a save and a restore take, and how
//! much memory. Both sides work on the same snapshot, in turn, each in a process of its own.
//!
//!     cargo bench -p tests --bench databases -- --size 1024 --rounds 3 --etcd FOLDER
//!
//! The size is that of the database in MiB. The folder holds `etcd`, `etcdctl` and `etcdutl`;
//! without one our figures stand alone. `--work FOLDER` says where files go. A start is measured
//! until everything is in memory and the member runs: of etcd until it says `starting etcd server`.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "what takes how long in processes is real time"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use prost::Message as _;

use detcd::backup::{self, HashCheck, Place, RestoreSettings, SnapshotStream};
use detcd::config::{CompatVersion, Config};
use detcd::member::io::Outputs;
use detcd::member::time::{Monotonic, Now, Wall};
use detcd::member::{DiskImage, Member};
use detcd::planted::Planted;
use detcd::proto::mvccpb;
use detcd::shell::disk::OsDisk;
use detcd::storage::backend::{self, BoltEngine, Engine, Layout};
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::database::BucketChange;
use detcd::storage::disk::Disk;
use detcd::storage::schema::{self, bucket};
use detcd::storage::wal::WalSettings;

const COMPAT: CompatVersion = CompatVersion::V3_6;
const PEER_URL: &str = "http://127.0.0.1:23801";
const CLIENT_URL: &str = "http://127.0.0.1:23791";
const VALUE_BYTES: usize = 1_000;
const ROWS_PER_COMMIT: u64 = 10_000;

/// What one phase took.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    time: Duration,
    /// The most memory that was resident, in bytes.
    resident: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|it| it == name)?;
        arguments.get(place + 1).cloned()
    };
    let work = value("--work").map_or_else(
        || std::env::temp_dir().join(format!("detcd-databases-{}", std::process::id())),
        PathBuf::from,
    );
    if let Some(phase) = value("--phase") {
        return phase_of_ours(&phase, &work);
    }
    let mebibytes: u64 = value("--size").map_or(256, |it| it.parse().expect("--size in MiB"));
    let rounds: usize = value("--rounds").map_or(3, |it| it.parse().expect("--rounds"));
    let etcd = value("--etcd").map(PathBuf::from);
    fs::create_dir_all(&work).expect("a folder to work in");
    make(&work, mebibytes << 20);
    let size = fs::metadata(work.join("source/db")).expect("it was made").len();
    println!("a database of {:.0} MiB, {rounds} rounds, medians", size as f64 / 1_048_576.0);
    let mut ours: [Vec<Cost>; 3] = Default::default();
    let mut theirs: [Vec<Cost>; 3] = Default::default();
    for _ in 0..rounds {
        for (place, phase) in ["save", "restore", "start"].iter().enumerate() {
            ours[place].push(in_a_process(phase, &work));
        }
        if let Some(etcd) = &etcd {
            for (place, cost) in theirs_in_turn(etcd, &work).into_iter().enumerate() {
                theirs[place].push(cost);
            }
        }
    }
    for (place, phase) in ["save", "restore", "start"].iter().enumerate() {
        let (ours, theirs) = (median(&ours[place]), median(&theirs[place]));
        println!("{phase:8} detcd {}   etcd {}", shown(ours, size), shown(theirs, size));
    }
    fs::remove_dir_all(&work).expect("what was made here");
}

fn shown(cost: Cost, size: u64) -> String {
    if cost.time.is_zero() {
        return "not measured".to_owned();
    }
    let times = cost.resident as f64 / size as f64;
    format!("{:7.2} s, {times:.2} x its size resident", cost.time.as_secs_f64())
}

fn median(costs: &[Cost]) -> Cost {
    let mut times: Vec<Duration> = costs.iter().map(|cost| cost.time).collect();
    times.sort_unstable();
    let resident = costs.iter().map(|cost| cost.resident).max().unwrap_or_default();
    Cost { time: times.get(times.len() / 2).copied().unwrap_or_default(), resident }
}

/// A database as a member leaves it: one version of each key, values that do not compress.
fn make(work: &Path, bytes: u64) {
    let disk: Rc<dyn Disk> = Rc::new(OsDisk::new(work));
    let mut bolt = Bolt::open_or_create(disk, "source/db", BoltOptions::ETCD).expect("a file");
    schema::initialize(&mut bolt).expect("buckets");
    let (mut revision, mut noise) = (1_u64, 0x9E37_79B9_7F4A_7C15_u64);
    while bolt.size_bytes() < bytes {
        let rows = (0..ROWS_PER_COMMIT).map(|_| {
            revision += 1;
            let value: Vec<u8> = (0..VALUE_BYTES / 8)
                .flat_map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    noise.to_be_bytes()
                })
                .collect();
            let pair = mvccpb::KeyValue {
                key: format!("/registry/pods/default/web-{revision:010}").into(),
                value: value.into(),
                create_revision: revision as i64,
                mod_revision: revision as i64,
                version: 1,
                lease: 0,
            };
            let key = [&revision.to_be_bytes()[..], b"_", &[0; 8]].concat();
            BucketChange::put(bucket::KEY, key, pair.encode_to_vec())
        });
        let mut changes: Vec<BucketChange> = rows.collect();
        changes.extend(schema::consistent(revision, 2));
        bolt.commit(&changes).expect("room on the disk");
    }
}

/// Runs one of our phases in a process of its own.
fn in_a_process(phase: &str, work: &Path) -> Cost {
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new(own);
    command.arg("--phase").arg(phase).arg("--work").arg(work).stdout(Stdio::piped());
    let mut child = command.spawn().expect("this program starts");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut cost = Cost::default();
    for line in output.lines() {
        let line = line.expect("text");
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [nanos, resident] = numbers[..] else { panic!("{phase}: {line}") };
        cost = Cost { time: Duration::from_nanos(nanos), resident };
    }
    assert!(child.wait().expect("it ends").success(), "{phase} failed");
    cost
}

fn phase_of_ours(phase: &str, work: &Path) {
    let disk: Rc<dyn Disk> = Rc::new(OsDisk::new(work));
    let begun = Instant::now();
    match phase {
        "save" => save(&disk),
        "restore" => {
            let _may_not_be_there = fs::remove_dir_all(work.join("ours"));
            restore(&disk);
        }
        _ => start(&disk),
    }
    println!("{} {}", begun.elapsed().as_nanos(), resident(std::process::id()));
}

fn save(disk: &Rc<dyn Disk>) {
    let bolt = Bolt::open(Rc::clone(disk), "source/db", BoltOptions::ETCD).expect("a database");
    let mut stream = SnapshotStream::new(bolt.read(), COMPAT).expect("a stream");
    let messages = std::iter::from_fn(|| stream.next_message().expect("pages").map(Ok));
    let saved = backup::save(&**disk, &Place::new("saved", "saved"), messages);
    saved.expect("room on the disk");
}

fn restore(disk: &Rc<dyn Disk>) {
    let settings = RestoreSettings {
        snapshot: Place::new("saved", "saved"),
        name: "n1".to_owned(),
        initial_cluster: format!("n1={PEER_URL}"),
        token: "restored".to_owned(),
        advertise_peer_urls: PEER_URL.to_owned(),
        data_dir: Place::new("ours", "ours"),
        wal_dir: None,
        hash_check: HashCheck::Required,
        bump_revision: 0,
        is_marked_compacted: false,
        map_bytes: 10 << 30,
        compat: COMPAT,
        planted: Planted::NONE,
    };
    backup::restore(disk, &settings, &mut Vec::new()).expect("a whole snapshot");
}

fn start(disk: &Rc<dyn Disk>) {
    let config = Config {
        name: "n1".to_owned(),
        data_dir: "ours".to_owned(),
        initial_cluster: format!("n1={PEER_URL}"),
        initial_advertise_peer_urls: vec![PEER_URL.to_owned()],
        listen_peer_urls: vec![PEER_URL.to_owned()],
        advertise_client_urls: vec![CLIENT_URL.to_owned()],
        compat: COMPAT,
        ..Config::default()
    };
    let layout = Layout {
        wal_dir: "ours/member/wal".to_owned(),
        snap_dir: "ours/member/snap".to_owned(),
        snap_dir_named: "ours/member/snap".to_owned(),
        max_wals: config.max_wals,
        max_snapshots: config.max_snapshots,
        compat: COMPAT,
    };
    let engine: Rc<dyn Engine> = Rc::new(BoltEngine::new(BoltOptions::ETCD));
    let mut lines = Vec::new();
    let opened = backend::open(disk, &engine, layout, WalSettings::ETCD, &mut lines);
    let opened = opened.expect("a data directory");
    let image = DiskImage {
        log: opened.log,
        database: Some(opened.database),
        database_size: opened.backend.size(),
        keeps_database: true,
    };
    let now = Now { monotonic: Monotonic::ZERO, wall: Wall::from_unix_nanos(0) };
    let member = Member::start(config, [7; 32], image, now, &mut Outputs::new());
    assert!(member.next_deadline().is_some(), "it runs");
    // What the process holds when it serves is what counts.
    drop(lines);
    std::mem::forget((member, opened.backend, opened.writer));
}

/// Saves, restores and starts with etcd's programs; in the order of our phases.
fn theirs_in_turn(folder: &Path, work: &Path) -> [Cost; 3] {
    let _may_not_be_there = fs::remove_dir_all(work.join("theirs"));
    let url = format!("n1={PEER_URL}");
    let mut command = Command::new(folder.join("etcdutl"));
    command.args(["snapshot", "restore", "saved", "--data-dir", "theirs", "--name", "n1"]);
    command.args(["--initial-cluster", &url, "--initial-advertise-peer-urls", PEER_URL]);
    let restored = until_it_ends(command.current_dir(work));
    let (mut server, started) = etcd(folder, work);
    let mut command = Command::new(folder.join("etcdctl"));
    command.args(["--endpoints", CLIENT_URL, "--command-timeout=10m", "snapshot", "save"]);
    let saved = until_it_ends(command.arg("saved-by-etcd").current_dir(work));
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    [saved, restored, started]
}

fn until_it_ends(command: &mut Command) -> Cost {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a program");
    let mut most = 0;
    loop {
        most = resident(child.id()).max(most);
        if let Some(status) = child.try_wait().expect("it is ours") {
            assert!(status.success(), "{:?} failed", command.get_program());
            return Cost { time: begun.elapsed(), resident: most };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn etcd(folder: &Path, work: &Path) -> (Child, Cost) {
    let url = format!("n1={PEER_URL}");
    let settings: [(&str, &str); 8] = [
        ("--name", "n1"),
        ("--data-dir", "theirs"),
        ("--initial-cluster", &url),
        ("--initial-advertise-peer-urls", PEER_URL),
        ("--listen-peer-urls", PEER_URL),
        ("--listen-client-urls", CLIENT_URL),
        ("--advertise-client-urls", CLIENT_URL),
        ("--quota-backend-bytes", "17179869184"),
    ];
    let begun = Instant::now();
    let mut command = Command::new(folder.join("etcd"));
    command.args(settings.iter().flat_map(|(name, value)| [OsStr::new(name), OsStr::new(value)]));
    let mut child = command
        .current_dir(work)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("etcd");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut time = None;
    loop {
        let line = lines.next().expect("it serves").expect("text");
        if line.contains("\"starting etcd server\"") {
            time = Some(begun.elapsed());
        }
        if line.contains("ready to serve client requests") {
            break;
        }
    }
    let cost =
        Cost { time: time.unwrap_or_else(|| begun.elapsed()), resident: resident(child.id()) };
    // Somebody must read what it goes on to say.
    std::thread::spawn(move || lines.for_each(drop));
    (child, cost)
}

/// The most memory that a process had resident so far, in bytes; nothing once it has ended.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}
