//! Source arguments and their meanings: data.

use std::borrow::Cow;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use ferrite_cache::Digest;

use super::{BundleSource, Source, SourceOptions};
use crate::error::CallError;

const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn options(module_dir: Option<&Path>) -> SourceOptions {
    SourceOptions {
        module_dir: module_dir.map(Path::to_path_buf),
        source_bytes_max: 1000,
    }
}

fn load(argument: &[u8], options: &SourceOptions) -> Result<Source<'static>, String> {
    match Source::for_load(argument, options) {
        Ok(Source::Cached(digest)) => Ok(Source::Cached(digest)),
        Ok(Source::Wasm(bytes)) => Ok(Source::Wasm(Cow::Owned(bytes.into_owned()))),
        Ok(Source::Text(bytes)) => Ok(Source::Text(Cow::Owned(bytes.into_owned()))),
        Ok(Source::Program(bytes)) => Ok(Source::Program(Cow::Owned(bytes.into_owned()))),
        Ok(Source::Bundle(BundleSource::Bytes(bytes))) => Ok(Source::Bundle(BundleSource::Bytes(
            Cow::Owned(bytes.into_owned()),
        ))),
        Ok(Source::Bundle(BundleSource::File(file))) => {
            Ok(Source::Bundle(BundleSource::File(file)))
        }
        Err(error) => Err(CallError::from(error).to_string()),
    }
}

#[test]
fn an_argument_is_known_by_its_form() {
    let none = options(None);
    let empty = Ok(Source::Wasm(Cow::Borrowed(EMPTY_MODULE)));
    assert_eq!(load(EMPTY_MODULE, &none), empty);
    for base64 in ["AGFzbQEAAAA=", "AGFzbQEAAAA", " AGFzbQ\nEAAAA=\r\n"] {
        assert_eq!(load(base64.as_bytes(), &none), empty, "{base64:?}");
    }
    let digest = Digest::of(EMPTY_MODULE);
    assert_eq!(
        load(digest.to_string().as_bytes(), &none),
        Ok(Source::Cached(digest))
    );
    let bundle = [b"manifest.json".as_slice(), &[0; 2000]].concat();
    let expected = Ok(Source::Bundle(BundleSource::Bytes(Cow::Borrowed(&bundle))));
    assert_eq!(load(&bundle, &none), expected);
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bundle);
    assert_eq!(load(base64.as_bytes(), &none), expected);
    for text in [" (module)", ";; one\n(module)"] {
        let expected = Source::Text(Cow::Borrowed(text.as_bytes()));
        assert_eq!(
            Source::for_define(text.as_bytes(), &none).ok(),
            Some(expected.clone())
        );
        assert_eq!(load(text.as_bytes(), &none), Ok(expected));
    }
}

#[test]
fn what_is_no_source_is_refused() {
    let none = options(None);
    let large = [EMPTY_MODULE, &[0; 1000]].concat();
    let large_text = [b"(module)".as_slice(), &[b' '; 1000]].concat();
    let large_base64 = [b"AGFzbQEAAAAA".as_slice(), &[b'A'; 2000]].concat();
    let cases: &[(&[u8], &str)] = &[
        (
            b"",
            "INVALID the source is empty; give WebAssembly, its base64, blake3:<64 hex digits> or a path",
        ),
        (
            b"hello",
            "INVALID the source \"hello\" is neither WebAssembly, nor its text or base64, nor a bundle, nor blake3:<64 hex digits>, nor a path that ends in .wasm, .wat, .js or .cwasm.tar",
        ),
        (
            b"bm90IHdhc20=",
            "INVALID the source \"bm90IHdhc20=\" is neither WebAssembly, nor its text or base64, nor a bundle, nor blake3:<64 hex digits>, nor a path that ends in .wasm, .wat, .js or .cwasm.tar",
        ),
        (
            &large_text,
            "LIMIT the source has 1008 bytes, the limit is 1000",
        ),
        (
            b"AGFzbQEA!AAA=",
            "INVALID the base64 of the source is broken: '!' at letter 8 is none of it",
        ),
        (
            b"AGFzbQEAA",
            "INVALID the base64 of the source is broken: 9 letters do not make whole bytes; something is missing",
        ),
        (&large, "LIMIT the source has 1008 bytes, the limit is 1000"),
        (
            &large_base64,
            "LIMIT the source has 1509 bytes, the limit is 1000",
        ),
        (
            b"a.wasm",
            "NOPERM the source \"a.wasm\" is a path, and no folder for modules is configured; set wasm.module_dir (module-dir in Valkey and Redis)",
        ),
    ];
    for (argument, expected) in cases {
        assert_eq!(load(argument, &none), Err((*expected).to_owned()));
    }
    let short = load(b"blake3:abc", &none).expect_err("too short");
    assert!(
        short.starts_with("INVALID the source \"blake3:abc\" is no digest: "),
        "{short}"
    );
    let cases: [(&[u8], &str); 3] = [
        (
            EMPTY_MODULE,
            "the source is a WebAssembly binary; use WASM.LOAD for it",
        ),
        (
            b"a.wasm",
            "the source \"a.wasm\" is no text of a module; use WASM.LOAD for files and digests",
        ),
        (
            b"blake3:12",
            "the source \"blake3:12\" is no text of a module; use WASM.LOAD for files and digests",
        ),
    ];
    for (argument, expected) in cases {
        let refused = Source::for_define(argument, &none).expect_err("no text");
        assert_eq!(refused.to_string(), expected);
    }
    // A comment may end as a file does.
    let comment = Source::for_define(b"(module) ;; as in a.wasm", &none);
    assert!(comment.is_ok(), "{comment:?}");
}

#[test]
fn paths_stay_below_the_folder() -> std::io::Result<()> {
    let temporary = tempfile::tempdir()?;
    let outside = temporary.path().join("outside");
    let modules = temporary.path().join("modules");
    std::fs::create_dir_all(modules.join("sub.wasm"))?;
    std::fs::create_dir(&outside)?;
    std::fs::write(outside.join("secret.wasm"), EMPTY_MODULE)?;
    std::fs::write(modules.join("a.wasm"), EMPTY_MODULE)?;
    std::fs::write(modules.join("sub.wasm/b.WAT"), "(module)")?;
    std::fs::write(modules.join("text.wasm"), "(module)")?;
    std::fs::write(modules.join("large.wasm"), [0; 1001])?;
    symlink("a.wasm", modules.join("inside.wasm"))?;
    symlink("../outside/secret.wasm", modules.join("out.wasm"))?;
    symlink(&outside, modules.join("folder"))?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        modules.join("pipe.wasm"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )?;
    let options = options(Some(&modules));
    let wasm = Ok(Source::Wasm(Cow::Borrowed(EMPTY_MODULE)));
    let absolute = modules.join("a.wasm");
    let absolute = absolute.to_str().expect("is text");
    for path in ["a.wasm", "./a.wasm", "inside.wasm", absolute] {
        assert_eq!(load(path.as_bytes(), &options), wasm, "{path}");
    }
    assert_eq!(
        load(b"sub.wasm/b.WAT", &options),
        Ok(Source::Text(Cow::Borrowed(b"(module)")))
    );

    let secret = outside.join("secret.wasm");
    let secret = secret.to_str().expect("is text");
    let long = format!("{}.wasm", "a/".repeat(3000));
    let unreadable = |file: &str, problem: &str| {
        format!(
            "INVALID the file \"{file}\" in the folder for modules, {}, cannot be read: {problem}",
            modules.display()
        )
    };
    let cases: Vec<(&str, String)> = vec![
        ("../outside/secret.wasm", "NOPERM the path \"../outside/secret.wasm\" leads out of the folder for modules by \"..\"; give a path below it".to_owned()),
        ("sub.wasm/../a.wasm", "NOPERM the path \"sub.wasm/../a.wasm\" leads out of the folder for modules by \"..\"; give a path below it".to_owned()),
        ("out.wasm", "NOPERM the path \"out.wasm\" leads out of the folder for modules through a link; give a path below it".to_owned()),
        ("folder/secret.wasm", "NOPERM the path \"folder/secret.wasm\" leads out of the folder for modules through a link; give a path below it".to_owned()),
        ("missing.wasm", unreadable("missing.wasm", "No such file or directory (os error 2)")),
        ("sub.wasm", unreadable("sub.wasm", "it is no regular file")),
        ("pipe.wasm", unreadable("pipe.wasm", "it is no regular file")),
        ("text.wasm", unreadable("text.wasm", "it is not WebAssembly, it starts with \"(mod\"")),
        ("large.wasm", "LIMIT the source has 1001 bytes, the limit is 1000".to_owned()),
        ("a\0.wasm", "INVALID the path \"a\\x00.wasm\" is no path: it has a zero byte".to_owned()),
    ];
    for (path, expected) in cases {
        assert_eq!(load(path.as_bytes(), &options), Err(expected));
    }
    let error = load(secret.as_bytes(), &options).expect_err("outside");
    assert!(
        error.starts_with("NOPERM the path \"/") && error.contains("leads out of"),
        "{error}"
    );
    let error = load(long.as_bytes(), &options).expect_err("too long");
    assert!(error.ends_with("is too long for a path"), "{error}");
    Ok(())
}
