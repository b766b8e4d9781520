//! Fetches GraphiQL, the IDE, from npm to be embedded in the binary, compressed with gzip.
//!
//! `npm ci` takes exactly the versions of `src/http/graphiql/package-lock.json` and verifies their integrity
//! hashes. Where npm or its registry can't be reached the build goes on, and the page loads the same files from a
//! CDN, pinned by their hashes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

const SOURCE: &str = "src/http/graphiql";
/// Name under which a file is served, and where it is in `node_modules`.
const FILES: [(&str, &str); 5] = [
    ("react.js", "react/umd/react.production.min.js"),
    ("react-dom.js", "react-dom/umd/react-dom.production.min.js"),
    ("graphql-ws.js", "graphql-ws/umd/graphql-ws.min.js"),
    ("graphiql.js", "graphiql/graphiql.min.js"),
    ("graphiql.css", "graphiql/graphiql.min.css"),
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(graphiql_embedded)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCE}/package-lock.json");
    // embed_migrations! does not notice new ones by itself.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-env-changed=PATH");
    let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) else { return };
    match fetch(&out) {
        Ok(()) => println!("cargo::rustc-cfg=graphiql_embedded"),
        Err(reason) => {
            println!("cargo::warning=/graphiql will load from a CDN, as npm failed: {reason}");
            println!("cargo::rustc-env=GRAPHIQL_MISSING={reason}");
        }
    }
}

fn fetch(out: &Path) -> Result<(), String> {
    let lock =
        fs::read_to_string(Path::new(SOURCE).join("package-lock.json")).map_err(|error| error.to_string())?;
    let fetched = out.join("packed-package-lock.json");
    let is_complete = FILES.iter().all(|(name, _)| out.join(format!("{name}.gz")).exists());
    if is_complete && fs::read_to_string(&fetched).is_ok_and(|fetched| fetched == lock) {
        return Ok(());
    }
    let work = out.join("npm");
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(SOURCE).join(name), work.join(name)).map_err(|error| error.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .args(["--fetch-timeout=15000", "--fetch-retries=1"])
        .current_dir(&work);
    let output = npm.output().map_err(|error| format!("npm can't be run: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.lines().next().unwrap_or("no reason given").to_owned());
    }
    for (name, path) in FILES {
        compress(&work.join("node_modules").join(path), &out.join(format!("{name}.gz")))
            .map_err(|error| format!("{path}: {error}"))?;
    }
    // Some hundred megabytes of which five files are needed.
    let _ = fs::remove_dir_all(work);
    fs::write(fetched, lock).map_err(|error| error.to_string())
}

/// Compresses a file with gzip: together they shrink from 1.6 to 0.4 MB.
fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::best());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish().map(drop)
}
