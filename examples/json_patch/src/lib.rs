//! Changes a JSON document in place by a JSON Patch (RFC 6902), with a crate from crates.io.

use ferrite_wasm_sdk::*;

/// Applies `patch` to the document at `key`, stores the result and replies it.
///
/// Either every operation of the patch takes effect or none does.
///
/// # Errors
///
/// `NODOC` where there is no document, `PATCHFAILED` where an operation cannot be done or a `test`
/// does not hold.
#[ferrite_function]
pub fn json_patch(
    key: &str,
    patch: Json<rfc6902::Patch>,
) -> Result<Json<serde_json::Value>, Error> {
    let Some(Json(mut document)) = ferrite::get::<Json<serde_json::Value>>(key)? else {
        return Err(Error::new("NODOC there is no document at this key"));
    };
    rfc6902::patch(&mut document, &patch.0)
        .map_err(|error| Error::new(format!("PATCHFAILED {error}")))?;
    ferrite::set(key, Json(&document))?;
    Ok(Json(document))
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_sdk::entry;

    #[test]
    fn the_cases_hold() {
        example_cases::run_on_mock(&example_cases::of("json_patch"), entry!(super::json_patch));
    }
}
