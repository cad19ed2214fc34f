//! Places on earth, kept in sorted sets.

mod cells;
pub(crate) mod search;

use crate::commands::arguments::double;
use crate::commands::geo::cells::Place;
use crate::commands::spec::{Answer, Argv, BLIND, DENYOOM, Keys, Out, READONLY, WRITE, commands};
use crate::commands::zsets::{AddOptions, add_scored};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::zset::Zset;
use ferrite_protocol::budget::lookups;

commands! {
    "geoadd", -5, WRITE | DENYOOM | BLIND, Keys::FIRST => geoadd,
        "geo", "key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]",
        "Adds places, or moves them.";
    "geopos", -2, READONLY, Keys::FIRST => geopos,
        "geo", "key [member [member ...]]",
        "Tells where places are.";
    "geodist", -4, READONLY, Keys::FIRST => geodist,
        "geo", "key member1 member2 [M|KM|FT|MI]",
        "Tells how far two places are from each other.";
    "geohash", -2, READONLY, Keys::FIRST => geohash,
        "geo", "key [member [member ...]]",
        "Returns the geohashes of places.";
}

/// Reads a longitude and a latitude.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, StoreError> {
    let place = Place {
        longitude: double(longitude)?,
        latitude: double(latitude)?,
    };
    if place.is_valid() {
        return Ok(place);
    }
    let Place {
        longitude,
        latitude,
    } = place;
    Err(StoreError::with(format!(
        "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
    )))
}

/// Reads a unit of length; returns how many metres it is.
fn metres(unit: &[u8]) -> Result<f64, StoreError> {
    match unit.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(StoreError::Refused(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        )),
    }
}

/// Writes a distance with four decimals.
fn tell_distance(distance: f64, out: Out<'_>) {
    // Distances are below 2^53 ten-thousandths of any unit.
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let text = format!("{}.{:04}", scaled / 10_000, scaled % 10_000);
    out.bulk(text.as_bytes());
}

/// Writes a place as an array of longitude and latitude.
fn tell_place(place: Place, out: Out<'_>) {
    out.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        out.double_text(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

fn geoadd<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(3 * lookups(argv.len()))?;
    let (options, read) = AddOptions::parse_geo(&argv[2..]);
    let (triples, rest) = argv[2 + read..].as_chunks::<3>();
    if !rest.is_empty() || options.is_contradictory() {
        return Err(StoreError::Syntax);
    }
    let mut scored = Vec::with_capacity(triples.len());
    for [longitude, latitude, member] in triples {
        scored.push((place(longitude, latitude)?.score(), *member));
    }
    if scored.is_empty() {
        return Err(StoreError::Syntax);
    }
    add_scored(view, argv[1], &options, &scored, out)
}

fn geopos<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(3 * lookups(argv.len()))?;
    let zset = view.read::<Zset>(argv[1])?;
    out.array(argv.len() - 2);
    for member in &argv[2..] {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => tell_place(Place::of_score(score), out),
            None => out.null_array(),
        }
    }
    Ok(())
}

fn geohash<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(3 * lookups(argv.len()))?;
    let zset = view.read::<Zset>(argv[1])?;
    out.array(argv.len() - 2);
    for member in &argv[2..] {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => out.bulk(Place::of_score(score).geohash().as_bytes()),
            None => out.null(),
        }
    }
    Ok(())
}

fn geodist<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let unit = match argv[4..] {
        [] => 1.0,
        [unit] => metres(unit)?,
        _ => return Err(StoreError::Syntax),
    };
    let zset = view.read::<Zset>(argv[1])?;
    let place = |member: &[u8]| {
        zset.and_then(|zset| zset.score(member))
            .map(Place::of_score)
    };
    match (place(argv[2]), place(argv[3])) {
        (Some(from), Some(to)) => tell_distance(from.distance(to) / unit, out),
        _ => out.null(),
    }
    Ok(())
}
