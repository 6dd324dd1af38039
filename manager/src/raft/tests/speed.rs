//! What a write costs beside the bare disk. It prints and asserts nothing about time.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;

const LEN: usize = 1024;

fn each(name: &str, count: u32, took: Duration) {
    let rate = f64::from(count) / took.as_secs_f64();
    println!("{name}: {rate:.0} a second, {:?} each", took / count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_beside_the_bare_disk() {
    let world = World::new(1, |config| config).await;
    let only = world.manager(0).consensus.clone();
    let count = 300_u32;
    let file = File::create(world.manager(0).dir.path().join("bare")).unwrap();
    file.write_all_at(&vec![0; 8 << 20], 0).unwrap();
    file.sync_data().unwrap();
    let began = Instant::now();
    for at in 0..count {
        file.write_all_at(&[1; LEN + 512], u64::from(at) * 1536)
            .unwrap();
        file.sync_data().unwrap();
    }
    each("bare write and fdatasync", count, began.elapsed());
    let name = "n".repeat(LEN);
    let began = Instant::now();
    for number in 0..count {
        only.propose(&(name.clone(), number.into())).await.unwrap();
    }
    each("propose, one after another", count, began.elapsed());
    let began = Instant::now();
    let writers = (0..64).map(|_| {
        let (only, name) = (only.clone(), name.clone());
        tokio::spawn(async move {
            for number in 0..count / 4 {
                only.propose(&(name.clone(), number.into())).await.unwrap();
            }
        })
    });
    futures_util::future::join_all(writers.collect::<Vec<_>>()).await;
    each("propose, 64 at a time", count / 4 * 64, began.elapsed());
}
