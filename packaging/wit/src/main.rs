//! Lays a WIT package out as an OCI artifact: `ferrite-wit-package WIT-FOLDER LAYOUT-FOLDER`.
//!
//! The artifact has CNCF's layout for WebAssembly: one layer, the package in WebAssembly's binary form, and a
//! configuration that lists its worlds and interfaces
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>). The layout is a folder that tools for
//! registries push as it is, such as `skopeo copy oci:LAYOUT-FOLDER docker://REGISTRY/NAME:VERSION`.
//!
//! The same WIT gives the same bytes: the time in the configuration is the beginning of 1970.

#![allow(
    clippy::print_stdout,
    reason = "it talks to the terminal it was started from"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wit_component::DecodedWasm;
use wit_parser::{PackageId, Resolve};

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [wit, layout] = arguments.as_slice() else {
        bail!("usage: ferrite-wit-package WIT-FOLDER LAYOUT-FOLDER");
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(wit)
        .with_context(|| format!("cannot read the WIT in {}", wit.display()))?;
    let wasm = wit_component::encode(&resolve, package).context("cannot encode the package")?;
    // What others will read of it.
    let (resolve, package) = match wit_component::decode(&wasm).context("cannot read it back")? {
        DecodedWasm::WitPackage(resolve, package) => (resolve, package),
        DecodedWasm::Component(..) => bail!("the package reads back as a component"),
    };
    let name = &resolve.packages[package].name;
    let version = name
        .version
        .as_ref()
        .with_context(|| format!("the package {name} has no version"))?;
    let exports = exports(&resolve, package);
    let blobs = Blobs::in_layout(layout)?;
    let layer = blobs.put("application/wasm", &wasm)?;
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer["digest"]],
        "component": { "exports": exports, "imports": [], "target": null },
    });
    let config = blobs.put("application/vnd.wasm.config.v0+json", &text(&config))?;
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config,
        "layers": [layer],
        "annotations": {
            "org.opencontainers.image.title": format!("{}:{}", name.namespace, name.name),
            "org.opencontainers.image.version": version.to_string(),
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        },
    });
    let mut manifest = blobs.put(manifest_type, &text(&manifest))?;
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": version.to_string() });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    write(&layout.join("index.json"), &text(&index))?;
    write(
        &layout.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    println!("{name}: {}", exports.join(", "));
    Ok(())
}

/// The names of a package's worlds and interfaces, and of what the worlds export, in order.
fn exports(resolve: &Resolve, package: PackageId) -> Vec<String> {
    let package = &resolve.packages[package];
    let mut names = BTreeSet::new();
    for (name, world) in &package.worlds {
        names.insert(package.name.interface_id(name));
        let exported = resolve.worlds[*world].exports.keys();
        names.extend(exported.map(|key| resolve.name_world_key(key)));
    }
    for interface in package.interfaces.values() {
        names.extend(resolve.id_of(*interface));
    }
    names.into_iter().collect()
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The folder of a layout whose files are named by their digests.
struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Empties the folder of a layout.
    fn in_layout(layout: &Path) -> Result<Self> {
        let failed = || format!("cannot make {}", layout.display());
        if layout.exists() {
            std::fs::remove_dir_all(layout).with_context(failed)?;
        }
        let folder = layout.join("blobs/sha256");
        std::fs::create_dir_all(&folder).with_context(failed)?;
        Ok(Self { folder })
    }

    /// Writes a blob; returns its descriptor.
    fn put(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest: String = Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        write(&self.folder.join(&digest), content)?;
        Ok(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": content.len(),
        }))
    }
}
