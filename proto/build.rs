//! Compiles the schema with a compiler written in Rust: nobody needs protoc.

use std::path::{Path, PathBuf};

const FILES: [&str; 18] = [
    "system.proto",
    "events.proto",
    "files.proto",
    "tokens.proto",
    "spec.proto",
    "objects.proto",
    "view.proto",
    "dispatch.proto",
    "drill.proto",
    "raft.proto",
    "ca.proto",
    "blob.proto",
    "control.proto",
    "images.proto",
    "local.proto",
    "store.proto",
    "volume.proto",
    "streams.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Path::new("schema");
    println!("cargo::rerun-if-changed=schema");
    let files = FILES.map(|file| schema.join(file));
    let descriptors = protox::compile(files, [schema])?;
    // All calls that there are: whoever lets some through has to know the others.
    let mut calls = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            let path = format!("/{}.{}", file.package(), service.name());
            calls.extend(
                service
                    .method
                    .iter()
                    .map(|it| format!("{path}/{}", it.name())),
            );
        }
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("calls.rs"), format!("&{calls:?}"))?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".skep.v1.BlobChunk")
        .bytes(".skep.v1.RaftMessage")
        .bytes(".skep.v1.SnapshotChunk")
        .bytes(".skep.v1.ImageChunk")
        .bytes(".skep.v1.ArchiveChunk")
        .skip_debug([
            ".skep.v1.Authority",
            ".skep.v1.JoinSecrets",
            ".skep.v1.JoinRequest",
            ".skep.v1.RegistryAuth",
            ".skep.v1.FileContent",
            ".skep.v1.CreateFileRequest",
            ".skep.v1.RotateFileRequest",
            ".skep.v1.FileEntry",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
