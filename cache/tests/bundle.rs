//! Bundles under attack: whatever is changed, nothing but the signed bytes loads.

use std::io::Cursor;

use ferrite_cache::bundle::{
    ArtifactMember, BUNDLE_FORMAT, BundleContents, BundleError, BundleLimits, BundleManifest,
    Member, SignatureText, Trust, TrustError, TrustedKey, UncheckedBundle, write_bundle,
};
use ferrite_cache::{
    ArtifactBuf, ArtifactBytes, Baseline, Digest, Fingerprint, ImageInfo, ModuleInfo, Profile,
    Rewind, Target,
};
use minisign::KeyPair;

/// The time at which the bundles here are read, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

const SOURCE: &[u8] = b"\0asm not really a module, the format does not care";

/// A key pair and what a server would trust of it.
struct Signer {
    pair: KeyPair,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key pair can be made");
        Self { pair }
    }

    fn trusted(&self) -> TrustedKey {
        let text = self.pair.pk.to_box().expect("a public key has a text");
        text.into_string().parse().expect("its text can be read")
    }

    fn trust(&self) -> Trust {
        Trust {
            keys: vec![self.trusted()],
            revoked: Vec::new(),
        }
    }

    fn sign(&self, json: &[u8]) -> SignatureText {
        let signature = minisign::sign(
            Some(&self.pair.pk),
            &self.pair.sk,
            Cursor::new(json),
            Some("rate_limit 1.2.0"),
            Some("of a test"),
        )
        .expect("the manifest can be signed");
        SignatureText::normalize(&signature.into_string()).expect("the signature is minisign's")
    }
}

fn member(bytes: &[u8]) -> Member {
    Member {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

fn profiles() -> Vec<Profile> {
    let mut profiles = vec![
        Profile::new(Target::X86_64Linux, Baseline::V2).expect("a known pair"),
        Profile::new(Target::X86_64Linux, Baseline::V3).expect("a known pair"),
        Profile::new(Target::Aarch64Linux, Baseline::Generic).expect("a known pair"),
    ];
    profiles.sort_by_key(|profile| profile.fingerprint().to_string());
    profiles
}

fn code(profile: &Profile) -> Vec<u8> {
    format!("native code for {}", profile.fingerprint()).into_bytes()
}

/// The image that goes with the code for one of the profiles; the other code is the source's alone.
fn image(profile: &Profile) -> Option<Vec<u8>> {
    let one = profile.fingerprint() == profiles()[1].fingerprint();
    one.then(|| b"an image of a memory".to_vec())
}

fn manifest() -> BundleManifest {
    BundleManifest {
        format: BUNDLE_FORMAT,
        name: "rate_limit".to_owned(),
        version: "1.2.0".to_owned(),
        description: Some("counts calls".to_owned()),
        sequence: 7,
        created_unix: NOW - 100,
        expires_unix: Some(NOW + 100),
        isolation: Some("fresh".to_owned()),
        permissions: Some(serde_json::json!({"allowed_keys": ["rl:*"], "allow_write": true})),
        limits: None,
        module: ModuleInfo {
            name: None,
            imports: Vec::new(),
            exports: Vec::new(),
            entries: Vec::new(),
            memory: None,
            table_elements_min: 0,
            functions: 1,
            code_len: 12,
            initialize: false,
            start: false,
            rewind: Rewind::Refused {
                reason: "it is made up".to_owned(),
            },
            meter: None,
            stack_depth: None,
            automation: ferrite_cache::Automation::default(),
            limits: None,
        },
        source: member(SOURCE),
        artifacts: profiles()
            .into_iter()
            .map(|profile| ArtifactMember {
                described: profile.to_string(),
                code: member(&code(&profile)),
                compile_micros: 0,
                image: image(&profile).map(|image| ImageInfo {
                    engine: Digest::of(b"engine"),
                    digest: Digest::of(&image),
                    len: image.len() as u64,
                    back: 0,
                    entries: Vec::new(),
                }),
                profile,
            })
            .collect(),
    }
}

/// A bundle as the tools write it, signed over its manifest.
fn pack(manifest: &BundleManifest, signer: Option<&Signer>) -> Vec<u8> {
    let json = manifest.to_json();
    let signature = signer.map(|signer| signer.sign(&json));
    let artifacts: Vec<_> = manifest
        .artifacts
        .iter()
        .map(|artifact| ArtifactBuf {
            native: code(&artifact.profile),
            image: artifact.image.as_ref().and_then(|_| image(&profiles()[1])),
        })
        .collect();
    let artifacts: Vec<&ArtifactBuf> = artifacts.iter().collect();
    let mut out = Vec::new();
    write_bundle(&mut out, &json, signature.as_ref(), SOURCE, &artifacts)
        .expect("the bundle can be written");
    out
}

fn load(bytes: &[u8], trust: &Trust) -> Result<BundleContents, BundleError> {
    let wanted: Vec<Fingerprint> = profiles().iter().map(Profile::fingerprint).collect();
    UncheckedBundle::open(bytes, BundleLimits::default())?
        .trust(trust, NOW)?
        .read(&wanted)
}

fn refusal(bytes: &[u8], trust: &Trust) -> BundleError {
    match load(bytes, trust) {
        Ok(_) => panic!("the bundle was loaded"),
        Err(error) => error,
    }
}

fn refused_trust(bytes: &[u8], trust: &Trust) -> TrustError {
    match refusal(bytes, trust) {
        BundleError::Trust(error) => error,
        other => panic!("refused for another reason: {other}"),
    }
}

#[test]
fn a_signed_bundle_gives_back_what_went_in() {
    let signer = Signer::new();
    let manifest = manifest();
    let contents = load(&pack(&manifest, Some(&signer)), &signer.trust()).expect("it is signed");
    assert_eq!(contents.manifest, manifest);
    assert_eq!(contents.key, signer.trusted().id());
    assert_eq!(contents.source, SOURCE);
    assert_eq!(contents.artifacts.len(), 3);
    for (cached, bytes) in &contents.artifacts {
        assert_eq!(cached.artifact, Digest::of(&bytes.native));
        assert_eq!(cached.source, Digest::of(SOURCE));
        assert_eq!(bytes.native, code(&cached.profile));
        assert_eq!(bytes.image, image(&cached.profile));
        let described = cached.image.as_ref().map(|image| image.digest);
        assert_eq!(described, bytes.image.as_deref().map(Digest::of));
    }
}

#[test]
fn only_wanted_artifacts_are_kept_and_all_are_checked() {
    let signer = Signer::new();
    let bytes = pack(&manifest(), Some(&signer));
    let wanted = profiles()[1].fingerprint();
    let contents = UncheckedBundle::open(&bytes[..], BundleLimits::default())
        .and_then(|bundle| bundle.trust(&signer.trust(), NOW))
        .and_then(|bundle| bundle.read(&[wanted]))
        .expect("the bundle is whole");
    assert_eq!(contents.artifacts.len(), 1);
    assert_eq!(contents.artifacts[0].0.profile.fingerprint(), wanted);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    assert_eq!(pack(&manifest(), None), pack(&manifest(), None));
}

#[test]
fn no_byte_can_be_flipped() {
    let signer = Signer::new();
    let trust = signer.trust();
    let bytes = pack(&manifest(), Some(&signer));
    for position in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut bad = bytes.clone();
            bad[position] ^= flip;
            assert!(
                load(&bad, &trust).is_err(),
                "byte {position} xor {flip:#x} was not noticed"
            );
        }
    }
}

#[test]
fn no_end_can_be_missing_and_nothing_can_follow() {
    let signer = Signer::new();
    let trust = signer.trust();
    let bytes = pack(&manifest(), Some(&signer));
    for len in 0..bytes.len() {
        assert!(load(&bytes[..len], &trust).is_err(), "cut at {len}");
    }
    for extra in [&b"\0"[..], &[0; 512], b"x"] {
        let longer = [&bytes[..], extra].concat();
        let error = refusal(&longer, &trust);
        assert!(error.to_string().contains("bytes follow"), "{error}");
    }
}

/// The members of a tar, each with its header, content and padding.
fn members(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let mut at = 0;
    while bytes[at..at + 512].iter().any(|&byte| byte != 0) {
        let size = tar::Header::from_byte_slice(&bytes[at..at + 512])
            .entry_size()
            .expect("the headers are ours") as usize;
        let end = at + 512 + size.next_multiple_of(512);
        members.push(bytes[at..end].to_vec());
        at = end;
    }
    members
}

fn join(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// Another header in front of the same content.
fn with_header(member: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::from_byte_slice(&member[..512]).clone();
    change(&mut header);
    header.set_cksum();
    [header.as_bytes(), &member[512..]].concat()
}

#[test]
fn members_cannot_be_moved_doubled_dropped_or_added() {
    let signer = Signer::new();
    let trust = signer.trust();
    let whole = members(&pack(&manifest(), Some(&signer)));
    assert!(
        load(&join(&whole), &trust).is_ok(),
        "the parts make the whole"
    );
    for one in 0..whole.len() {
        let mut doubled = whole.clone();
        doubled.insert(one, whole[one].clone());
        assert!(load(&join(&doubled), &trust).is_err(), "member {one} twice");
        let mut dropped = whole.clone();
        dropped.remove(one);
        assert!(
            load(&join(&dropped), &trust).is_err(),
            "member {one} missing"
        );
        for other in one + 1..whole.len() {
            let mut swapped = whole.clone();
            swapped.swap(one, other);
            assert!(load(&join(&swapped), &trust).is_err(), "{one} and {other}");
        }
    }
    let extra = with_header(&whole[2], |header| {
        header.set_path("extra.txt").expect("a short path");
    });
    for at in 0..=whole.len() {
        let mut added = whole.clone();
        added.insert(at, extra.clone());
        assert!(load(&join(&added), &trust).is_err(), "added at {at}");
    }
}

#[test]
fn headers_have_one_form() {
    let signer = Signer::new();
    let trust = signer.trust();
    let whole = members(&pack(&manifest(), Some(&signer)));
    type Change = fn(&mut tar::Header);
    let changes: &[(&str, Change)] = &[
        ("a path that climbs", |h| {
            h.as_mut_bytes()[..12].copy_from_slice(b"../../etc/x\0");
        }),
        ("an absolute path", |h| {
            h.as_mut_bytes()[..7].copy_from_slice(b"/etc/x\0");
        }),
        ("a symbolic link", |h| {
            h.set_entry_type(tar::EntryType::Symlink);
        }),
        ("a hard link", |h| h.set_entry_type(tar::EntryType::Link)),
        ("a device", |h| h.set_entry_type(tar::EntryType::Char)),
        ("a folder", |h| h.set_entry_type(tar::EntryType::Directory)),
        ("a long name", |h| {
            h.set_entry_type(tar::EntryType::GNULongName);
        }),
        ("an extension", |h| {
            h.set_entry_type(tar::EntryType::XHeader);
        }),
        ("another mode", |h| h.set_mode(0o755)),
        ("an owner", |h| h.set_uid(1000)),
        ("a time", |h| h.set_mtime(1)),
        ("a size that lies below", |h| h.set_size(1)),
        ("a size that lies above", |h| h.set_size(1 << 40)),
    ];
    for index in 0..whole.len() {
        for (what, change) in changes {
            let mut bad = whole.clone();
            bad[index] = with_header(&whole[index], change);
            assert!(load(&join(&bad), &trust).is_err(), "{what} at {index}");
        }
    }
}

#[test]
fn a_size_that_lies_allocates_nothing_of_that_size() {
    let signer = Signer::new();
    let whole = members(&pack(&manifest(), Some(&signer)));
    let mut bad = whole.clone();
    bad[0] = with_header(&whole[0], |header| header.set_size(1 << 32));
    let error = refusal(&join(&bad), &signer.trust());
    assert!(
        matches!(error, BundleError::TooLarge { limit_bytes, .. } if limit_bytes == 1 << 20),
        "{error}"
    );

    let mut huge = manifest();
    huge.artifacts[0].code.size = 1 << 40;
    let json = huge.to_json();
    let bundle = [&tar_member("manifest.json", &json)[..], &[0; 1024]].concat();
    let error = refusal(&bundle, &signer.trust());
    assert!(matches!(error, BundleError::TooLarge { .. }), "{error}");
}

fn tar_member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("a short path");
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut member = [header.as_bytes(), bytes].concat();
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

#[test]
fn trust_has_its_reasons() {
    let signer = Signer::new();
    let other = Signer::new();
    let signed = pack(&manifest(), Some(&signer));
    let id = signer.trusted().id();

    assert_eq!(
        refused_trust(&pack(&manifest(), None), &signer.trust()),
        TrustError::Unsigned
    );
    assert_eq!(
        refused_trust(&signed, &other.trust()),
        TrustError::UnknownKey { key: id }
    );
    assert_eq!(
        refused_trust(&signed, &Trust::default()),
        TrustError::UnknownKey { key: id }
    );
    let revoked = Trust {
        keys: vec![signer.trusted(), other.trusted()],
        revoked: vec![id],
    };
    assert_eq!(
        refused_trust(&signed, &revoked),
        TrustError::Revoked { key: id }
    );
    let rotated = Trust {
        keys: vec![other.trusted(), signer.trusted()],
        revoked: vec![other.trusted().id()],
    };
    assert!(load(&signed, &rotated).is_ok(), "another key stays trusted");

    let mut old = manifest();
    old.expires_unix = Some(NOW);
    assert_eq!(
        refused_trust(&pack(&old, Some(&signer)), &signer.trust()),
        TrustError::Expired {
            expires_unix: NOW,
            now_unix: NOW
        }
    );
}

#[test]
fn a_valid_signature_over_another_bundle_is_none() {
    let signer = Signer::new();
    let mut other = manifest();
    other.sequence = 8;
    let mut stolen = members(&pack(&manifest(), Some(&signer)));
    stolen[1] = members(&pack(&other, Some(&signer)))[1].clone();
    assert_eq!(
        refused_trust(&join(&stolen), &signer.trust()),
        TrustError::WrongSignature {
            key: signer.trusted().id()
        }
    );
}

#[test]
fn a_legacy_signature_is_refused() {
    let signer = Signer::new();
    let signature = signer.sign(b"anything");
    let mut lines: Vec<String> = signature.as_str().lines().map(str::to_owned).collect();
    // `RU` begins the base64 of `E`; `RUQ` that of `ED`, `RWQ` that of `Ed`.
    lines[1].replace_range(..3, "RWQ");
    let legacy = lines.join("\n") + "\n";
    assert_eq!(
        SignatureText::from_canonical(&legacy),
        Err(TrustError::Legacy)
    );
}

#[test]
fn a_signature_has_one_spelling() {
    let signer = Signer::new();
    let canonical = signer.sign(b"anything");
    let text = canonical.as_str();
    assert_eq!(SignatureText::from_canonical(text).as_ref(), Ok(&canonical));
    let crlf = text.replace('\n', "\r\n");
    let other_comment = text.replacen("signature of", "Signature of", 1);
    let no_end = text.trim_end().to_owned();
    let more = format!("{text}\n");
    let unpadded = text.replace('=', "");
    for (what, spelling) in [
        ("carriage returns", crlf),
        ("another comment", other_comment),
        ("no last line end", no_end),
        ("one more line", more),
        ("no base64 padding", unpadded),
    ] {
        assert!(
            SignatureText::from_canonical(&spelling).is_err(),
            "{what} was accepted"
        );
    }
}

#[test]
fn manifests_with_impossible_values_are_refused() {
    type Change = fn(&mut BundleManifest);
    let cases: &[(&str, Change)] = &[
        ("format", |m| m.format = 2),
        ("name", |m| m.name = "a b".to_owned()),
        ("name", |m| m.name = String::new()),
        ("name", |m| m.name = "x".repeat(129)),
        ("version", |m| m.version = "1/2".to_owned()),
        ("description", |m| m.description = Some("x".repeat(5000))),
        ("expires", |m| m.expires_unix = Some(1)),
        ("order", |m| m.artifacts.reverse()),
        ("order", |m| m.artifacts.push(m.artifacts[2].clone())),
        ("artifacts", |m| {
            m.artifacts = vec![m.artifacts[0].clone(); 17];
        }),
    ];
    for (word, change) in cases {
        let mut manifest = manifest();
        change(&mut manifest);
        let error = BundleManifest::from_json(&manifest.to_json())
            .expect_err("the value is impossible")
            .to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    let json = String::from_utf8(manifest().to_json()).expect("JSON is text");
    let unknown = json.replacen("\"format\"", "\"surprise\": 1,\n  \"format\"", 1);
    assert!(BundleManifest::from_json(unknown.as_bytes()).is_err());
    assert!(BundleManifest::from_json(b"{}").is_err());
    assert!(BundleManifest::from_json(b"").is_err());
}

#[test]
fn members_that_do_not_fit_the_manifest_are_not_written() {
    let manifest = manifest();
    let json = manifest.to_json();
    let codes: Vec<_> = profiles()
        .iter()
        .map(|profile| ArtifactBuf {
            native: code(profile),
            image: image(profile),
        })
        .collect();
    let codes: Vec<ArtifactBytes<'_>> = codes.iter().map(Into::into).collect();
    let mut out = Vec::new();
    assert!(write_bundle(&mut out, &json, None, b"other", &codes).is_err());
    assert!(write_bundle(&mut out, &json, None, SOURCE, &codes[1..]).is_err());
    let mut wrong = vec![codes.clone(); 4];
    wrong[0][0].native = b"other code";
    wrong[1][0].image = Some(b"an image of a memory");
    wrong[2][1].image = None;
    wrong[3][1].image = Some(b"another image of it");
    for wrong in wrong {
        assert!(write_bundle(&mut out, &json, None, SOURCE, &wrong).is_err());
    }
    assert!(out.is_empty(), "nothing of a refused bundle is written");
}

/// A release before or after this one made some of the artifacts: they are passed over, and what
/// this release can load is found all the same.
#[test]
fn artifacts_of_another_release_are_passed_over() {
    let signer = Signer::new();
    let mut manifest = manifest();
    let ours = profiles()[1].clone();
    for artifact in &mut manifest.artifacts {
        if artifact.profile == ours {
            continue;
        }
        let json = serde_json::to_string(&artifact.profile).expect("plain data");
        let version = &ours.engine().wasmtime;
        artifact.profile =
            serde_json::from_str(&json.replace(version.as_str(), "48.0.1")).expect("a profile");
        assert!(artifact.profile.check().is_err(), "it is foreign");
        artifact.code = member(&code(&artifact.profile));
    }
    manifest
        .artifacts
        .sort_by_key(|artifact| artifact.profile.fingerprint().to_string());
    let contents = load(&pack(&manifest, Some(&signer)), &signer.trust()).expect("it is signed");
    assert_eq!(contents.artifacts.len(), 1);
    assert_eq!(contents.artifacts[0].0.profile, ours);
    assert_eq!(
        contents.artifacts[0].0.signed_by,
        Some(signer.trusted().id())
    );
}
